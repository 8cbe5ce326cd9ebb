"""Structured logs: one JSON object a line, to stderr. Ids and counts, never payloads or keys."""

import structlog

from operators import Lines


def configure() -> None:
    """Set structlog up for this process."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(Lines()),  # type: ignore[arg-type] # it only writes
        cache_logger_on_first_use=True,
    )
