"""The results that a deposit writes: one door to the three tables and their partitions."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
from sqlalchemy import Connection

from db import bulk
from db.results.columns import of_customer
from db.results.events import MOST_AS_ARRAYS, write_events
from db.results.interactions import write_interactions
from db.results.rollups import write_rollups
from db.retention.partitions import prepare

__all__ = ["of_customer", "prepare", "write_events", "write_interactions", "write_rollups", "writing"]


@contextmanager
def writing(
    conn: Connection, *, interactions: pa.Table, rollups: pa.Table, events: pa.Table
) -> Iterator[None]:
    """Write the three, as `write_interactions`, `write_rollups` and `write_events` do, and what the block
    sends: a block of `db.bulk.together`.
    """
    many = len(events) > MOST_AS_ARRAYS
    if many:
        write_events(conn, events)
    with bulk.together(conn):
        write_interactions(conn, interactions)
        write_rollups(conn, rollups)
        if not many:
            write_events(conn, events)
        yield
