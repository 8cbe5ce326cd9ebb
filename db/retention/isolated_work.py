"""Kinds of work of which one's failure is no other's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError

from db.engine import look
from db.errors import DatabaseUnavailable, Lost

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(kw_only=True)
class IsolatedWork:
    """Does one kind of work after the other; `failed` counts those that were left to the next time."""

    engine: Engine
    failed: int = 0

    def do(self, what: str, slug: str, work: Callable[[], T]) -> T | None:
        """Its outcome, None when it failed. Raises DatabaseUnavailable where the database is away."""
        try:
            return work()
        except (DatabaseUnavailable, Lost, DBAPIError) as error:
            with look(self.engine) as conn:
                conn.execute(select(1))
            reason = type(error).__name__
            log.error("pruning_failed", what=what, customer=slug, reason=reason, detail=str(error)[:200])
            self.failed += 1
            return None
