"""Views for questions, and on PostgreSQL the functions that SQLite has, or is given by `db.percentiles`.

Revision: 0017, after 0016
"""

from collections.abc import Iterable

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# The name of a column of a view, and what it is.
Shown = tuple[str, str]


def postgresql() -> bool:
    return op.get_context().dialect.name == "postgresql"


def same(*names: str) -> list[Shown]:
    return [(name, f"t.{name}") for name in names]


def ids(*names: str, keys: bool = False) -> list[Shown]:
    """Bytes as hexadecimal text; with `keys` also as they are stored, which is what indexes have."""
    pattern = "encode(t.{0}, 'hex')" if postgresql() else "lower(nullif(hex(t.{0}), ''))"
    return [
        *((name, pattern.format(name)) for name in names),
        *((f"{name}_key", f"t.{name}") for name in names if keys),
    ]


def ms(*names: str) -> list[Shown]:
    return [(f"{name}_ms", f"CAST(t.{name} AS double precision) / 1000") for name in names]


def moment(name: str, stored: str, *, minute: bool = False) -> Shown:
    """SQLite stores 2023-01-29 08:30:00.000000, which is shown as 2023-01-29T08:30:00.000000Z."""
    if postgresql():
        return name, stored
    text = f"substr({stored}, 1, 19)" if minute else stored
    return name, f"replace({text}, ' ', 'T') || 'Z'"


def times(*names: str) -> list[Shown]:
    return [moment(name, f"t.{name}") for name in names]


def main_time(name: str) -> list[Shown]:
    """A time by which rows are found: as it is stored, and its hour and day, too."""
    stored = f"t.{name}"
    if postgresql():
        hour, day = f"date_trunc('hour', {stored}, 'UTC')", f"CAST({stored} AT TIME ZONE 'UTC' AS date)"
    else:
        hour, day = f"replace(substr({stored}, 1, 13), ' ', 'T') || ':00:00Z'", f"substr({stored}, 1, 10)"
    shown = moment(name, stored, minute=name == "minute")
    return [shown, (f"{name}_key", stored), ("hour", hour), ("day", day)]


def counted_times(**microseconds: str) -> list[Shown]:
    """Of µs since 1970: as the times of results are shown, and with `_key` as those are stored."""
    found: list[Shown] = []
    for name, us in microseconds.items():
        if postgresql():
            stored = f"to_timestamp(CAST({us} AS double precision) / 1000000)"
        else:
            seconds = f"strftime('%Y-%m-%d %H:%M:%S', ({us}) / 1000000, 'unixepoch')"
            stored = f"{seconds} || printf('.%06d', ({us}) % 1000000)"
        found += [moment(name, stored), (f"{name}_key", stored)]
    return found


def ledger_times(*names: str) -> list[Shown]:
    return counted_times(**{name: f"t.{name}" for name in names})


def between_ms(first: str, last: str) -> str:
    if postgresql():
        return f"CAST(EXTRACT(EPOCH FROM t.{last} - t.{first}) * 1000 AS double precision)"
    # Without fractions, which `strftime` rounds to milliseconds.
    seconds = f"(strftime('%s', substr(t.{last}, 1, 19)) - strftime('%s', substr(t.{first}, 1, 19)))"
    us = f"{seconds} * 1000000 + substr(t.{last}, 21, 6) - substr(t.{first}, 21, 6)"
    return f"CAST({us} AS double precision) / 1000"


def results() -> dict[str, Iterable[Shown]]:
    durations = [*same("count"), *ms("duration_sum", "duration_min", "duration_max"), *same("histogram")]
    details = same("trace_state", "flags", "resource", "scope", "span", "span_events", "links")
    return {
        "interactions": [
            *ids("trace_id", keys=True),
            *same("root_service", "root_operation"),
            *ids("root_event_id"),
            *times("root_started_at"),
            *same("user_id"),
            *main_time("started_at"),
            *times("ended_at"),
            ("duration_ms", between_ms("started_at", "ended_at")),
            *same("events", "errors", "status"),
            *times("exception_at"),
            *ids("exception_event_id"),
            *same("exception_fingerprint", "exception_type", "exception_message", "logs", "log_errors"),
        ],
        "rollups": [*main_time("minute"), *same("service", "operation", "status"), *durations],
        "split_rollups": [
            *main_time("minute"),
            *same("environment", "version", "service", "operation", "status"),
            *durations,
        ],
        "exceptions": [
            *main_time("minute"),
            *same("service", "fingerprint", "type", "message", "count"),
            *times("first_seen", "last_seen"),
        ],
        "events": [
            *main_time("started_at"),
            *ids("event_id", "trace_id", "parent_id", keys=True),
            ("duration_ms", ms("duration_us")[0][1]),
            *same("service", "operation", "kind", "status", "status_message", "user_id", "attributes"),
            *details,
        ],
        "logs": [
            *main_time("at"),
            *same("severity_number", "severity_text", "service", "event_name", "body", "attributes"),
            *same("scope", "resource"),
            *ids("trace_id", "span_id", keys=True),
        ],
        "log_rollups": [*main_time("minute"), *same("service", "severity", "count")],
    }


