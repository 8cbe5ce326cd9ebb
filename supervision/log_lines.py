"""What libraries log, as one JSON object a line, with the fields of Sluice's own lines."""

import json
import logging
import sys
from datetime import UTC, datetime
from types import TracebackType

PLAIN = "%(levelname)s %(name)s %(message)s"


class JsonLines(logging.Formatter):
    """Each record is one line, whatever its message and its error hold."""

    def format(self, record: logging.LogRecord) -> str:
        """The fields are those of structlog's lines: `event`, `level`, `timestamp`; and `logger`."""
        said = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, default=repr)


def formatter(*, as_json: bool) -> logging.Formatter:
    """For the handlers of a process of ours."""
    return JsonLines() if as_json else logging.Formatter(PLAIN)


def log_uncaught() -> None:
    """From now on an error that ends this process is a line, too."""

    def log(kind: type[BaseException], error: BaseException, frames: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, frames)
        else:
            logging.getLogger("sluice").critical("process_failed", exc_info=(kind, error, frames))

    sys.excepthook = log
