"""Where an error comes from: from outside, or perhaps from the window's content."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from amqp.exceptions import AMQPError
from kombu.exceptions import OperationalError

import db.errors
import streams.errors
from tasks.errors import NotWhatWasBooked

log = structlog.get_logger("worker")

# What a later delivery of the same window may not meet. Nothing is held against a window for these.
EXTERNAL_ERRORS = (
    *(db.errors.DatabaseUnavailable, db.errors.DatabaseMisconfigured, db.errors.Lost),
    *(streams.errors.BrokerUnavailable, streams.errors.BrokerMisconfigured, streams.errors.ForeignProcess),
    *(streams.errors.StreamEnds, OperationalError, AMQPError, NotWhatWasBooked),
)


class Failed(Exception):
    """A task met an error that nobody foresaw; `kind` is that error's type.

    It stands in for the error itself, whose words may be an agent's.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@contextmanager
def unforeseen_as_failed(task: str, work: str) -> Iterator[None]:
    """Let external errors through and raise `Failed` in place of all others.

    `MemoryError` too: Celery would hand it on to the worker's parent, which would end of it.
    """
    try:
        yield
    except Exception as error:
        if is_external(error):
            raise
        # Where, and not with what: values belong to agents.
        frames = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-6:]]
        log.error("task_broke", task=task, work=work, error=type(error).__name__, frames=frames)
        raise Failed(type(error).__name__) from None


def is_external(error: Exception) -> bool:
    """Whether it is no fault of the window's content: a later delivery may not meet it."""
    # An operating system's error has a number; Arrow calls some of what it can't read an OSError, without.
    return isinstance(error, EXTERNAL_ERRORS) or (isinstance(error, OSError) and error.errno is not None)
