"""What every class of settings has: values from files, and one sentence when one of them makes no sense."""

from collections.abc import Callable
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from environment.errors import Misconfigured
from environment.secret_files import SECRETS, from_file

_MOST_SHOWN = 80


class Settings(BaseSettings):
    """Settings from the environment; those with a password also from the file that `<variable>_FILE` names.

    Raises Misconfigured when a value is absurd.
    """

    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise Misconfigured(_sentence(type(self), error)) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given in code comes first, then files, then variables."""
        return init_settings, SecretFiles(settings_cls), env_settings


def understood(check: Callable[[str], object], value: str) -> str:
    """The value, for a field's validator. Raises ValueError when `check` raises Misconfigured: so it is told
    together with what else is wrong.
    """
    try:
        check(value)
    except Misconfigured as error:
        raise ValueError(str(error)) from None
    return value


class SecretFiles(PydanticBaseSettingsSource):
    """The values that lie in files."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The value of one setting, None when no file has it; its key. Raises Misconfigured."""
        variable = variable_of(self.settings_cls, field_name)
        known = field_name in self.current_state or variable in self.current_state
        key = field.validation_alias if isinstance(field.validation_alias, str) else field_name
        return from_file(variable) if variable in SECRETS and not known else None, key, False

    def __call__(self) -> dict[str, Any]:
        found = (self.get_field_value(field, name) for name, field in self.settings_cls.model_fields.items())
        return {key: value for value, key, _ in found if value is not None}


def variable_of(settings: type[BaseSettings], name: str) -> str:
    """The environment variable of a field."""
    alias = settings.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else f"{settings.model_config['env_prefix']}{name.upper()}"


def _sentence(settings: type[BaseSettings], error: ValidationError) -> str:
    faults = []
    for fault in error.errors(include_url=False, include_context=False):
        said = str(fault["msg"]).removeprefix("Value error, ")
        name = next((one for one in settings.model_fields if _is_of(settings, one, fault["loc"])), None)
        if name is None:
            faults.append(said)
        elif is_secret(settings.model_fields[name]):
            variable = variable_of(settings, name)
            faults.append(said if variable in said else f"{variable}: {said}")
        else:
            value = repr(fault["input"])
            shown = value if len(value) <= _MOST_SHOWN else f"{value[:_MOST_SHOWN]}…"
            faults.append(f"{variable_of(settings, name)}={shown}: {said}")
    return f"change these settings (docs/settings.md says what they mean): {'; '.join(faults)}"


def _is_of(settings: type[BaseSettings], name: str, where: tuple[int | str, ...]) -> bool:
    return bool(where) and where[0] in (name, variable_of(settings, name))


def is_secret(field: FieldInfo) -> bool:
    """Whether the value may hold a password, and is never shown."""
    return not field.repr or field.annotation is SecretStr
