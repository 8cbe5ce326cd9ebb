"""Results merge to the same rows in whatever order and pieces they come, on both databases."""

import json
import random

import pytest
from sqlalchemy import Engine, select

import db.bulk
from db import tables
from db.engine import begin, read
from db.results import of_customer, write_events, write_interactions, write_rollups
from tests.integration.ledger_rows import add_customer
from tests.integration.result_tables import (
    START_US,
    WORDS,
    Row,
    an_event,
    events_table,
    interactions_table,
    merged_interactions,
    merged_rollups,
    rollups_table,
    some_interaction,
    some_rollup,
    when,
)


def pieces(chance: random.Random, rows: list[Row], *, key: str | None = None) -> list[list[Row]]:
    """The rows in another order and cut anywhere; with `key`, a piece has each value of it once."""
    rows = chance.sample(rows, len(rows))
    cut: list[list[Row]] = [[]]
    for row in rows:
        if chance.random() < 0.1 or (key and row[key] in {one[key] for one in cut[-1]}):
            cut.append([])
        cut[-1].append(row)
    return cut


def stored_interactions(engine: Engine, customer_id: int) -> dict[bytes, tuple[object, ...]]:
    query = select(*tables.interactions.c).where(tables.interactions.c.customer_id == customer_id)
    with read(engine) as conn:
        return {row.trace_id: tuple(row)[2:] for row in conn.execute(query)}


def stored_rollups(engine: Engine, customer_id: int) -> dict[tuple[object, ...], tuple[object, ...]]:
    query = select(*tables.rollups.c).where(tables.rollups.c.customer_id == customer_id)
    with read(engine) as conn:
        return {tuple(row)[1:5]: tuple(row)[5:] for row in conn.execute(query)}


@pytest.mark.parametrize("seed", range(3))
def test_interactions_merge_in_any_order_and_any_pieces(engine: Engine, slug: str, seed: int) -> None:
    chance = random.Random(seed)
    rows = [some_interaction(chance, traces=8) for _ in range(200)]
    customers = [add_customer(engine, f"{slug}-{letter}") for letter in "ab"]
    for customer in customers:
        with begin(engine) as conn:  # several pieces in one transaction must not meet each other's rows
            for piece in pieces(chance, rows, key="trace_id"):
                write_interactions(conn, of_customer(customer.id, interactions_table(piece)))
        assert stored_interactions(engine, customer.id) == merged_interactions(rows)


@pytest.mark.parametrize("seed", range(3))
def test_rollups_merge_in_any_order_and_any_pieces(engine: Engine, slug: str, seed: int) -> None:
    chance = random.Random(seed)
    rows = [some_rollup(chance) for _ in range(300)]
    customers = [add_customer(engine, f"{slug}-{letter}") for letter in "ab"]
    for customer, a_transaction in zip(customers, (1, 4), strict=True):
        cut = pieces(chance, rows)
        for start in range(0, len(cut), a_transaction):
            with begin(engine) as conn:
                for piece in cut[start : start + a_transaction]:
                    write_rollups(conn, of_customer(customer.id, rollups_table(piece)))
        assert stored_rollups(engine, customer.id) == merged_rollups(rows)


def test_a_sum_of_durations_stops_at_the_largest_integer(engine: Engine, slug: str) -> None:
    customer, chance = add_customer(engine, slug), random.Random(0)
    row = some_rollup(chance) | {"count": 1000, "duration_sum": 2**62 + 2**61}
    other_bucket = row | {"bucket": 9}
    for _ in range(2):
        with begin(engine) as conn:
            write_rollups(conn, of_customer(customer.id, rollups_table([row, other_bucket])))
    ((values),) = stored_rollups(engine, customer.id).values()
    assert values[:2] == (4000, 2**63 - 1)


