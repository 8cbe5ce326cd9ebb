"""The results that a deposit writes: one door to their tables and the partitions of these."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pyarrow as pa
from sqlalchemy import Connection

from db import bulk
from db.results.columns import of_customer
from db.results.events import write_events
from db.results.exceptions import write_exceptions
from db.results.interactions import write_interactions
from db.results.log_rollups import write_log_rollups
from db.results.logs import write_logs
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
    """Write these, as `write_interactions`, `write_rollups` and so on do, in slices, and what the block
    sends: a block of `db.bulk.together`.
    """
    rows = [(write_events, events), (write_logs, logs)]
    _write(conn, [one for one in rows if _many(one[1])])
    with bulk.together(conn):
        _write(
            conn,
            [
                (write_interactions, interactions),
                (write_rollups, rollups),
                (write_exceptions, exceptions),
                (write_split_rollups, split_rollups),
                *(one for one in rows if not _many(one[1])),
                (write_log_rollups, log_rollups),
            ],
        )
        yield


def _many(table: pa.Table | None) -> bool:
    return table is not None and len(table) > bulk.MOST_AS_ARRAYS


def _write(
    conn: Connection, tables: Iterable[tuple[Callable[[Connection, pa.Table], None], pa.Table | None]]
) -> None:
    for write, table in tables:
        for part in bulk.slices(table) if table is not None else ():
            write(conn, part)
