"""Any events, any pipeline: the columns say what the rules say, however the events were divided."""

import json
from typing import Any

import msgspec
import pyarrow as pa
from hypothesis import given, settings, strategies as st

from pipelines import DEFAULT, parse
from tasks.events import EVENTS, WHOLE, EventTable
from tasks.processors import (
    EXCEPTIONS,
    INTERACTIONS,
    ROLLUPS,
    SPLIT_ROLLUPS,
    Processed,
    merge_exceptions,
    merge_interactions,
    merge_rollups,
    merge_split_rollups,
    process,
    process_windows,
)
from tests.unit.process_by_hand import (
    EVENT,
    Event,
    chunked,
    definitions,
    events_table,
    listed,
    process_by_hand,
)

EVENTS_LIST = st.lists(EVENT, max_size=25)
CUTS = st.lists(st.integers(0, 30), max_size=3)
ANY = definitions() | st.just(json.loads(DEFAULT))


def run(events: pa.Table, definition: dict[str, Any]) -> Processed:
    return process(EventTable.of(events), parse(json.dumps(definition)))


@settings(deadline=None, max_examples=200)
@given(EVENTS_LIST, CUTS, ANY)
def test_the_columns_say_what_the_rules_say_event_by_event(
    events: list[Event], cuts: list[int], definition: dict[str, Any]
) -> None:
    processed, expected = run(chunked(events, cuts), definition), process_by_hand(events, definition)

    assert processed.kept == expected.kept
    assert processed.dropped == expected.dropped
    assert {row.pop("trace_id"): row for row in listed(processed.interactions)} == expected.interactions
    key = ("minute", "service", "operation", "status", "bucket")
    rollups = {tuple(row.pop(name) for name in key): row for row in listed(processed.rollups)}
    assert rollups == expected.rollups
    by = ("minute", "environment", "version", "service", "operation", "status", "bucket")
    split = {tuple(row.pop(name) for name in by): row for row in listed(processed.split_rollups)}
    assert split == expected.split_rollups
    of = ("minute", "service", "fingerprint")
    exceptions = {tuple(row.pop(name) for name in of): row for row in listed(processed.exceptions)}
    assert exceptions == expected.exceptions
    assert listed(processed.events.select(EVENTS.names)) == [
        {name: row[name] for name in EVENTS.names} | {"attributes": row["attributes"] or []}
        for row in expected.events
    ]


@settings(deadline=None, max_examples=100)
@given(EVENTS_LIST, CUTS, ANY)
def test_the_books_balance_and_the_schemas_hold(
    events: list[Event], cuts: list[int], definition: dict[str, Any]
) -> None:
    processed = run(chunked(events, cuts), definition)

    assert processed.kept + sum(processed.dropped.values()) == len(events)
    assert sum(processed.interactions["events"].to_pylist()) == processed.kept
    assert sum(processed.rollups["count"].to_pylist()) == processed.kept
    assert processed.interactions.schema == INTERACTIONS
    assert processed.rollups.schema == ROLLUPS
    assert processed.exceptions.schema == EXCEPTIONS
    assert processed.events.schema == WHOLE
    for table in (processed.interactions, processed.rollups, processed.exceptions, processed.events):
        table.validate(full=True)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(EVENT, st.integers(0, 4)), max_size=25), ANY, st.randoms(use_true_random=False))
def test_parts_merge_to_the_whole_in_any_order_and_any_grouping(
    labelled: list[tuple[Event, int]], definition: dict[str, Any], random: Any
) -> None:
    whole = run(events_table([event for event, _ in labelled]), definition)
    parts = [
        run(events_table([e for e, label in labelled if label == part]), definition) for part in range(5)
    ]
    random.shuffle(parts)
    cut = random.randint(0, 5)

    interactions = [part.interactions for part in parts]
    left, right = merge_interactions(interactions[:cut]), merge_interactions(interactions[cut:])
    assert merge_interactions(interactions).equals(whole.interactions)
    assert merge_interactions([right, left]).equals(whole.interactions)

    rollups = [part.rollups for part in parts]
    left, right = merge_rollups(rollups[:cut]), merge_rollups(rollups[cut:])
    assert merge_rollups(rollups).equals(whole.rollups)
    assert merge_rollups([right, left]).equals(whole.rollups)

    split = [part.split_rollups for part in parts]
    left, right = merge_split_rollups(split[:cut]), merge_split_rollups(split[cut:])
    assert merge_split_rollups(split).equals(whole.split_rollups)
    assert merge_split_rollups([right, left]).equals(whole.split_rollups)

    exceptions = [part.exceptions for part in parts]
    left, right = merge_exceptions(exceptions[:cut]), merge_exceptions(exceptions[cut:])
    assert merge_exceptions(exceptions).equals(whole.exceptions)
    assert merge_exceptions([right, left]).equals(whole.exceptions)

    assert sum(part.kept for part in parts) == whole.kept
    assert sorted(map(repr, listed(whole.events))) == sorted(repr(r) for p in parts for r in listed(p.events))


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.lists(EVENT, max_size=8), st.booleans()), min_size=1, max_size=5), CUTS, ANY)
def test_windows_together_leave_what_each_of_them_leaves_alone(
    windows: list[tuple[list[Event], bool]], cuts: list[int], definition: dict[str, Any]
) -> None:
    """Some are slices of one table, as what was decoded together is; the others have tables of their own."""
    whole = EventTable.of(chunked([event for events, _ in windows for event in events], cuts))
    tables, first = [], 0
    for events, sliced in windows:
        own = EventTable.of(events_table(events))
        tables.append(whole.slice(first, len(events)) if sliced else own)
        first += len(events)

    together = process_windows(tables, parse(json.dumps(definition)))

    alone = [run(events_table(events), definition) for events, _ in windows]
    assert together == alone
    for one in together:
        for table, schema in (
            (one.interactions, INTERACTIONS),
            (one.rollups, ROLLUPS),
            (one.split_rollups, SPLIT_ROLLUPS),
            (one.exceptions, EXCEPTIONS),
            (one.events, WHOLE),
        ):
            assert table.schema == schema
            table.validate(full=True)


def test_windows_without_events_leave_empty_tables() -> None:
    nothing = Processed(
        interactions=INTERACTIONS.empty_table(),
        rollups=ROLLUPS.empty_table(),
        split_rollups=SPLIT_ROLLUPS.empty_table(),
        exceptions=EXCEPTIONS.empty_table(),
        events=WHOLE.empty_table(),
        kept=0,
        dropped={"health-checks": 0},
    )
    assert process_windows([EventTable.none()] * 2, parse(DEFAULT)) == [nothing] * 2


@given(definitions())
def test_a_definition_means_the_same_after_it_was_shown_and_set_again(definition: dict[str, Any]) -> None:
    pipeline = parse(json.dumps(definition))
    assert parse(msgspec.json.encode(pipeline).decode()) == pipeline