def ledger() -> dict[str, Iterable[Shown]]:
    newest = "(SELECT max(b.accepted_at) FROM batches AS b WHERE b.customer_id = c.id)"
    taken = same("decoded", "kept", "dropped", "rejected", "quarantined", "kept_logs")
    return {
        "batches": [
            *same("batch_id", "state", "window_id"),
            *ledger_times("accepted_at", "booked_at"),
        ],
        "windows": [
            ("window_id", "t.id"),
            *same("state", "batches", "bytes", "pipeline_version"),
            *ledger_times("first_accepted_at", "created_at", "deposited_at"),
            ("longest_wait_s", "CAST(t.deposited_at - t.first_accepted_at AS double precision) / 1000000"),
            *taken,
        ],
        "quarantine": [
            ("quarantine_id", "t.id"),
            *same("window_id", "stream_offset", "batch_id"),
            ("event_row", 't."row"'),
            *same("reason", "detail", "format", "content_encoding", "state", "replayed_as"),
            *ledger_times("accepted_at", "created_at", "replayed_at"),
        ],
        "costs": [
            *counted_times(period_start="t.period * 600000000"),
            *same("windows", "batches", "events", "bytes"),
            ("processor_s", "CAST(t.processor_us AS double precision) / 1000000"),
        ],
        "customers": [
            *same("state", "retention_days", "pipeline_version", "breaker_reason"),
            *ledger_times("created_at", "breaker_opened_at"),
            *counted_times(last_accepted_at=newest),
        ],
    }


def views() -> dict[str, Iterable[Shown]]:
    return results() | ledger()


def statement(table: str, columns: Iterable[Shown]) -> str:
    every = [("customer", "c.slug"), ("customer_id", "c.id"), *columns]
    shown = ", ".join(f"{what} AS {name}" for name, what in every)
    if table == "customers":
        source = "customers AS c JOIN customers AS t ON t.id = c.id"
    else:
        source = f"{table} AS t JOIN customers AS c ON c.id = t.customer_id"
    return f"CREATE VIEW {table}_view AS SELECT {shown} FROM {source}"  # noqa: S608 (our own names)


# As SQLite's: datetime('now', '-1 day', 'start of day'), in UTC and whole seconds.
DATETIME = """
CREATE FUNCTION datetime(moment text, VARIADIC changes text[] DEFAULT '{}') RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET timezone = 'UTC' AS $$
DECLARE
    result timestamp := CAST(moment AS timestamptz);
    change text;
BEGIN
    FOREACH change IN ARRAY changes LOOP
        IF change IN ('start of day', 'start of month', 'start of year') THEN
            result := date_trunc(substr(change, 10), result);
        ELSE
            result := result + CAST(change AS interval);
        END IF;
    END LOOP;
    RETURN date_trunc('second', result);
END $$
"""
# The state: the share, the least and the most in ms, and of each bucket how many events it has.
ADD = """
CREATE FUNCTION percentile_ms_add(
    state double precision[], histogram json, least_ms double precision, most_ms double precision,
    share double precision
) RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    counted record;
BEGIN
    IF cardinality(state) = 0 THEN
        IF share NOT BETWEEN 0 AND 1 THEN
            RAISE EXCEPTION 'the share of a percentile is between 0 and 1, not %', share;
        END IF;
        state := ARRAY[share, least_ms, most_ms] || array_fill(CAST(0 AS double precision), ARRAY[460]);
    END IF;
    state[2] := LEAST(state[2], least_ms);
    state[3] := GREATEST(state[3], most_ms);
    FOR counted IN
        SELECT 4 + CAST(key AS int) AS place, CAST(value AS double precision) AS events
        FROM json_each_text(histogram)
    LOOP
        state[counted.place] := state[counted.place] + counted.events;
    END LOOP;
    RETURN state;
END $$
"""
RESULT = """
CREATE FUNCTION percentile_ms_result(state double precision[]) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT GREATEST(state[2], LEAST(state[3], 2 * power(CAST(1.1 AS double precision), place - 1) / 2100))
    FROM (
        SELECT place, events, sum(events) OVER (ORDER BY place) AS so_far, sum(events) OVER () AS total
        FROM unnest(state[4:]) WITH ORDINALITY AS bucket (events, place)
    ) AS added
    WHERE events > 0 AND so_far >= state[1] * total
    ORDER BY place
    LIMIT 1
$$
"""
PERCENTILE = """
CREATE AGGREGATE percentile_ms(
    histogram json, least_ms double precision, most_ms double precision, share double precision
) (SFUNC = percentile_ms_add, STYPE = double precision[], INITCOND = '{}', FINALFUNC = percentile_ms_result)
"""


def create(what: str) -> None:
    op.execute(what.replace(":", r"\:"))  # no parameters


def upgrade() -> None:
    for table, columns in views().items():
        create(statement(table, columns))
    if postgresql():
        for function in (DATETIME, ADD, RESULT, PERCENTILE):
            create(function)


def downgrade() -> None:
    for table in views():
        op.execute(f"DROP VIEW {table}_view")
    if postgresql():
        numbers = "json, double precision, double precision, double precision"
        op.execute(f"DROP AGGREGATE percentile_ms({numbers})")
        op.execute("DROP FUNCTION percentile_ms_result(double precision[])")
        op.execute(f"DROP FUNCTION percentile_ms_add(double precision[], {numbers})")
        op.execute("DROP FUNCTION datetime(text, text[])")