def test_nul_characters_become_replacement_characters(engine: Engine, slug: str) -> None:
    customer, chance = add_customer(engine, slug), random.Random(0)
    rollup = some_rollup(chance) | {"service": "a\0b"}
    trace = some_interaction(chance, traces=1) | {"user_id": "u\0"}
    event = an_event(window_id=1, position=0, attributes=[("k\0", "v\0")], status_message="m\0")
    with begin(engine) as conn:
        write_rollups(conn, of_customer(customer.id, rollups_table([rollup])))
        write_interactions(conn, of_customer(customer.id, interactions_table([trace])))
        write_events(conn, of_customer(customer.id, events_table([event])))
        stored = conn.execute(select(tables.events.c.attributes, tables.events.c.status_message)).one()
    assert {key[1] for key in stored_rollups(engine, customer.id)} == {"a\ufffdb"}
    assert {values[4] for values in stored_interactions(engine, customer.id).values()} == {"u\ufffd"}
    assert tuple(stored) == ({"k\ufffd": "v\ufffd"}, "m\ufffd")


JSON_COLUMNS = ("resource", "scope", "span", "span_events", "links")


def details(number: int) -> Row:
    """As columns hold them: JSON as text."""
    said = json.dumps({"name": WORDS[number], "double": [1e300, -0.0, "NaN"], "empty": {}})
    return {"trace_state": "a=1", "flags": 2**32 - 1, **dict.fromkeys(JSON_COLUMNS, f"[{said}]")}


@pytest.mark.parametrize("most_as_arrays", [0, db.bulk.MOST_AS_ARRAYS])
def test_events_come_back_as_they_were(
    engine: Engine, slug: str, most_as_arrays: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db.bulk, "MOST_AS_ARRAYS", most_as_arrays)
    customer = add_customer(engine, slug)
    rows = [
        an_event(
            event_id=bytes([number] * 8),
            parent_id=bytes(8) if number % 2 else None,
            started_at=START_US + number,
            kind=word if number % 3 else None,
            status_message=word,
            attributes=[(word, other) for other in WORDS[:1]] + [("control", "\x01\t\x1f"), ("null", None)],
            window_id=number // 4,
            position=number % 4,
            **(details(number) if number % 3 == 1 else {}),
        )
        for number, word in enumerate(WORDS)
    ]
    padded = events_table([rows[0], *rows])
    with begin(engine) as conn:
        write_events(
            conn, of_customer(customer.id, padded.slice(1))
        )  # a slice's buffers begin before its rows
    with read(engine) as conn:
        stored = conn.execute(select(*tables.events.c).order_by(tables.events.c.started_at)).mappings().all()
    assert len(stored) == len(rows)
    for row, found in zip(rows, stored, strict=True):
        expected = row | {"started_at": when(row["started_at"]), "attributes": dict(row["attributes"])}
        expected |= {name: json.loads(row[name]) for name in JSON_COLUMNS if row[name] is not None}
        assert dict(found) == expected | {"customer_id": customer.id}
        assert repr(found["links"]) == repr(expected["links"]), "numbers stay as they were written"


def test_columns_of_details_that_a_table_lacks_or_no_event_has_are_null(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    lacking = events_table([an_event(window_id=1, position=0)]).drop_columns(["links", "flags"])
    with begin(engine) as conn:
        write_events(conn, of_customer(customer.id, lacking))
        nothing = (tables.events.c[name].is_(None) for name in ("trace_state", "flags", *JSON_COLUMNS))
        assert conn.execute(select(tables.events.c.position).where(*nothing)).all() == [(0,)]


def test_empty_tables_write_nothing(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    with begin(engine) as conn:
        write_interactions(conn, of_customer(customer.id, interactions_table([])))
        write_rollups(conn, of_customer(customer.id, rollups_table([])))
        write_events(conn, of_customer(customer.id, events_table([])))
    assert stored_interactions(engine, customer.id) == {}


def test_one_customers_rows_do_not_merge_with_anothers(engine: Engine, slug: str) -> None:
    chance = random.Random(0)
    row, rollup = some_interaction(chance, traces=1), some_rollup(chance)
    for letter in "ab":
        customer = add_customer(engine, f"{slug}-{letter}")
        with begin(engine) as conn:
            write_interactions(conn, of_customer(customer.id, interactions_table([row])))
            write_rollups(conn, of_customer(customer.id, rollups_table([rollup])))
        assert stored_interactions(engine, customer.id) == merged_interactions([row])
        assert stored_rollups(engine, customer.id) == merged_rollups([rollup])
