"""A worker that must not go on, and that starting it again would not help."""

from typing import Any, NoReturn

import structlog
from celery.exceptions import WorkerShutdown

log = structlog.get_logger("worker")

MISCONFIGURED = 6
"""The exit code by which a supervisor knows it."""


def stop_misconfigured(event: str, **fields: Any) -> NoReturn:
    """End this worker, from anywhere in its parent, with an error in the log. Raises WorkerShutdown."""
    log.error(event, **fields)
    raise WorkerShutdown(MISCONFIGURED)
