"""A worker that must not go on, and that starting it again would not help."""

from typing import Any, NoReturn

import structlog
from celery.exceptions import WorkerShutdown

from environment.errors import MISCONFIGURED

log = structlog.get_logger("worker")


def stop_misconfigured(event: str, **fields: Any) -> NoReturn:
    """End this worker, from anywhere in its parent, with an error in the log. Raises WorkerShutdown."""
    log.error(event, **fields)
    raise WorkerShutdown(MISCONFIGURED)
