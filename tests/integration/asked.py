"""What the questions of docs/queries.md are asked about: two customers, with something of everything.

`NOW` is Friday, 27 November 2026, 15:00 UTC.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import Engine, insert

from db.customers import rows as customers
from db.customers.rows import Customer
from db.engine import begin
from db.quarantine import rows as quarantine
from db.results import (
    of_customer,
    write_events,
    write_exceptions,
    write_interactions,
    write_log_rollups,
    write_logs,
    write_rollups,
    write_split_rollups,
)
from db.tables import costs
from tasks.processors.buckets import buckets
from tests.integration import ledger_rows
from tests.integration.result_tables import (
    Row,
    a_log,
    an_event,
    events_table,
    exceptions_table,
    interactions_table,
    log_rollups_table,
    logs_table,
    rollups_table,
    split_rollups_table,
)

NOW = "2026-11-27T15:00:00Z"
TRACE = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736")
YESTERDAY, BEFORE = "2026-11-26", "2026-11-25"


def us(at: str) -> int:
    """µs since 1970 of a time such as 2026-11-26T09:10, UTC."""
    return round(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() * 1_000_000)


def rollup(
    at: str, service: str, operation: str, durations_ms: list[int], *, status: str = "ok", **by: Any
) -> Iterator[Row]:
    key = {"minute": us(at), "service": service, "operation": operation, "status": status, **by}
    for took_us in (1000 * took_ms for took_ms in durations_ms):
        numbers = dict.fromkeys(("duration_sum", "duration_min", "duration_max"), took_us)
        yield {**key, **numbers, "bucket": int(buckets(np.array([took_us]))[0]), "count": 1}


def rollups() -> list[Row]:
    return [
        *rollup(f"{BEFORE}T09:10", "shop", "GET /cart", [2, 2]),
        *rollup(f"{BEFORE}T09:10", "shop", "POST /order", [200]),
        *rollup(f"{YESTERDAY}T09:10", "shop", "GET /cart", [10, 10, 10]),
        *rollup(f"{YESTERDAY}T09:12", "shop", "POST /order", [200, 200]),
        *rollup(f"{YESTERDAY}T15:59", "shop", "POST /order", [400], status="error"),
        *rollup(f"{YESTERDAY}T16:00", "pay", "POST /pay", [50, 50, 50, 50]),
        *rollup("2026-11-27T00:00", "shop", "GET /cart", [900]),
    ]


def split_rollups() -> list[Row]:
    order = ("shop", "POST /order")
    live: dict[str, Any] = {"environment": "production", "most": 50}
    return [
        *rollup(f"{BEFORE}T09:10", *order, [200, 200], **live, version="1.0"),
        *rollup(f"{YESTERDAY}T12:00", *order, [400], **live, version="1.1"),
        *rollup(f"{YESTERDAY}T12:30", *order, [400], **live, version="1.1", status="error"),
        *rollup(f"{YESTERDAY}T12:45", *order, [100], **live, version="1.0"),
        *rollup(f"{YESTERDAY}T18:00", *order, [1], environment="test", version="1.2", most=50),
    ]


def exception(at: str, fingerprint: str, count: int, **given: Any) -> Row:
    seen = us(at) + 7_500_000
    row = {
        "minute": us(at),
        "service": "shop",
        "fingerprint": fingerprint,
        "type": "KeyError",
        "message": "no",
    }
    return {**row, "count": count, "first_seen": seen, "last_seen": seen, "most": 100, **given}


def exceptions() -> list[Row]:
    return [
        exception(f"{BEFORE}T10:00", "aa", 2),
        exception(f"{YESTERDAY}T20:00", "aa", 3),
        exception(f"{YESTERDAY}T21:00", "bb", 1, type="ValueError"),
    ]


def interaction(number: int, at: str, took_ms: int, **given: Any) -> Row:
    start = us(at)
    root = {"root_service": "shop", "root_operation": "POST /order", "root_event_id": bytes(8)}
    row = {"trace_id": bytes(15) + bytes([number]), "started_at": start, "ended_at": start + 1000 * took_ms}
    return {**row, **root, "root_started_at": start, "events": 3, "errors": 0, "user_id": "ann", **given}


def interactions() -> list[Row]:
    thrown = {"exception_at": us(f"{YESTERDAY}T20:00"), "exception_event_id": bytes(8)}
    thrown |= {"exception_fingerprint": "aa", "exception_type": "KeyError", "exception_message": "no"}
    return [
        interaction(1, f"{YESTERDAY}T20:00:00.250", 1500, errors=1, **thrown),
        interaction(2, f"{YESTERDAY}T21:00", 20),
        interaction(3, f"{YESTERDAY}T22:00", 30, user_id="bob"),
        interaction(4, f"{YESTERDAY}T23:00", 40, user_id=None),
        interaction(5, f"{BEFORE}T23:00", 90_000, errors=1),
    ]


def event(number: int, parent: int | None, service: str, **given: Any) -> Row:
    ids = {"event_id": bytes(7) + bytes([number]), "trace_id": TRACE, "window_id": 1, "position": number}
    parent_id = None if parent is None else bytes(7) + bytes([parent])
    at = us(f"{YESTERDAY}T20:00") + number * 1000
    return an_event(**ids, parent_id=parent_id, service=service, started_at=at, duration_us=2500, **given)


def events() -> list[Row]:
    other = {"trace_id": bytes(16)}
    return [
        event(1, None, "shop", operation="POST /order"),
        event(2, 1, "shop", operation="check"),
        event(3, 2, "pay", operation="POST /pay", status="error"),
        event(4, None, "shop") | other,
        event(5, 4, "pay") | other,
        event(6, 5, "bank") | other,
        event(7, 1, "none") | other,  # whose caller is in another trace
    ]


def log(number: int, at: str, **given: Any) -> Row:
    return a_log(at=us(at), window_id=1, position=number, **given)


def logs() -> list[Row]:
    return [
        log(1, f"{YESTERDAY}T20:00:00.500", trace_id=TRACE),
        log(2, f"{YESTERDAY}T21:00", severity_number=21, service="pay"),
        log(3, f"{YESTERDAY}T22:00", severity_number=9),
        log(4, f"{BEFORE}T22:00"),
    ]


def log_rollups() -> list[Row]:
    rows = [(f"{YESTERDAY}T20:00", "shop", "error", 3), (f"{YESTERDAY}T21:00", "pay", "fatal", 1)]
    rows += [(f"{YESTERDAY}T21:00", "shop", "error", 2), (f"{YESTERDAY}T21:00", "pay", "info", 70)]
    rows += [(f"{BEFORE}T21:00", "pay", "error", 50)]
    names = ("minute", "service", "severity", "count")
    return [dict(zip(names, (us(at), *row), strict=True)) for at, *row in rows]


def fill(engine: Engine) -> None:
    """`acme` and `globex` have all of the above; `paused` and `silent` have nothing."""
    acme, globex, paused, _ = (
        ledger_rows.add_customer(engine, slug) for slug in ("acme", "globex", "paused", "silent")
    )
    with begin(engine) as conn:
        customers.set_state(conn, paused.id, "paused")
    for customer in (acme, globex):
        _results(engine, customer)
    _window(engine, acme, 0, f"{YESTERDAY}T16:00:00", f"{YESTERDAY}T16:00:02")
    _window(engine, acme, 2, f"{YESTERDAY}T16:30:00", f"{YESTERDAY}T16:30:04")
    _window(engine, globex, 0, "2026-11-27T00:00:00", "2026-11-27T00:00:01")
    _quarantined(engine, acme, f"{YESTERDAY}T16:00", f"{YESTERDAY}T17:00", reason="bad_time")
    _quarantined(engine, globex, f"{BEFORE}T16:00", reason="unknown_format")
    minutes = ((acme, 1), (acme, 2), (globex, 1))
    values = [
        {
            "period": us(f"{YESTERDAY}T16:00") // 600_000_000 + part,
            "customer_id": customer.id,
            "windows": 1,
            "batches": 2,
            "events": 10,
            "bytes": 2000,
            "processor_us": 1_500_000 * part,
        }
        for customer, part in minutes
    ]
    with begin(engine) as conn:
        conn.execute(insert(costs), values)


def _results(engine: Engine, customer: Customer) -> None:
    with begin(engine) as conn:
        write_rollups(conn, of_customer(customer.id, rollups_table(rollups())))
        write_split_rollups(conn, of_customer(customer.id, split_rollups_table(split_rollups())))
        write_exceptions(conn, of_customer(customer.id, exceptions_table(exceptions())))
        write_interactions(conn, of_customer(customer.id, interactions_table(interactions())))
        write_logs(conn, of_customer(customer.id, logs_table(logs())))
        write_log_rollups(conn, of_customer(customer.id, log_rollups_table(log_rollups())))
        write_events(conn, of_customer(customer.id, events_table(events())))


def _window(engine: Engine, customer: Customer, first: int, accepted: str, deposited: str) -> None:
    times = {"first_accepted_at": us(accepted), "last_accepted_at": us(accepted), "created_at": us(accepted)}
    offsets = (first, first + 1)
    window_id = ledger_rows.record(
        engine,
        customer,
        ledger_rows.claim(engine, customer, f"for {first}"),
        *offsets,
        window=ledger_rows.new_window(*offsets, **times),
        batches=[ledger_rows.new_batch(offset, accepted_at=us(accepted)) for offset in offsets],
    )
    closing = ledger_rows.deposited(window_id, kept=7, dropped=2, rejected=1)
    ledger_rows.deposit(engine, customer, first // 2, [closing], us(deposited))


def _quarantined(engine: Engine, customer: Customer, *at: str, reason: str) -> None:
    rows = [
        ledger_rows.new_quarantine(number, row=number, reason=reason, created_at=us(one))
        for number, one in enumerate(at)
    ]
    with begin(engine) as conn:
        quarantine.add(conn, customer.id, rows, daily_bytes=ledger_rows.DAILY_BYTES)
