"""The tables that come out of a pipeline."""

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")

# One row a trace. root_*: the event without parent that started first; null as long as it has not come.
# ended_at: the latest end of an event; errors: how many of the events failed. exception_*: the first
# exception that a span event tells of, null for none. logs: the trace's log records, log_errors: those of
# them of an error's severity. Where there is no event, the times are those of records.
INTERACTIONS = pa.schema(
    [
        pa.field("trace_id", pa.binary(16), nullable=False),
        pa.field("root_service", pa.string()),
        pa.field("root_operation", pa.string()),
        pa.field("root_event_id", pa.binary(8)),
        pa.field("root_started_at", TIMESTAMP),
        pa.field("user_id", pa.string()),
        pa.field("started_at", TIMESTAMP, nullable=False),
        pa.field("ended_at", TIMESTAMP, nullable=False),
        pa.field("events", pa.int64(), nullable=False),
        pa.field("errors", pa.int64(), nullable=False),
        pa.field("logs", pa.int64(), nullable=False),
        pa.field("log_errors", pa.int64(), nullable=False),
        pa.field("exception_at", TIMESTAMP),
        pa.field("exception_event_id", pa.binary(8)),
        pa.field("exception_fingerprint", pa.string()),
        pa.field("exception_type", pa.string()),
        pa.field("exception_message", pa.string()),
    ]
)

# One row a minute × service × operation × status × bucket; durations in µs, duration_sum stops at 2^63 - 1.
ROLLUPS = pa.schema(
    [
        pa.field("minute", TIMESTAMP, nullable=False),
        pa.field("service", pa.string(), nullable=False),
        pa.field("operation", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("bucket", pa.int16(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        pa.field("duration_sum", pa.int64(), nullable=False),
        pa.field("duration_min", pa.int64(), nullable=False),
        pa.field("duration_max", pa.int64(), nullable=False),
    ]
)

# One row a minute × service × fingerprint. type, message: the smallest there were, as an example; empty
# for the fingerprint `other`. most: how many of the same customer and minute may have a row of their own.
EXCEPTIONS = pa.schema(
    [
        pa.field("minute", TIMESTAMP, nullable=False),
        pa.field("service", pa.string(), nullable=False),
        pa.field("fingerprint", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        pa.field("first_seen", TIMESTAMP, nullable=False),
        pa.field("last_seen", TIMESTAMP, nullable=False),
        pa.field("most", pa.int64(), nullable=False),
    ]
)

# The same a minute × environment × version × …: empty where not split by or not said, both `other` for the
# rest. most: as in EXCEPTIONS, of pairs of environment and version.
SPLIT_ROLLUPS = pa.schema(
    [
        ROLLUPS.field("minute"),
        pa.field("environment", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        *list(ROLLUPS)[1:],
        pa.field("most", pa.int64(), nullable=False),
    ]
)

# One row a minute × service × severity, which is a word of `tasks.events.SEVERITIES` or `unspecified`.
LOG_ROLLUPS = pa.schema(
    [
        pa.field("minute", TIMESTAMP, nullable=False),
        pa.field("service", pa.string(), nullable=False),
        pa.field("severity", pa.string(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
    ]
)

NO_INTERACTIONS = INTERACTIONS.empty_table()  # making one takes longer than many a small window's merge
NO_ROLLUPS = ROLLUPS.empty_table()
NO_EXCEPTIONS = EXCEPTIONS.empty_table()
NO_SPLIT_ROLLUPS = SPLIT_ROLLUPS.empty_table()
NO_LOG_ROLLUPS = LOG_ROLLUPS.empty_table()
