"""Two workers of one name cannot be told apart: the one that finds the name taken stops."""

from typing import NoReturn

import structlog
from celery.exceptions import WorkerShutdown

log = structlog.get_logger("worker")

MISCONFIGURED = 6
"""The exit code by which a supervisor knows that to start the worker again would not help."""


def stop_for_name(name: str) -> NoReturn:
    """End this worker, from anywhere in its parent. Raises WorkerShutdown."""
    log.error(
        "worker_name_taken", name=name, remedy="give each worker a name of its own: celery worker -n NAME@%h"
    )
    raise WorkerShutdown(MISCONFIGURED)
