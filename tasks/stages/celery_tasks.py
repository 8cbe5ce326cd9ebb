"""The Celery tasks. They have no logic: each calls plain functions and hands their result on.

A chain is decode → process → deposit, or decode_process → deposit where one queue serves both stages
(`tasks.chains`). Small windows of several customers have one task together, decode_process_deposit.

A task that fails because broker, database or host is away is acknowledged all the same: its window is
still recorded, and the dispatcher rings it again. Nothing is retried here. One that dies, or meets an error
that nobody foresaw, is sent again by the worker's parent (`tasks.worker.requests`).
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from celery import Task
from celery.signals import (
    celeryd_init,
    task_failure,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
)

import tasks.stages.decode
import tasks.stages.deposit
import tasks.stages.group
import tasks.stages.process
from tasks.celery import app
from tasks.decoders import machine_code
from tasks.logs import configure
from tasks.measures.shown import stage_measures
from tasks.stages.context import context
from tasks.stages.deliveries import delivery
from tasks.stages.traced import traced
from tasks.worker.failures import unforeseen_as_failed
from tasks.worker.misconfigured import stop_misconfigured

log = structlog.get_logger("worker")

REQUEST = "tasks.worker.requests:StageRequest"
OOM_SCORE = 500  # as if it held half of the memory more than it does


@celeryd_init.connect
def _configure_logs(**_: Any) -> None:
    configure()


@worker_init.connect
def _compile(**_: Any) -> None:
    """Once, in the parent, so that its children have it: each would need seconds before its first window."""
    try:
        machine_code()
    except Exception as error:  # of numba, or of a host on which nothing that was written may be executed
        stop_misconfigured("machine_code_refused", reason=f"{type(error).__name__}: {error}")


@worker_process_init.connect
def _go_first(**_: Any) -> None:
    """Short of memory, the kernel is to end the child that took it: its parent can say of which window."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(f"{OOM_SCORE}\n")


@worker_process_shutdown.connect
def _close(**_: Any) -> None:
    context().close()


@task_failure.connect
def _say_which_window(sender: Any, exception: BaseException, **_: Any) -> None:
    """Celery's own line names its uuid only. A task that failed to send the next stage has no request."""
    work = getattr(sender.request, "argsrepr", None)
    stage_measures().failed(sender.name, type(exception).__name__)
    log.error("task_failed", task=sender.name, work=work, error=type(exception).__name__)


def _end(task: "Task[Any, Any]") -> None:
    """The window needs no further link: another delivery has done the work, or its halves have chains of
    their own.
    """
    task.request.chain = None


# A result is an agent's data: nothing of it may be logged or shown in Flower.
@app.task(name="decode", bind=True, Request=REQUEST, resultrepr_maxsize=0)
def decode(self: "Task[Any, Any]", window_id: int) -> bytes | None:
    """Window id in, the window's events out (`tasks.handover`)."""
    packed = partial(tasks.stages.decode.packed, settings=context().settings)
    with _watched(self):
        handed = tasks.stages.decode.run(context(), window_id, packed, delivery(self.request))
    if handed is None:
        _end(self)
    return handed


@app.task(name="process", bind=True, Request=REQUEST)
def process(self: "Task[Any, Any]", handed: bytes) -> None:
    """A window's events in; its results are in `processed.<customer>` when this returns."""
    with _watched(self):
        done = tasks.stages.process.run(context(), handed, delivery(self.request))
    if not done:
        _end(self)


@app.task(name="decode_process", bind=True, Request=REQUEST)
def decode_process(self: "Task[Any, Any]", window_id: int) -> None:
    """Window id in; the window's results are in `processed.<customer>` when this returns."""
    publish = partial(tasks.stages.process.publish, context())
    with _watched(self):
        done = tasks.stages.decode.run(context(), window_id, publish, delivery(self.request))
    if not done:
        _end(self)


@app.task(name="deposit", bind=True, Request=REQUEST)
def deposit(self: "Task[Any, Any]", customer_id: int, window_id: int) -> None:
    """The window, and every other that is ready before it, is in the database when this returns."""
    with _watched(self):
        tasks.stages.deposit.run(context(), customer_id, window_id, delivery(self.request))


@app.task(name="decode_process_deposit", bind=True, Request=REQUEST)
def decode_process_deposit(self: "Task[Any, Any]", window_ids: list[int], carried: bytes = b"") -> None:
    """The windows, of several customers, are in the database when this returns, or have their own chains."""
    with _watched(self):
        tasks.stages.group.run(context(), window_ids, delivery(self.request), carried)


@contextmanager
def _watched(task: "Task[Any, Any]") -> Iterator[None]:
    """Say where an error comes from, and end this process (SIGPROF) when it computes for too long.

    Waiting does not count, so that a slow database or broker is never taken for an endless loop.
    """
    signal.setitimer(signal.ITIMER_PROF, context().settings.processor_limit_s)
    try:
        with (
            unforeseen_as_failed(task.name, task.request.argsrepr),
            traced(context().tracer, task.name, task.request),
        ):
            yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
