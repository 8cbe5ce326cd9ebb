"""Small windows of several customers in one task and one transaction: each as if it were alone."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest
import structlog.testing
from celery import Celery
from kombu import Connection, Queue
from sqlalchemy import Engine, select, update

import db.engine
import tasks.stages.decode
import tasks.stages.deposit
import tasks.stages.process
from db import tables
from db.accounting.books import ledger
from db.customers import pipeline_versions
from db.customers.rows import Customer
from db.ledger import bad_ends, deposits
from db.ledger.breaker import trip
from deploy.local.rabbitmq import RabbitNode
from pipelines import DEFAULT
from streams import Broker, StreamSettings, processed, raw
from tasks.handover import DecodedWindow, ProcessedWindow
from tasks.settings import TaskSettings
from tasks.stages import group
from tasks.stages.context import Context
from tasks.stages.deliveries import Delivery
from tasks.stages.deposit_transaction import book_group
from tests.envelopes import envelope
from tests.integration.ledger_rows import NOW_US, add_customer, claim, new_window, record
from tests.integration.test_whole import event, ndjson
from tests.unit.log_exports import errors

FIRST = Delivery("first")
SMALL = {"max_bytes": 50_000_000, "max_age_s": 3600, "segment_bytes": 5_000_000}
EVENTS = 4


@pytest.fixture
def context(engine: Engine, rabbitmq: RabbitNode) -> Iterator[Context]:
    broker = Broker(StreamSettings(url=rabbitmq.stream_url, broker_url=rabbitmq.amqp_url))
    app = Celery(broker=rabbitmq.amqp_url)
    app.conf.task_serializer = "msgpack"
    yield Context(engine=engine, broker=broker, settings=TaskSettings(), app=app)
    broker.close()
    app.close()


@pytest.fixture
def customers(context: Context, slug: str) -> Iterator[list[Customer]]:
    """Three, each with a batch of its own in its raw stream."""
    added = [add_customer(context.engine, f"{slug}-{letter}") for letter in "abc"]
    for customer in added:
        with db.engine.begin(context.engine) as connection:
            pipeline_versions.put(connection, customer.id, DEFAULT)
        for stream in (raw(customer.slug), processed(customer.slug)):
            context.broker.declare(stream, **SMALL)
    yield added
    for customer in added:
        context.broker.remove_doorbells(f"customer-{customer.slug}")


def posted(
    context: Context, customer: Customer, body: bytes, *, pipeline_version: int = 2, form: str = "ndjson"
) -> int:
    """A window of this batch alone; the customer's first."""
    message = envelope(customer.slug, "batch-0", body, accepted_at_us=NOW_US, form=form)
    context.broker.publish(raw(customer.slug), message, deadline_s=20)
    window = new_window(0, 0, pipeline_version=pipeline_version)
    return record(context.engine, customer, claim(context.engine, customer), 0, 0, window=window)


def good() -> bytes:
    """The same events each time, one of them with an error: it is kept as a row."""
    names = [{"event_id": f"{each:016x}", "started_at": NOW_US - each} for each in range(1, EVENTS + 1)]
    events = [event(f"{each:032x}", **name) for each, name in enumerate(names, 1)]
    events[0]["status"] = "error"
    return ndjson(*events)


GOOD = {  # a body, its format, and the tables in which it leaves rows
    "events": (good(), "ndjson", {"interactions", "rollups", "events"}),
    "logs": (errors(EVENTS), "otlp-logs-protobuf", {"interactions", "logs", "log_rollups"}),
}


def rung(context: Context, customer: Customer) -> list[str]:
    """The tasks whose messages wait in the customer's queue; they are taken out of it."""
    names = []
    with Connection(context.app.conf.broker_url) as connection:
        queue = Queue(f"customer-{customer.slug}").bind(connection.channel())
        queue.queue_declare()
        while (message := queue.get(no_ack=True)) is not None:
            names.append(str(message.headers["task"]))
    return names


def stored(engine: Engine, customer: Customer) -> dict[str, list[str]]:
    """The customer's rows of results, without what names the customer and the window."""
    found = {}
    with db.engine.read(engine) as connection:
        for table in (tables.interactions, tables.rollups, tables.events, tables.logs, tables.log_rollups):
            columns = [one for one in table.columns if one.name not in ("customer_id", "window_id")]
            mine = connection.execute(select(*columns).where(table.c.customer_id == customer.id))
            found[table.name] = sorted(map(repr, mine))
    return found


