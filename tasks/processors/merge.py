"""Partial results made one, whatever the windows were and in whatever order they come.

Every field merges by min, max or sum, which are commutative and associative. What one event gives is a
partial result like any other, so compose and rollup are merges too: of several windows at once, each alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.processors.groups import MAX_INT64, Groups, Integers
from tasks.processors.names import Names
from tasks.processors.schemas import (
    INTERACTIONS,
    NO_INTERACTIONS,
    NO_ROLLUPS,
    NO_SPLIT_ROLLUPS,
    ROLLUPS,
    SPLIT_ROLLUPS,
    TIMESTAMP,
)
from tasks.processors.windows import Windows

MINUTE_US = 60_000_000
FIRST_EXCEPTION = (
    *("exception_at", "exception_event_id", "exception_fingerprint"),
    *("exception_type", "exception_message"),
)  # in the order that decides
ROOT = ("root_started_at", "root_event_id", "root_service", "root_operation")  # in the order that decides


def merge_interactions(tables: Sequence[pa.Table]) -> pa.Table:
    """One table of INTERACTIONS with one row a trace, sorted by trace id.

    The root is the smallest by (root_started_at, root_event_id, root_service, root_operation), the user_id
    the largest; the exception is the smallest by the columns of FIRST_EXCEPTION in turn. Ids and strings
    compare byte by byte.
    """
    table = joined(tables, NO_INTERACTIONS)
    rooted = _known(table, "root_event_id")
    failing = _known(table, "exception_event_id")
    (merged,) = reduce_interactions(
        Windows.of([len(table)]),
        trace_id=Names.of(table["trace_id"]),
        started=integers(table["started_at"]),
        ended=integers(table["ended_at"]),
        events=integers(table["events"]),
        errors=integers(table["errors"]),
        logs=integers(table["logs"]),
        log_errors=integers(table["log_errors"]),
        user_id=table["user_id"].chunk(0),
        rooted=rooted,
        roots=table.select(ROOT).take(pa.array(rooted)),
        failing=failing,
        exceptions=table.select(FIRST_EXCEPTION).take(pa.array(failing)),
    )
    return merged


def reduce_interactions(
    windows: Windows,
    *,
    trace_id: Names,
    started: Integers,
    ended: Integers,
    events: Integers,
    errors: Integers,
    user_id: pa.StringArray,
    rooted: Integers,
    roots: pa.Table,
    failing: Integers,
    exceptions: pa.Table,
    logs: Integers | None = None,
    log_errors: Integers | None = None,
) -> list[pa.Table]:
    """Of each window the table of INTERACTIONS that its rows, given by column, make.

    Times in µs since 1970; those of rows without events count where no row of the trace has any. No `logs` or
    `log_errors` are none in each row. `roots` has the columns of ROOT for the rows at `rooted`, which know a
    root, and `exceptions` those of FIRST_EXCEPTION for the rows at `failing`, which know an exception.
    """
    if not len(started):
        return [NO_INTERACTIONS] * windows.count
    groups = Groups.of([(windows.of_row, windows.count), trace_id.ranked()])
    rows, none = groups.any_row(), np.zeros(groups.count, np.int64)
    total = groups.sums(events)
    if not events.all():
        decides = (events > 0) | (total[groups.codes] == 0)
        started, ended = np.where(decides, started, MAX_INT64), np.where(decides, ended, -MAX_INT64)
    merged = {
        "trace_id": trace_id.take(rows),
        **groups.smallest(roots, rooted, ROOT),
        "user_id": groups.largest(user_id),
        "started_at": pa.array(groups.least(started)).cast(TIMESTAMP),
        "ended_at": pa.array(groups.most(ended)).cast(TIMESTAMP),
        "events": total,
        "errors": groups.sums(errors),
        "logs": none if logs is None else groups.sums(logs),
        "log_errors": none if log_errors is None else groups.sums(log_errors),
        **groups.smallest(exceptions, failing, FIRST_EXCEPTION),
    }
    return windows.take(rows).parts(pa.table(merged, schema=INTERACTIONS))


def merge_rollups(tables: Sequence[pa.Table]) -> pa.Table:
    """One table of ROLLUPS with one row a minute × service × operation × status × bucket, in this order."""
    return _merged_rollups(joined(tables, NO_ROLLUPS))


def merge_split_rollups(tables: Sequence[pa.Table]) -> pa.Table:
    """One table of SPLIT_ROLLUPS with one row a minute × environment × version and what `merge_rollups` says,
    in this order.
    """
    table = joined(tables, NO_SPLIT_ROLLUPS)
    split = Split(Names.of(table["environment"]), Names.of(table["version"]), integers(table["most"]))
    return _merged_rollups(table, split)


def _merged_rollups(table: pa.Table, split: "Split | None" = None) -> pa.Table:
    (merged,) = reduce_rollups(
        Windows.of([len(table)]),
        minute_us=integers(table["minute"]),
        service=Names.of(table["service"]),
        operation=Names.of(table["operation"]),
        failed=pc.equal(table["status"].chunk(0), "error").to_numpy(zero_copy_only=False),
        bucket=table["bucket"].to_numpy(),
        count=integers(table["count"]),
        sums=integers(table["duration_sum"]),
        least=integers(table["duration_min"]),
        most=integers(table["duration_max"]),
        split=split,
    )
    return merged


class Split(NamedTuple):
    """By what else rollups are made, and how many pairs of both may have rows of their own, row by row."""

    environment: Names
    version: Names
    most: Integers


def reduce_rollups(
    windows: Windows,
    *,
    minute_us: Integers,
    service: Names,
    operation: Names,
    failed: NDArray[np.bool_],
    bucket: NDArray[np.int16],
    count: Integers,
    sums: Integers,
    least: Integers,
    most: Integers,
    split: Split | None = None,
) -> list[pa.Table]:
    """Of each window the table that its rows, given by column, make: of ROLLUPS, or with `split` of
    SPLIT_ROLLUPS.

    Durations in µs, minutes in µs since 1970.
    """
    if not len(minute_us):
        return [NO_ROLLUPS if split is None else NO_SPLIT_ROLLUPS] * windows.count
    minute = (minute_us - minute_us.min()) // MINUTE_US
    status = np.where(failed, 0, 1)  # in the order of their names
    groups = Groups.of(
        [
            (windows.of_row, windows.count),
            (minute, int(minute.max()) + 1),
            *(() if split is None else (split.environment.ranked(), split.version.ranked())),
            service.ranked(),
            operation.ranked(),
            (status, 2),
            (bucket.astype(np.int64), 2**15),
        ]
    )
    rows = groups.any_row()
    merged = {
        "minute": pa.array(minute_us[rows]).cast(TIMESTAMP),
        "service": service.take(rows),
        "operation": operation.take(rows),
        "status": pa.array(["error", "ok"]).take(pa.array(status[rows])),
        "bucket": bucket[rows],
        "count": groups.sums(count),
        "duration_sum": groups.sums(sums),
        "duration_min": groups.least(least),
        "duration_max": groups.most(most),
    }
    if split is None:
        return windows.take(rows).parts(pa.table(merged, schema=ROLLUPS))
    merged |= {
        "environment": split.environment.take(rows),
        "version": split.version.take(rows),
        "most": groups.most(split.most),
    }
    table = pa.table({name: merged[name] for name in SPLIT_ROLLUPS.names}, schema=SPLIT_ROLLUPS)
    return windows.take(rows).parts(table)


def _known(table: pa.Table, name: str) -> Integers:
    """The rows that have a value there."""
    return np.flatnonzero(table[name].chunk(0).is_valid().to_numpy(zero_copy_only=False))


def joined(tables: Sequence[pa.Table], empty: pa.Table) -> pa.Table:
    """The tables as one with the schema of the empty one, each column in one chunk."""
    same = [_conformed(table, empty.schema) for table in tables]
    return pa.concat_tables([empty, *same]).combine_chunks()


def _conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with this schema; columns that the release that made it did not have are null, and
    counts 0.
    """
    if table.schema == schema:
        return table
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, _missing(field, len(table)))
    return table.select(schema.names).cast(schema)


def _missing(field: pa.Field, rows: int) -> pa.Array:
    return pa.nulls(rows, field.type) if field.nullable else pa.repeat(pa.scalar(0, field.type), rows)


def integers(column: pa.ChunkedArray) -> Integers:
    numbers: Integers = column.cast(pa.int64()).to_numpy()
    return numbers
