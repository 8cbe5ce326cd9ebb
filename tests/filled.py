"""A customer with something in every table and both streams, and all of that as one value to compare."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select

import db.customers.notes
import db.customers.routes
import db.customers.rows
import db.ledger.costs
from db.clock import now_us, today
from db.customers import pipeline_versions, public_key_use, public_keys, quota_use
from db.customers.public_key_use import KeyUse
from db.customers.public_keys import KeyRules
from db.customers.rows import Customer
from db.engine import begin, read
from db.ledger.costs import CustomerCost
from db.quarantine import acts, rows as quarantine
from db.quarantine.acts import Note
from db.results import (
    of_customer,
    prepare,
    write_events,
    write_exceptions,
    write_interactions,
    write_log_rollups,
    write_logs,
    write_rollups,
    write_split_rollups,
)
from db.tables import customers, generations, metadata
from streams import encode_result, processed, raw
from tests.envelopes import envelope
from tests.integration import ledger_rows
from tests.integration.ledger_rows import DAILY_BYTES, NOW_US
from tests.integration.result_tables import (
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
from tests.receiver import Home

OF_NO_CUSTOMER = {"workers"}
"""Tables without rows of customers; `customers` itself is looked at by id."""
DEADLINE_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Filled:
    """`secret` is in everything that the customer's agents said, and nowhere else."""

    customer: Customer
    key: str
    secret: str
    batch_id: str
    quarantine_ids: tuple[int, ...]


def fill(home: Home, slug: str, secret: str) -> Filled:
    """Offsets 0 to 3: a window of a deposited batch, a repeat and a reused id; the last one waits."""
    key, batch_id = home.add(slug), f"batch-{hashlib.sha256(slug.encode()).hexdigest()[:12]}"
    bodies = [secret, secret, f"{secret} again", f"{secret} waits"]
    ids = [batch_id, batch_id, batch_id, f"{slug}-waits"]
    lying = [
        envelope(slug, one, body.encode(), accepted_at_us=NOW_US)
        for one, body in zip(ids, bodies, strict=True)
    ]
    home.broker.publish_all(raw(slug), lying, deadline_s=DEADLINE_S)
    home.broker.publish_all(processed(slug), [encode_result(1, slug, secret.encode())], deadline_s=DEADLINE_S)
    with read(home.engine) as conn:
        customer = db.customers.rows.get(conn, slug)
    assert customer is not None
    reused = ledger_rows.new_quarantine(2, batch_id=batch_id, bytes=secret.encode(), detail=secret)
    window_id = ledger_rows.record(
        home.engine,
        customer,
        ledger_rows.claim(home.engine, customer),
        0,
        2,
        window=ledger_rows.new_window(0, 2, skipped=[1, 2], batches=1),
        batches=[
            ledger_rows.new_batch(0, batch_id=batch_id, digest=hashlib.sha256(secret.encode()).digest())
        ],
        duplicates=1,
        reused=[reused],
    )
    rejected = ledger_rows.new_quarantine(
        0, row=1, window_id=window_id, reason="bad_time", bytes=secret.encode()
    )
    with begin(home.engine) as conn:
        quarantine.add(conn, customer.id, [rejected], daily_bytes=DAILY_BYTES)
        rows = [row.id for row in quarantine.listing(conn, customer.id)]
        acts.note(conn, customer.id, rows, Note(act="export", who=secret, why="", noted_at=NOW_US))
        conn.execute(
            insert(generations).values(
                customer_id=customer.id,
                generation=1,
                kind="cut",
                from_offset=3,
                cursor_before=3,
                expired=0,
                began_at=NOW_US,
            )
        )
        for queue in (f"{customer.slug}-left", None):
            db.customers.routes.route(conn, customer, "decode", queue)
        db.ledger.costs.add(conn, {customer.id: CustomerCost(windows=1, batches=1, events=2)}, now_us(conn))
        db.customers.notes.add(conn, customer, "resume", who=secret, why=secret)
        quota_use.write(conn, "probe", today(conn), {customer.id: 1})
        public_keys.issue(conn, customer.id, KeyRules(apps=("app",)))
        [public_key] = public_keys.live(conn, customer.id)
        public_key_use.write(conn, "probe", today(conn), {public_key.id: KeyUse(1, 1, 1)})
        drop = {"step": "drop", "rule": secret, "where": {"service": ["x"]}}
        steps = {"steps": [drop, {"step": "compose"}, {"step": "rollup"}]}
        pipeline_versions.put(conn, customer.id, json.dumps(steps))
    _results(home, customer, window_id, secret)
    ledger_rows.deposit(home.engine, customer, 0, [ledger_rows.deposited(window_id, kept=1, rejected=1)])
    return Filled(customer=customer, key=key, secret=secret, batch_id=batch_id, quarantine_ids=tuple(rows))


