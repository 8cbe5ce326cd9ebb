"""Exceptions in the database: merged in any order, bounded, forgotten in time."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select

import db.engine
import tasks.stages.decode
import tasks.stages.deposit
import tasks.stages.process
from db import tables
from db.clock import now_us
from db.customers import rows as customers
from db.customers.rows import Customer
from db.engine import begin, read
from db.results import of_customer, prepare, write_exceptions
from db.retention import partitions
from db.retention.pruning import prune
from db.settings import DatabaseSettings
from deploy.local.rabbitmq import RabbitNode
from pipelines import DEFAULT
from streams import Broker, StreamSettings, encode_result, processed
from tasks.celery import app
from tasks.events import MOST_BYTES, EventTable, LateAttributes, MapAttributes, SpanDetails
from tasks.handover import DecodedWindow, pack
from tasks.settings import TaskSettings
from tasks.stages.context import Context
from tasks.stages.deliveries import Delivery
from tests.integration.ledger_rows import NOW_US, add_customer
from tests.integration.result_tables import START_US, WORDS, Row, exceptions_table, when
from tests.integration.test_db_results import pieces
from tests.integration.test_details_stored import posted
from tests.integration.test_whole import event, ndjson
from tests.unit.exceptions_by_hand import details

DAY_US = 86_400_000_000


def counted(fingerprint: str, **given: Any) -> Row:
    row = {
        "minute": START_US,
        "service": "shop",
        "fingerprint": fingerprint,
        "type": "KeyError",
        "message": "no",
        "count": 1,
        "first_seen": START_US,
        "last_seen": START_US,
        "most": 100,
    }
    return row | given


def some_exception(chance: random.Random) -> Row:
    seen = START_US + chance.randrange(9)
    return counted(
        chance.choice("abc"),
        minute=START_US + 60_000_000 * chance.randrange(2),
        service=chance.choice(WORDS[:4]),
        type=chance.choice(WORDS),
        message=chance.choice(WORDS),
        count=chance.randrange(1, 9),
        first_seen=seen,
        last_seen=seen + chance.randrange(9),
    )


def merged(rows: list[Row]) -> dict[tuple[object, ...], tuple[object, ...]]:
    """(minute, service, fingerprint) → (type, message, count, first seen, last seen)."""
    by_key: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        by_key.setdefault((when(row["minute"]), row["service"], row["fingerprint"]), []).append(row)
    result: dict[tuple[object, ...], tuple[object, ...]] = {}
    for key, parts in by_key.items():
        kind, message = min((one["type"].encode(), one["message"].encode()) for one in parts)
        result[key] = (
            *(kind.decode(), message.decode(), sum(one["count"] for one in parts)),
            when(min(one["first_seen"] for one in parts)),
            when(max(one["last_seen"] for one in parts)),
        )
    return result


def stored(engine: Engine, customer: Customer) -> dict[tuple[object, ...], tuple[object, ...]]:
    query = select(*tables.exceptions.c).where(tables.exceptions.c.customer_id == customer.id)
    with read(engine) as conn:
        return {tuple(row)[1:4]: tuple(row)[4:] for row in conn.execute(query)}


def write(engine: Engine, customer: Customer, *rows: Row) -> None:
    with begin(engine) as conn:
        write_exceptions(conn, of_customer(customer.id, exceptions_table(rows)))


@pytest.mark.parametrize("a_transaction", [1, 4])
def test_they_merge_in_any_order_and_any_pieces(engine: Engine, slug: str, a_transaction: int) -> None:
    chance = random.Random(a_transaction)
    rows = [some_exception(chance) for _ in range(120)]
    mine, other = (add_customer(engine, f"{slug}-{letter}") for letter in "ab")
    write(engine, other, *rows[:5])
    cut = pieces(chance, rows)
    for start in range(0, len(cut), a_transaction):
        with begin(engine) as conn:
            for piece in cut[start : start + a_transaction]:
                write_exceptions(conn, of_customer(mine.id, exceptions_table(piece)))
    assert stored(engine, mine) == merged(rows)
    assert stored(engine, other) == merged(rows[:5])


def test_fingerprints_beyond_the_bound_of_a_minute_are_counted_together(engine: Engine, slug: str) -> None:
    mine, other = (add_customer(engine, f"{slug}-{letter}") for letter in "ab")
    later = START_US + 60_000_000
    write(engine, other, *(counted(letter, most=9) for letter in "xyz"))
    crowd = {"service": "other", "type": "", "message": ""}
    write(engine, mine, counted("c", most=2), counted("other", count=3, most=2, **crowd))
    write(
        engine,
        mine,
        *(counted(of, count=count, most=2) for of, count in (("a", 1), ("b", 5), ("c", 1), ("d", 5))),
        *(counted(letter, minute=later, most=2) for letter in "ab"),
    )
    counts = {(key[0], key[2]): values[:3] for key, values in stored(engine, mine).items()}
    assert counts == {
        (when(START_US), "b"): ("KeyError", "no", 5),
        (when(START_US), "c"): ("KeyError", "no", 2),
        (when(START_US), "other"): ("", "", 9),
        (when(later), "a"): ("KeyError", "no", 1),
        (when(later), "b"): ("KeyError", "no", 1),
    }
    assert len(stored(engine, other)) == 3


def test_others_of_many_services_are_counted_together_and_what_is_there_stays(
    engine: Engine, slug: str
) -> None:
    """As workers of the release before left them: of each service its own."""
    customer = add_customer(engine, slug)
    others = [counted("other", service=f"s{each}", type="", message="", most=3) for each in range(5)]
    write(engine, customer, *others)
    # The bound is smaller now, and pairs beyond it have rows.
    write(engine, customer, *(one | {"most": 1} for one in others))
    counts = {key[1:]: values[2] for key, values in stored(engine, customer).items()}
    assert counts == {("s0", "other"): 2, ("s1", "other"): 2, ("s2", "other"): 2, ("other", "other"): 4}


def test_they_are_forgotten_with_the_other_results(engine: Engine, slug: str) -> None:
    now = now_us(engine)
    short, long = add_customer(engine, f"{slug}-a"), add_customer(engine, f"{slug}-b")
    with begin(engine) as conn:
        customers.set_retention(conn, short.id, 10)
        customers.set_retention(conn, long.id, 60)
    minutes = [(now - days * DAY_US) // 60_000_000 * 60_000_000 for days in (0, 20, 20, 200)]
    rows = [counted(of, minute=at, count=2) for of, at in zip("abcd", minutes, strict=True)]
    prepare(engine, [], [], exceptions=[exceptions_table(rows)])
    write(engine, short, *rows)
    write(engine, long, *rows)
    prune(engine, DatabaseSettings(), now, most_rows=1)
    assert (len(stored(engine, short)), len(stored(engine, long))) == (1, 3)
    folded = tables.folded.c
    with read(engine) as conn:
        gone = dict(map(tuple, conn.execute(select(folded.customer_id, folded.pruned_exceptions))))
        if engine.dialect.name == "postgresql":
            before = datetime.fromtimestamp(now / 1e6, UTC).date() - timedelta(days=60)
            there = [one for one in partitions.made(conn) if one.table == "exceptions"]
            assert there
            assert all(one.after > before for one in there)
    assert (gone[short.id], gone[long.id]) == (6, 2)


@pytest.fixture
def context(engine: Engine, rabbitmq: RabbitNode) -> Iterator[Context]:
    broker = Broker(StreamSettings(url=rabbitmq.stream_url, broker_url=rabbitmq.amqp_url))
    yield Context(engine=engine, broker=broker, settings=TaskSettings(), app=app)
    broker.close()


def with_details(events: EventTable, given: SpanDetails | None) -> EventTable:
    return EventTable(
        events.columns, LateAttributes((MapAttributes(events.attributes.maps(), [given] * len(events)),))
    )


def test_they_come_from_spans_to_the_tables_with_secrets_hidden(context: Context, slug: str) -> None:
    """Beside results of a release that knows nothing of them, in one deposit."""
    traces = [f"{number:032x}" for number in range(1, 4)]
    customer, windows = posted(
        context, slug, *(ndjson(event(trace, started_at=NOW_US)) for trace in traces), pipeline=DEFAULT
    )
    stack = "\tat a.B.c(B.java:1)"
    thrown = {
        "time_ns": NOW_US * 1_000 + 7_000,
        "name": "exception",
        "exception.type": "a.Broken",
        "exception.message": "Bearer abcdefgh12345 " + "x" * 2_000,
        "exception.stacktrace": stack,
    }
    given = [details({"exceptions": [thrown]}), details({"exceptions": [thrown]}), None]
    for window_id, one, earlier in zip(windows, given, (False, True, False), strict=True):

        def publish(handed: DecodedWindow, one: SpanDetails | None = one, earlier: bool = earlier) -> bool:
            again = handed._replace(events=with_details(handed.events, one))
            (left,) = tasks.stages.process.results([again], MOST_BYTES)
            tables = dict(left.tables)
            if earlier:
                del tables["exceptions"]
                names = [n for n in tables["interactions"].column_names if not n.startswith("exception_")]
                tables["interactions"] = tables["interactions"].select(names)
            packed = pack(left.header, tables)
            message = encode_result(left.header.window_id, left.header.customer, packed)
            context.broker.publish(processed(left.header.customer), message, deadline_s=20)
            return True

        assert tasks.stages.decode.run(context, window_id, publish, Delivery("first"))
    tasks.stages.deposit.run(context, customer.id, windows[-1], Delivery("first"))

    ((key, values),) = stored(context.engine, customer).items()
    assert key[1] == "shop"
    assert values == ("a.Broken", "[redacted]", 1, when(NOW_US + 7), when(NOW_US + 7))
    of = tables.interactions.c
    names = ("exception_type", "exception_message", "exception_fingerprint", "exception_at")
    with db.engine.read(context.engine) as connection:
        mine = select(*(of[name] for name in names)).where(of.customer_id == customer.id)
        rows = [tuple(row) for row in connection.execute(mine.order_by(of.trace_id))]
    assert rows == [
        ("a.Broken", "[redacted]", key[2], when(NOW_US + 7)),
        (None,) * 4,
        (None,) * 4,
    ]