def state(engine: Engine, window_id: int) -> tuple[str, int | None]:
    of = tables.windows.c
    with db.engine.read(engine) as connection:
        row = connection.execute(select(of.state, of.decoded).where(of.id == window_id)).one()
    return row.state, row.decoded


@pytest.mark.parametrize("kind", GOOD)
def test_a_group_leaves_what_the_chains_of_its_windows_leave(
    context: Context, customers: list[Customer], kind: str
) -> None:
    (*together, alone), (body, form, rows_in) = customers, GOOD[kind]
    windows = [posted(context, customer, body, form=form) for customer in customers]
    group.run(context, windows[:2], FIRST)
    publish = partial(tasks.stages.process.publish, context)
    assert tasks.stages.decode.run(context, windows[2], publish, FIRST)
    tasks.stages.deposit.run(context, alone.id, windows[2], FIRST)

    assert [state(context.engine, each) for each in windows] == [("deposited", EVENTS)] * 3
    expected = stored(context.engine, alone)
    assert {table for table, rows in expected.items() if rows} == rows_in
    assert [stored(context.engine, customer) for customer in together] == [expected] * 2
    assert not any(rung(context, customer) for customer in customers)
    with db.engine.read(context.engine) as connection:
        for customer in customers:
            found = ledger(connection, customer.id)
            assert not found.differences()
            assert found.decoded == EVENTS
        query = select(tables.costs.c.customer_id, tables.costs.c.events, tables.costs.c.windows)
        costs = {row.customer_id: (row.events, row.windows) for row in connection.execute(query)}
    assert {costs[customer.id] for customer in customers} == {(EVENTS, 1)}


@pytest.mark.parametrize("kind", GOOD)
def test_a_group_that_comes_twice_is_deposited_once(
    context: Context, customers: list[Customer], kind: str
) -> None:
    body, form, _ = GOOD[kind]
    windows = [posted(context, customer, body, form=form) for customer in customers]
    group.run(context, windows, FIRST)
    once = [stored(context.engine, customer) for customer in customers]
    for again in (FIRST, Delivery("first", redelivered=True), Delivery("first", died_of="worker_died: 9")):
        group.run(context, windows, again)
    assert [stored(context.engine, customer) for customer in customers] == once
    assert not any(rung(context, customer) for customer in customers)


def test_a_group_that_was_delivered_before_is_rung_window_by_window(
    context: Context, customers: list[Customer]
) -> None:
    windows = [posted(context, customer, good()) for customer in customers]
    group.run(context, windows, Delivery("first", died_of="worker_died: signal 9 (SIGKILL)"))
    assert [state(context.engine, each) for each in windows] == [("dispatched", None)] * 3
    assert [rung(context, customer) for customer in customers] == [["decode_process"]] * 3


def test_what_is_not_plain_leaves_the_group_and_the_others_go_on(
    context: Context, customers: list[Customer]
) -> None:
    rejecting, missing, plain = customers
    windows = [posted(context, rejecting, ndjson(event("1" * 32, started_at=NOW_US)) + b'{"trace_id": 1}\n')]
    windows += [posted(context, customer, good()) for customer in (missing, plain)]
    context.broker.delete(raw(missing.slug))

    with structlog.testing.capture_logs() as logged:
        group.run(context, windows, FIRST)

    left = {said["window"]: said["at"] for said in logged if said["event"] == "left_group"}
    assert left == {windows[0]: "process", windows[1]: "decode"}
    assert state(context.engine, windows[2]) == ("deposited", EVENTS)
    assert rung(context, rejecting) == ["deposit"], "its results are in its processed stream"
    assert rung(context, missing) == ["decode_process"]
    tasks.stages.deposit.run(context, rejecting.id, windows[0], FIRST)
    assert state(context.engine, windows[0]) == ("deposited", 2)


def test_each_window_is_processed_by_the_pipeline_that_is_pinned_in_it(
    context: Context, customers: list[Customer]
) -> None:
    other, *same = customers
    with db.engine.begin(context.engine) as connection:
        version = pipeline_versions.put(connection, other.id, '{"steps": [{"step": "rollup"}]}')
    windows = [posted(context, other, good(), pipeline_version=version)]
    windows += [posted(context, customer, good()) for customer in same]

    group.run(context, windows, FIRST)

    assert [state(context.engine, each) for each in windows] == [("deposited", EVENTS)] * 3
    left = [stored(context.engine, customer) for customer in customers]
    assert [bool(rows["interactions"]) for rows in left] == [False, True, True]
    assert all(rows["rollups"] for rows in left)


