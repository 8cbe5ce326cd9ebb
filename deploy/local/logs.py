"""The processes' output: a bounded file for each under var/log/, and one short line each for the screen."""

import json
import logging
import logging.handlers
import re
import threading
from pathlib import Path

FILE_BYTES = 10_000_000  # of one file; an older one of the same size is kept beside it
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
# The screen has its own clock, and INFO is the rule.
_LEFT_OUT = {"event", "level", "timestamp", "logger"}
_LINE_CHARACTERS = 400


class LogFiles:
    """Appends lines to `<folder>/<process>.log`; safe to call from any thread."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._handlers: dict[str, logging.handlers.RotatingFileHandler] = {}
        self._lock = threading.Lock()

    def write(self, name: str, line: bytes | str) -> None:
        """A full disk must not stop the processes: what cannot be written is left out."""
        text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
        record = logging.LogRecord(name, logging.INFO, "", 0, text.rstrip("\n"), None, None)
        self._handler(name).handle(record)

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def last(self, name: str, count: int) -> list[str]:
        """The last lines of a process, for telling why it died."""
        try:
            with self.path(name).open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - 20_000))
                lines = file.read().splitlines()
        except OSError:
            return []
        return [one_line(line) for line in lines if line.strip()][-count:]

    def close(self) -> None:
        for handler in self._handlers.values():
            handler.close()

    def _handler(self, name: str) -> logging.handlers.RotatingFileHandler:
        with self._lock:
            if name not in self._handlers:
                handler = _Bounded(self.path(name), maxBytes=FILE_BYTES, backupCount=1, delay=True)
                self._handlers[name] = handler
            return self._handlers[name]


class _Bounded(logging.handlers.RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Nothing: a message about it would go to the same full disk, or into the table."""


def one_line(data: bytes) -> str:
    """A log line fit for the screen: short, no escapes, structured ones as `event name=value …`."""
    text = _ESCAPES.sub("", data[:4000].decode("utf-8", "replace")).strip()
    if text.startswith("{"):
        text = _structured(text)
    return text[:_LINE_CHARACTERS]


def _structured(text: str) -> str:
    try:
        fields = json.loads(text)
    except ValueError:
        return text
    level = str(fields.get("level", "info"))
    said = [] if level == "info" else [level.upper()]
    said.append(str(fields.get("event", "")))
    said += [f"{name}={value}" for name, value in fields.items() if name not in _LEFT_OUT]
    return " ".join(said).replace("\n", " ")
