"""Files that hold keys, readable by their owner only."""

import os
import secrets
from pathlib import Path
from typing import Protocol

OWNER_ONLY = 0o600


class KeyHolder(Protocol):
    """Where the key of one customer is kept."""

    def read(self) -> str | None:
        """The key, None when there is none."""

    def write(self, key: str) -> None:
        """Keep this key from now on; it is on the disk when this returns. Raises OSError."""


class KeyHolders(Protocol):
    """Where the keys of many customers are kept."""

    def of(self, slug: str) -> KeyHolder:
        """The place of this customer's key."""


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


class KeyFolder:
    """A file `<slug>.key` for each customer."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, slug: str) -> KeyFile:
        """The file of this customer."""
        return KeyFile(self._path / f"{slug}.key")


class KeysFile:
    """One file with a line `<slug><TAB><key>` for each key; of two lines of a customer the later one counts.

    Lines are only added, so that whatever interrupts a command takes no key from the file.
    """

    def __init__(self, path: Path) -> None:
        """Read what is there. Raises OSError, and ValueError for a file of another kind."""
        self._path = path
        self._keys: dict[str, str] = {}
        text = path.read_text() if path.exists() else ""
        # A line without an end was interrupted: its key was never committed.
        whole, self._cut = text.rpartition("\n")[0], not text.endswith("\n") and bool(text)
        for number, line in enumerate(whole.splitlines(), 1):
            slug, tab, key = line.partition("\t")
            if not (slug and tab and key):
                raise ValueError(f"line {number} of {path} is not a slug, a tab and a key")
            self._keys[slug] = key

    def of(self, slug: str) -> "KeysFileLine":
        """The lines of this customer."""
        return KeysFileLine(self, slug)

    def read(self, slug: str) -> str | None:
        """The customer's key, None when the file has none."""
        return self._keys.get(slug)

    def write(self, slug: str, key: str) -> None:
        """Add a line. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        with os.fdopen(os.open(self._path, flags, OWNER_ONLY), "a") as file:
            os.fchmod(file.fileno(), OWNER_ONLY)
            if self._cut:
                file.truncate(self._whole_bytes())
                self._cut = False
            file.write(f"{slug}\t{key}\n")
            file.flush()
            os.fsync(file.fileno())
        self._keys[slug] = key

    def _whole_bytes(self) -> int:
        return self._path.read_bytes().rfind(b"\n") + 1


class KeysFileLine:
    """One customer's key in a file of many."""

    def __init__(self, file: KeysFile, slug: str) -> None:
        self._file, self._slug = file, slug

    def read(self) -> str | None:
        """The key, None when the file has none."""
        return self._file.read(self._slug)

    def write(self, key: str) -> None:
        """Add a line. Raises OSError."""
        self._file.write(self._slug, key)