def test_windows_that_cannot_be_processed_together_are_processed_one_after_the_other(
    context: Context, customers: list[Customer], monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = [posted(context, customer, good()) for customer in customers]

    def scanty(decoded: list[DecodedWindow], most_bytes: int) -> list[ProcessedWindow]:
        if len(decoded) > 1:
            raise MemoryError
        return tasks.stages.process.results(decoded, most_bytes)

    monkeypatch.setattr(group, "results", scanty)
    group.run(context, windows, FIRST)
    assert [state(context.engine, each) for each in windows] == [("deposited", EVENTS)] * 3


def test_a_window_with_bad_ends_leaves_the_group(context: Context, customers: list[Customer]) -> None:
    windows = [posted(context, customer, good()) for customer in customers]
    with db.engine.begin(context.engine) as connection:
        bad_ends.count(connection, windows[0], died_of="worker_died: signal 9 (SIGKILL)")
    group.run(context, windows, FIRST)
    assert rung(context, customers[0]) == ["decode_process"]
    assert [state(context.engine, each)[0] for each in windows[1:]] == ["deposited"] * 2


def test_halted_customers_have_nothing_deposited_or_rung(context: Context, customers: list[Customer]) -> None:
    windows = [posted(context, customer, good()) for customer in customers]
    halted, deleting, plain = customers
    with db.engine.begin(context.engine) as connection:
        trip(connection, halted.id, "bad_json", NOW_US)
        mine = update(tables.customers).where(tables.customers.c.id == deleting.id)
        connection.execute(mine.values(state="deleting"))
    group.run(context, windows, FIRST)
    assert [state(context.engine, each)[0] for each in windows] == ["dispatched", "dispatched", "deposited"]
    assert not any(rung(context, customer) for customer in customers)
    with db.engine.begin(context.engine) as connection:
        assert deposits.lock(connection, [each.id for each in customers]) == {plain.id}


def test_nobody_waits_for_a_customer_whose_deposit_is_under_way(
    context: Context, customers: list[Customer]
) -> None:
    if context.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time, and no lock of a row")
    windows = [posted(context, customer, good()) for customer in customers]
    busy = customers[1]
    with db.engine.begin(context.engine) as other:
        deposits.advance(other, busy.id, 0, 0)
        group.run(context, windows, FIRST)
    assert [state(context.engine, each)[0] for each in windows] == ["deposited", "dispatched", "deposited"]
    assert rung(context, busy) == ["deposit"], "its results are in its processed stream"


def test_what_replaced_a_window_meanwhile_is_not_deposited_from_its_results(
    context: Context, customers: list[Customer], monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = [posted(context, customer, good()) for customer in customers]
    book = book_group

    def renewed(of: Context, results: list[ProcessedWindow]) -> set[int]:
        with db.engine.begin(of.engine) as connection:
            mine = update(tables.windows).where(tables.windows.c.id == windows[0])
            connection.execute(mine.values(token=7))
        return book(of, results)

    monkeypatch.setattr(group, "book_group", renewed)
    group.run(context, windows, FIRST)
    assert [state(context.engine, each)[0] for each in windows] == ["dispatched", "deposited", "deposited"]
    assert not stored(context.engine, customers[0])["interactions"]


def test_results_beyond_a_hand_over_leave_the_group(context: Context, customers: list[Customer]) -> None:
    small = Context(
        engine=context.engine,
        broker=context.broker,
        app=context.app,
        settings=TaskSettings(handover_bytes=1_500),
    )
    windows = [posted(small, customer, good()) for customer in customers]
    group.run(small, windows, FIRST)
    done = [state(small.engine, each)[0] for each in windows].count("deposited")
    assert 0 < done < 3
    assert sum(len(rung(small, customer)) for customer in customers) == 3 - done


def test_events_beyond_what_a_window_may_take_leave_the_group(
    context: Context, customers: list[Customer]
) -> None:
    windows = [posted(context, customer, good()) for customer in customers]
    one = group._decoded(context, group._due(context, windows[:1]), {})[windows[0]].events.nbytes
    context = replace(context, settings=TaskSettings(decoded_bytes=2 * one + one // 2))

    group.run(context, windows, FIRST)

    done = [state(context.engine, each)[0] for each in windows]
    assert done == ["deposited", "deposited", "dispatched"]
    assert [rung(context, customer) for customer in customers] == [[], [], ["decode_process"]]
