"""`python -m tests.poisoned worker …`: a Celery worker whose stages break when they meet a marked event.

The mark is the event's service: `poison-<stage>-<how>`. With `TESTS_WITHOUT_FORMAT` it lacks the decoder
of that format, as a bad release might. The worker is otherwise the one that users start; its children inherit
what is changed here over the fork.
"""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
from celery.__main__ import main
from psycopg.errors import ProgramLimitExceeded

import tasks.stages.decode
import tasks.stages.deposit_transaction
import tasks.stages.group
import tasks.stages.process
from tasks.decoders import RawBatch, batches

SECRET = "what-an-agent-said"


def _loop() -> None:
    while True:
        pass


def _wait() -> None:
    time.sleep(3_600)


def _error() -> None:
    raise ZeroDivisionError(SECRET)


def _memory() -> None:
    raise MemoryError(SECRET)


def _limit() -> None:
    raise ProgramLimitExceeded(SECRET)


HOW: dict[str, Callable[[], None]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "abort": os.abort,
    "loop": _loop,
    "wait": _wait,
    "error": _error,
    "memory": _memory,
    "limit": _limit,
}


def _break_at(stage: str, text: str) -> None:
    found = re.search(rf"poison-{stage}-([a-z]+)", text)
    if found:
        HOW[found[1]]()


def _wrap(module: Any, name: str, stage: str, text_of: Callable[..., str]) -> None:
    original = getattr(module, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        _break_at(stage, text_of(*arguments))
        return original(*arguments, **named)

    setattr(module, name, wrapped)


def _bodies(window: Sequence[RawBatch]) -> str:
    return " ".join(bytes(batch.body).decode("latin-1") for batch in window)


def _services(tables: Sequence[pa.Table]) -> str:
    return " ".join(str(service) for table in tables for service in table["service"].to_pylist())


if __name__ == "__main__":
    _wrap(
        *(tasks.stages.decode, "decode_batches", "decode"),
        lambda window, _: _bodies(window),
    )
    _wrap(
        *(tasks.stages.group, "decode_windows", "decode"),
        lambda windows, _: _bodies([batch for window in windows for batch in window]),
    )
    _wrap(
        *(tasks.stages.process, "process_windows", "process"),
        lambda windows, *_: _services([events.columns for events in windows]),
    )
    _wrap(
        *(tasks.stages.deposit_transaction, "_close", "deposit"),
        lambda _, written, *rest: _services([each.rollups for _, _, each in written]),
    )
    batches.FORMATS = {  # type: ignore[misc]  # final for everybody else
        name: reader
        for name, reader in batches.FORMATS.items()
        if name != os.environ.get("TESTS_WITHOUT_FORMAT")
    }
    sys.argv = ["celery", "-A", "tasks", *sys.argv[1:]]
    sys.exit(main())
