"""Structured logs: one JSON object a line on standard error; ids and counts, never payloads or keys."""

import logging
import sys

import structlog

from environment.settings import LogSettings
from supervision import formatter, log_uncaught


def configure() -> None:
    """Set up structlog for this process, and let the libraries' own warnings through."""
    as_json = LogSettings().as_json
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("numba").setLevel(logging.WARNING)  # else a worker of `-l DEBUG` has each step of it
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter(as_json=as_json))
    if as_json:
        log_uncaught()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
