"""gunicorn's settings: `gunicorn -c python:webapp.gunicorn 'webapp:create_app()'`.

The workers are ours (webapp.serving.worker): a request mostly waits, for its body and for its confirm, and
there it waits on a loop and in no thread. Every worker connects for itself after the fork; the master holds
no connection.
"""

import importlib
import os
import signal
from types import FrameType
from typing import TYPE_CHECKING, cast

from environment.settings import LogSettings, run_folder
from environment.starting import check_apart, stopping
from operators import Listener, Memory, share
from supervision import Supervised
from webapp.limits.address_counts import AddressCounts
from webapp.limits.customer_meter import CustomerMeter
from webapp.limits.key_meter import KeyMeter
from webapp.limits.meters import Meters
from webapp.serving.cores import free_core, step_back
from webapp.serving.file_descriptors import make_room
from webapp.serving.shutdown_flag import ShutdownFlag
from webapp.serving.watching import WorkerWatch
from webapp.settings import http_settings

if TYPE_CHECKING:
    from flask import Flask
    from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped] # ships no types
    from gunicorn.workers.base import Worker  # type: ignore[import-untyped] # the same

    from webapp.serving.parts import Parts

with stopping():
    _settings = http_settings()
    _run_folder = run_folder()
    _as_json = LogSettings().as_json
_shutdown = ShutdownFlag()
# During a reload there are twice as many workers.
_lanes = 2 * _settings.workers + 2
_meters = Meters(CustomerMeter, _lanes)
_key_meters = Meters(KeyMeter, _lanes)
_addresses = AddressCounts()
# Room for every series that there can be, at some 300 bytes each: 24 a customer with a name, and the rest.
_memory = Memory(lanes=_lanes, lane_bytes=(1000 + 24 * _settings.metric_customers) * 512)
_supervised = Supervised()
_watch = WorkerWatch(_supervised)
# gunicorn would say that it is ready before there is a worker.
os.environ.pop("NOTIFY_SOCKET", None)
_listener = Listener(bind=_settings.metrics_bind, memory=_memory)

bind = _settings.bind
worker_class = "webapp.serving.worker.LoopWorker"
workers = _settings.workers
worker_connections = _settings.connections
keepalive = _settings.keepalive_s
graceful_timeout = _settings.graceful_s
# The time without a sign of life of a worker's main loop, not of a request.
timeout = 30
backlog = 2048
preload_app = False
"""The application holds a broker, and that must not cross a fork."""
proc_name = "sluice-receiver"
worker_tmp_dir = str(_run_folder)
"""The sign of life is the time of an empty file, which is unlinked at once; memory is never full of them."""
logger_class = "webapp.serving.json_logger.JsonLogger" if _as_json else "gunicorn.glogging.Logger"
control_socket_disable = True
"""It would lie outside of the project, in the user's home."""


def on_starting(server: "Arbiter") -> None:
    """A misconfigured receiver ends here: its workers would be started again for ever."""
    check_apart(_check)


def _check() -> None:
    # In a process of its own: what the master has imported is not imported anew at a reload.
    importlib.import_module("webapp.serving.starting").check()


def when_ready(server: "Arbiter") -> None:
    """Serve the operators. From now on SIGTERM first turns readiness false, and closes the agents'
    listener `drain_s` later.
    """
    _listener.origin = _reached_at(server.LISTENERS[0].getsockname())
    _listener.tls = bool(server.cfg.is_ssl)
    _listener.start()
    _watch.attach(server)

    def child_ended(signum: int, frame: FrameType | None) -> None:
        _listener.keep()
        server.signal_chld(signum, frame)

    def drain(signum: int, frame: FrameType | None) -> None:
        _supervised.stopping()
        if _shutdown.begun or _settings.drain_s == 0:
            server.signal(signum, frame)
            return
        _shutdown.begin()
        signal.signal(signal.SIGALRM, lambda _signum, frame: server.signal(signal.SIGTERM, frame))
        signal.setitimer(signal.ITIMER_REAL, _settings.drain_s)

    signal.signal(signal.SIGTERM, drain)
    signal.signal(signal.SIGCHLD, child_ended)


def pre_fork(server: "Arbiter", worker: "Worker") -> None:
    """Choose the core that the worker will run on."""
    taken = [living.core for living in server.WORKERS.values()]
    worker.core = free_core(os.sched_getaffinity(0), taken)


def post_fork(server: "Arbiter", worker: "Worker") -> None:
    """Stay on it, and step back behind those who finish what was accepted before."""
    _listener.leave()
    if _settings.pin:
        os.sched_setaffinity(0, {worker.core})
    step_back(_settings.nice)
    make_room(_settings.connections)
    # Before the application is loaded, whose metrics are made as it is imported.
    worker.lane = _memory.take()
    if worker.lane is None:
        worker.log.warning("more workers than were set: this one's metrics are not shown")
    else:
        share(worker.lane)


def post_worker_init(worker: "Worker") -> None:
    """Hand the master's shutdown flag and meters over, and begin to connect."""
    parts = _parts(worker)
    parts.shutdown.follow(_shutdown)
    parts.meters.follow(_meters)
    parts.key_meters.follow(_key_meters)
    parts.addresses.follow(_addresses)
    if worker.lane is not None:
        parts.counts.go_on(worker.lane)
    parts.tracer.start()
    parts.warm()
    _watch.follow(parts)


def worker_exit(server: "Arbiter", worker: "Worker") -> None:
    """Close the worker's connections; its requests are over."""
    # A worker that could not load the application has none.
    if hasattr(worker, "wsgi"):
        _parts(worker).close()
        worker.end()


def on_exit(server: "Arbiter") -> None:
    """Nobody has questions any more."""
    _listener.stop()


def _parts(worker: "Worker") -> "Parts":
    application = cast("Flask", worker.wsgi)
    return cast("Parts", application.extensions["sluice"])


def _reached_at(name: tuple[str, int] | str | bytes) -> str:
    """Where this machine reaches a listening socket of its own."""
    if isinstance(name, str | bytes):
        return os.fsdecode(name)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name[0], name[0])  # noqa: S104 - read, not bound
    return f"{host}:{name[1]}"
