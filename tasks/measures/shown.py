"""Where a worker's counts are shown: in memory made before the worker forks, by a listener beside it.

A child takes a lane when it starts. When it is killed, its counts stay, and the child that follows it goes on
with them.
"""

import os
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import structlog
from celery.signals import worker_init, worker_process_init, worker_shutdown
from prometheus_client import Counter

from operators import LabelNames, Lane, Listener, Memory, label_values, share
from tasks.measures import names
from tasks.measures.processes import LABELLED, ConnectionMeasures, ProcessMeasures, lane_bytes
from tasks.measures.stages import StageMeasures
from tasks.settings import TaskSettings

log = structlog.get_logger("worker")


@dataclass(kw_only=True)
class ParentMeasures:
    """What a worker's parent counts."""

    own: ProcessMeasures = field(default_factory=ProcessMeasures)
    connections: ConnectionMeasures = field(default_factory=ConnectionMeasures)
    deaths: Counter = field(default_factory=names.DEATHS.counter)


@dataclass(kw_only=True)
class _Shown:
    """What a child finds that its parent made before the fork."""

    memory: Memory | None = None
    listener: Listener | None = None
    maker: int = 0
    lane: Lane | None = None


_shown = _Shown()


@worker_init.connect
def _show(sender: Any, **_: Any) -> None:
    settings = TaskSettings()
    if not settings.worker_metrics_bind:
        return
    processes = sender.concurrency if isinstance(sender.concurrency, int) else os.cpu_count() or 1
    # As many again for children that end while their successors begin, and for a pool that is grown.
    memory = Memory(lanes=4 * processes + 8, lane_bytes=lane_bytes(settings.metric_customers))
    _shown.maker, _shown.memory, _shown.lane = os.getpid(), memory, memory.take()
    assert _shown.lane is not None
    share(_shown.lane)
    parent_measures().own.named("worker", sender.hostname)
    _shown.listener = listener = Listener(bind=settings.worker_metrics_bind, memory=memory)
    parent_measures().own.listener = listener
    listener.start()
    if listener.address:
        log.info("metrics_shown", address=listener.address)


@worker_process_init.connect
def _leave(**_: Any) -> None:
    if _shown.listener is not None:
        _shown.listener.leave()


@worker_shutdown.connect
def _stop(**_: Any) -> None:
    if _shown.listener is not None:
        _shown.listener.stop()


@cache
def _parents(pid: int) -> ParentMeasures:
    return ParentMeasures(own=ProcessMeasures(memory=_shown.memory))


def parent_measures() -> ParentMeasures:
    """Those of this process, which is a worker's parent."""
    return _parents(os.getpid())


@cache
def _stages(pid: int) -> StageMeasures:
    customers = LabelNames(TaskSettings().metric_customers)
    if _shown.memory is not None:
        lane = _shown.lane if pid == _shown.maker else _shown.memory.take()
        if lane is None:
            log.warning("metrics_not_shown", reason="the worker has more processes than it began with")
        else:
            if pid != _shown.maker:
                share(lane)
            for sample in LABELLED:
                customers.go_on(label_values(lane, sample, "customer"))
    return StageMeasures(customers=customers)


def stage_measures() -> StageMeasures:
    """Those of this process; made on the first call, after the fork."""
    return _stages(os.getpid())