def everything(home: Home, customer: Customer, *, with_streams: bool = True) -> dict[str, Any]:
    """All rows of the customer by table, and all messages of its streams."""
    found: dict[str, Any] = {}
    with read(home.engine) as conn:
        for table in metadata.sorted_tables:
            if table.name in OF_NO_CUSTOMER:
                continue
            owner = table.c.id if table is customers else table.c.customer_id
            rows = conn.execute(select(*table.c).where(owner == customer.id)).all()
            found[table.name] = sorted(map(repr, rows))
    for stream in (raw(customer.slug), processed(customer.slug)) if with_streams else ():
        last = home.broker.last_offset(stream, deadline_s=DEADLINE_S)
        assert last is not None
        messages = home.broker.read(stream, 0, last, deadline_s=DEADLINE_S)
        found[stream] = [(one.offset, bytes(one.data)) for one in messages]
    return found


def _results(home: Home, customer: Customer, window_id: int, secret: str) -> None:
    one = {"trace_id": secret.encode()[:16], "events": 1, "errors": 0, "user_id": secret}
    times = {"started_at": NOW_US, "ended_at": NOW_US}
    rollup = {
        "minute": NOW_US // 60_000_000 * 60_000_000,
        "service": secret,
        "operation": "x",
        "status": "ok",
    }
    numbers = {"bucket": 0, "count": 1, "duration_sum": 1, "duration_min": 1, "duration_max": 1}
    rollups = rollups_table([rollup | numbers])
    example = {"fingerprint": "f", "type": secret, "message": secret, "count": 1, "most": 1}
    seen = {"minute": rollup["minute"], "service": secret, "first_seen": NOW_US, "last_seen": NOW_US}
    exceptions = exceptions_table([example | seen])
    by = {"environment": secret, "version": secret, "most": 1}
    split_rollups = split_rollups_table([rollup | numbers | by])
    events = events_table([an_event(window_id=window_id, position=0, service=secret, started_at=NOW_US)])
    logs = logs_table([a_log(window_id=window_id, position=0, service=secret, at=NOW_US)])
    of_logs = {"minute": rollup["minute"], "service": secret, "severity": "error", "count": 1}
    log_rollups = log_rollups_table([of_logs])
    prepare(
        home.engine,
        [events],
        [rollups],
        exceptions=[exceptions],
        split_rollups=[split_rollups],
        logs=[logs],
        log_rollups=[log_rollups],
    )
    with begin(home.engine) as conn:
        write_interactions(conn, of_customer(customer.id, interactions_table([one | times])))
        write_rollups(conn, of_customer(customer.id, rollups))
        write_exceptions(conn, of_customer(customer.id, exceptions))
        write_split_rollups(conn, of_customer(customer.id, split_rollups))
        write_logs(conn, of_customer(customer.id, logs))
        write_log_rollups(conn, of_customer(customer.id, log_rollups))
        write_events(conn, of_customer(customer.id, events))
