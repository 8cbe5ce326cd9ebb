"""The results that a deposit writes: one door to their tables and the partitions of these."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
from sqlalchemy import Connection

from db import bulk
from db.results.columns import of_customer
from db.results.events import MOST_AS_ARRAYS, write_events
from db.results.exceptions import write_exceptions
from db.results.interactions import write_interactions
from db.results.log_rollups import write_log_rollups
from db.results.logs import copy_logs, write_logs
from db.results.rollups import write_rollups, write_split_rollups
from db.retention.partitions import prepare

__all__ = [
    "of_customer",
    "prepare",
    "write_events",
    "write_exceptions",
    "write_interactions",
    "write_log_rollups",
    "write_logs",
    "write_rollups",
    "write_split_rollups",
    "writing",
]


@contextmanager
def writing(
    conn: Connection,
    *,
    interactions: pa.Table,
    rollups: pa.Table,
    events: pa.Table,
    exceptions: pa.Table | None = None,
    split_rollups: pa.Table | None = None,
    logs: pa.Table | None = None,
    log_rollups: pa.Table | None = None,
) -> Iterator[None]:
    """Write these, as `write_interactions`, `write_rollups` and so on do, and what the block sends: a block
    of `db.bulk.together`.
    """
    many = len(events) > MOST_AS_ARRAYS
    if many:
        write_events(conn, events)
    many_logs = logs is not None and len(logs) > MOST_AS_ARRAYS
    if many_logs:
        copy_logs(conn, logs)
    with bulk.together(conn):
        write_interactions(conn, interactions)
        write_rollups(conn, rollups)
        if exceptions is not None:
            write_exceptions(conn, exceptions)
        if split_rollups is not None:
            write_split_rollups(conn, split_rollups)
        if not many:
            write_events(conn, events)
        if logs is not None and not many_logs:
            write_logs(conn, logs)
        if log_rollups is not None:
            write_log_rollups(conn, log_rollups)
        yield
