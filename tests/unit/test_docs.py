"""What the docs say is what the code has: settings, problems, make targets, links."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

import db.ledger.windows
import db.tables
from environment.names import NAMES, PREFIX
from environment.secret_files import SECRETS
from environment.sources import is_secret, variable_of
from webapp import problems, public_key_problems

ROOT = Path(__file__).resolve().parents[2]
ROOMS_WITH_SETTINGS = ("environment", "streams", "db", "tasks", "webapp")
SETTINGS = ROOT / "docs" / "settings.md"
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ROW = re.compile(r"^\| `([^`]+)` \| (.*?) \| (.*) \|$", re.MULTILINE)
MIB = 1024 * 1024


def settings_classes() -> Iterator[type[BaseSettings]]:
    for room in ROOMS_WITH_SETTINGS:
        module = importlib.import_module(f"{room}.settings")
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, BaseSettings)
                and value.__module__ == module.__name__
            ):
                yield value


def variable(settings: type[BaseSettings], name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    if alias is None:
        return f"{settings.model_config['env_prefix']}{name.upper()}"
    return alias if isinstance(alias, str) else str(getattr(alias, "choices", [alias])[0])


def shown(value: object) -> str:
    """A default as the docs write it: `8 MiB` rather than `8388608`."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, int) and value >= MIB and value % MIB == 0:
        return f"{value // MIB // 1024} GiB" if value % (1024 * MIB) == 0 else f"{value // MIB} MiB"
    return f"`{value}`"


def expected_rows(settings: type[BaseSettings]) -> dict[str, tuple[str, str]]:
    return {
        variable(settings, name, field): (shown(field.default), str(field.description))
        for name, field in settings.model_fields.items()
    }


def in_code() -> dict[str, tuple[str, str]]:
    rows: dict[str, tuple[str, str]] = {}
    for settings in settings_classes():
        rows |= expected_rows(settings)
    return rows


def test_every_setting_is_documented_as_it_is() -> None:
    documented = {name: (default, meaning) for name, default, meaning in ROW.findall(SETTINGS.read_text())}
    missing = [
        f"| `{name}` | {default} | {meaning} |"
        for name, (default, meaning) in in_code().items()
        if documented.get(name) != (default, meaning)
    ]
    assert not missing, "docs/settings.md lacks these rows:\n" + "\n".join(missing)
    assert not set(documented) - set(in_code()), "docs/settings.md names settings that are gone"


def test_every_setting_has_a_meaning_and_is_read_once_by_somebody() -> None:
    read = {
        node.attr
        for folder in (*ROOMS_WITH_SETTINGS, "migrations")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    } | {
        node.attr
        for node in ast.walk(ast.parse((ROOT / "celeryconfig.py").read_text()))
        if isinstance(node, ast.Attribute)
    }
    for settings in settings_classes():
        for name, field in settings.model_fields.items():
            assert field.description, f"{settings.__name__}.{name} says nothing"
            assert name in read, f"nothing reads {settings.__name__}.{name}"


def test_docs_name_no_setting_that_does_not_exist() -> None:
    for page in DOCS:
        for name in re.findall(r"SLUICE_[A-Z_]+[A-Z]\b", page.read_text()):
            assert name in NAMES or page == ROOT / "CHANGELOG.md", f"{page.relative_to(ROOT)} names {name}"


def test_no_setting_is_taken_for_a_misspelt_one() -> None:
    """`environment.names` has them all, whichever room they are of."""
    of_the_runner = {"SLUICE_RUN", "SLUICE_URL"}
    assert set(NAMES) - of_the_runner == {name for name in in_code() if name.startswith(PREFIX)}


def test_every_setting_with_a_password_may_lie_in_a_file_that_the_page_names() -> None:
    secrets = {
        variable_of(settings, name)
        for settings in settings_classes()
        for name, field in settings.model_fields.items()
        if is_secret(field)
    }
    assert secrets <= set(SECRETS)
    assert not {name for name in SECRETS if f"`{name}_FILE`" not in SETTINGS.read_text()}
    for name in in_code():
        if re.search("URL|PASSWORD|SECRET|TOKEN|KEY$", name):
            assert name in secrets, f"{name} may hold a password: repr=False keeps it out of messages"


def test_every_problem_type_is_documented() -> None:
    values = [*vars(problems).values(), *vars(public_key_problems).values()]
    kinds = {value.slug: value for value in values if isinstance(value, problems.ProblemType)}
    page = (ROOT / "docs" / "http-api.md").read_text()
    rows = {
        slug: (int(status), title, remedy)
        for slug, status, title, remedy in re.findall(
            r"^\| `([a-z-]+)` \| (\d{3}) \| (.*?) \| (.*) \|$", page, re.M
        )
    }
    assert rows == {slug: (kind.status, kind.title, kind.remedy) for slug, kind in kinds.items()}


def drawn(name: str) -> set[str]:
    """The texts of a drawing."""
    root = ElementTree.parse(ROOT / "docs" / "drawings" / name).getroot()  # noqa: S314 - our own file
    return {text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")}


def test_every_table_and_every_state_of_a_window_is_drawn() -> None:
    assert not set(db.tables.metadata.tables) - drawn("tables.svg")
    assert not set(get_args(db.ledger.windows.WindowState)) - drawn("window.svg")


def test_make_targets_that_the_docs_name_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page in DOCS:
        # Inside code only: prose may make things, too.
        code = "\n".join(re.findall(r"`[^`\n]+`|^```.*?^```", page.read_text(), re.MULTILINE | re.DOTALL))
        named = set(re.findall(r"\bmake ([a-z-]+)\b", code))
        assert named <= targets, f"{page.relative_to(ROOT)} names {named - targets}"


def test_every_make_target_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = set(re.findall(r"^\.PHONY: (\S+)$", makefile, re.MULTILINE))
    assert phony == set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE))


LOGGING_ROOMS = ("webapp", "tasks", "streams", "operators", "supervision", "environment", "db", "tracing")
LOUD = {"error", "warning", "critical"}


def logged() -> set[str]:
    """The events that our processes log as errors, warnings, or what ended them."""
    return {
        str(node.args[0].value)
        for room in LOGGING_ROOMS
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LOUD
        and re.fullmatch(r"log|logging\.getLogger\(.*\)", ast.unparse(node.func.value))
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", str(node.args[0].value))
    }


def test_every_error_and_warning_in_the_logs_is_documented() -> None:
    events = logged()
    assert len(events) > 30  # or they are written in another way now
    pages = "\n".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    assert not {event for event in events if f"`{event}`" not in pages}


def anchors(page: Path) -> set[str]:
    """What a link into the page may name: its headings, by GitHub's rules."""
    text = re.sub(r"^( *)```.*?^\1```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.*?)[ #]*$", text, re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w -]", "", words).replace(" ", "-")
        same = (slug, *(f"{slug}-{number}" for number in range(1, 100)))
        found.add(next(name for name in same if name not in found))
    return found


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for link, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?", page.read_text()):
        if "://" in link or link.startswith("mailto:"):
            continue
        target = page.parent / link if link else page
        assert target.exists(), f"{page.relative_to(ROOT)} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.relative_to(ROOT)} links to {link}#{anchor}"
