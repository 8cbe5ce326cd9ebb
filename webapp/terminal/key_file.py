"""A file that holds one key, readable by its owner only."""

import os
import secrets
from pathlib import Path

OWNER_ONLY = 0o600


class KeyFile:
    """The key at `path`, followed by a newline."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> str | None:
        """The key, None when there is no such file."""
        try:
            return self._path.read_text().strip()
        except FileNotFoundError:
            return None

    def write(self, key: str) -> None:
        """Replace the file as a whole: a reader sees the old key or the new one. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "w") as file:
                file.write(f"{key}\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        finally:
            draft.unlink(missing_ok=True)
