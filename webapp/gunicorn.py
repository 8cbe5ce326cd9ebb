"""gunicorn's settings: `gunicorn -c python:webapp.gunicorn 'webapp:create_app()'`.

gthread, because a request mostly waits (for its body, for its confirm) and idle connections wait in the
worker's poller, not in threads; ours (webapp.worker), because slow ones should, too. Every worker connects
for itself after the fork; the master holds no connection.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, cast

from webapp.cores import free_core, step_back
from webapp.drain import Drain
from webapp.meters import Meters
from webapp.settings import http_settings

if TYPE_CHECKING:
    from flask import Flask
    from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped] # ships no types
    from gunicorn.workers.base import Worker  # type: ignore[import-untyped] # the same

    from webapp.parts import Parts

_settings = http_settings()
_drain = Drain()
# During a reload there are twice as many workers.
_meters = Meters(lanes=2 * _settings.workers + 2)
_metrics_folder = Path(_settings.metrics_folder) / str(os.getpid())
# Read by prometheus_client at its first import, which happens in the workers.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics_folder.absolute())

bind = _settings.bind
worker_class = "webapp.worker.Worker"
workers = _settings.workers
threads = _settings.threads
worker_connections = _settings.connections
keepalive = _settings.keepalive_s
graceful_timeout = _settings.graceful_s
# The time without a sign of life of a worker's main loop, not of a request.
timeout = 30
backlog = 2048
preload_app = False
"""The application holds a broker, and that must not cross a fork."""
proc_name = "sluice-receiver"
control_socket_disable = True
"""It would lie outside of the project, in the user's home."""


def on_starting(server: Arbiter) -> None:
    """Make the folder for the workers' counts, and remove those of masters that were killed."""
    _metrics_folder.mkdir(parents=True, exist_ok=True)
    for folder in _metrics_folder.parent.iterdir():
        if folder.name.isdecimal() and not _alive(int(folder.name)):
            shutil.rmtree(folder, ignore_errors=True)


def when_ready(server: Arbiter) -> None:
    """From now on SIGTERM first turns readiness false, and closes the listener `drain_s` later."""

    def drain(signum: int, frame: FrameType | None) -> None:
        if _drain.begun or _settings.drain_s == 0:
            server.signal(signum, frame)
            return
        _drain.begin()
        signal.signal(signal.SIGALRM, lambda _signum, frame: server.signal(signal.SIGTERM, frame))
        signal.setitimer(signal.ITIMER_REAL, _settings.drain_s)

    signal.signal(signal.SIGTERM, drain)


def pre_fork(server: Arbiter, worker: Worker) -> None:
    """Choose the core that the worker will run on."""
    taken = [living.core for living in server.WORKERS.values()]
    worker.core = free_core(os.sched_getaffinity(0), taken)


def post_fork(server: Arbiter, worker: Worker) -> None:
    """Stay on it, and step back behind those who finish what was accepted before."""
    if _settings.pin:
        os.sched_setaffinity(0, {worker.core})
    step_back(_settings.nice)


def post_worker_init(worker: Worker) -> None:
    """Hand the master's drain flag and meters over, and begin to connect."""
    parts = _parts(worker)
    parts.drain.follow(_drain)
    parts.meters.follow(_meters)
    parts.warm()


def worker_exit(server: Arbiter, worker: Worker) -> None:
    """Close the worker's connections; its requests are over."""
    # A worker that could not load the application has none.
    if hasattr(worker, "wsgi"):
        _parts(worker).close()


def child_exit(server: Arbiter, worker: Worker) -> None:
    """Forget the gauges of a worker that is gone; its counts stay."""
    from prometheus_client.multiprocess import mark_process_dead  # only after PROMETHEUS_MULTIPROC_DIR is set

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call] # it has no annotations


def on_exit(server: Arbiter) -> None:
    """Remove the workers' counts: nobody can ask for them any more."""
    shutil.rmtree(_metrics_folder, ignore_errors=True)


def _parts(worker: Worker) -> Parts:
    application = cast("Flask", worker.wsgi)
    return cast("Parts", application.extensions["sluice"])


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
