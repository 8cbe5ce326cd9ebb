"""Settings that all processes share."""

import os
import tempfile
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from environment.errors import Misconfigured
from environment.sources import Settings

_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - what is made there is unlinked at once, or has a folder of its own


class RunSettings(Settings):
    """What a running process needs of its host."""

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    run_folder: str = Field(
        "",
        description="folder for small files of running processes; empty for /dev/shm, or for the folder of "
        "temporary files if that cannot be written",
    )


class LogSettings(Settings):
    """How a process writes its log."""

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_LOG_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    format: str = Field(
        "text",
        pattern="^(text|json)$",
        description="form of the lines that libraries log: text, or json as Sluice's own lines have it",
    )

    @property
    def as_json(self) -> bool:
        return self.format == "json"


def run_folder() -> Path:
    """The folder for what a process writes while it runs. Raises Misconfigured when there is none."""
    named = RunSettings().run_folder
    if named:
        return _writable(Path(named))
    if _IN_MEMORY.is_dir() and os.access(_IN_MEMORY, os.W_OK | os.X_OK):
        return _IN_MEMORY
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        raise Misconfigured(
            "no folder for temporary files can be written: set SLUICE_RUN_FOLDER to one that can"
        ) from None


def _writable(folder: Path) -> Path:
    if not folder.is_dir():
        raise Misconfigured(f"SLUICE_RUN_FOLDER={str(folder)!r} is no folder: make it for the process's user")
    try:
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise Misconfigured(
            f"SLUICE_RUN_FOLDER={str(folder)!r} cannot be written by user {os.geteuid()}: {error.strerror}"
        ) from None
