"""Attributes that wait say what maps of all events would say, and make maps of the kept ones only."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray

from pipelines import DEFAULT, parse
from tasks.events import EVENTS, EventTable, LateAttributes, MapAttributes, SpanDetails
from tasks.handover import DecodedWindow, peek
from tasks.processors import process, process_windows
from tests.examples import examples
from tests.unit.decode_samples import table
from tests.unit.test_handover import HEADER

MAPS = EVENTS.field("attributes").type
Pairs = list[tuple[str, str]]
TEXT = st.sampled_from(["", "a", "key", "k" * 5, "é", "nul\0", "a\0", "longer than five"])
ROW = st.none() | st.lists(st.tuples(TEXT.filter(bool), TEXT), max_size=4)


@st.composite
def parts(draw: st.DrawFn) -> tuple[LateAttributes, list[Pairs]]:
    """Late attributes, and what they are, of several parts; some sliced, filtered or in another order."""
    late, expected = [], []
    for given_rows in draw(st.lists(st.lists(ROW, max_size=6), max_size=3)):
        array = pa.array(given_rows, MAPS)
        covering: bool = draw(st.booleans())
        if covering and len(array):  # null maps that cover entries
            null = draw(st.lists(st.booleans(), min_size=len(array), max_size=len(array)))
            array = pa.MapArray.from_arrays(array.offsets, array.keys, array.items, mask=pa.array(null))
            given_rows = [None if gone else pairs for pairs, gone in zip(given_rows, null, strict=True)]
        first = draw(st.integers(0, len(array)))
        rows = draw(st.permutations(range(len(array) - first)))
        rows = rows[: draw(st.integers(0, len(rows)))]
        part = LateAttributes((MapAttributes(array.slice(first)),))
        chosen = [pairs or [] for pairs in given_rows[first:]]
        if draw(st.booleans()):
            part, chosen = part.select(np.array(rows, np.int64)), [chosen[row] for row in rows]
        expected += chosen
        cut = draw(st.none() | st.integers(0, len(part)))
        if cut is None:
            late.append(part)
        else:  # two parts that share their sources
            late += [part.select(np.arange(cut)), part.select(np.arange(cut, len(part)))]
    joined = LateAttributes.concat(late)
    mask = np.array([draw(st.booleans()) for _ in expected], np.bool_)
    return joined.filter(mask), [pairs for pairs, kept in zip(expected, mask, strict=True) if kept]


def listed(maps: pa.MapArray) -> list[Pairs]:
    return [pairs or [] for pairs in maps.to_pylist()]


def marked(mask: NDArray[np.bool_] | None, rows: int) -> list[bool]:
    return [False] * rows if mask is None else mask.tolist()


@given(parts(), st.data())
@examples(200)
def test_they_say_what_their_maps_say(made: tuple[LateAttributes, list[Pairs]], data: st.DataObject) -> None:
    late, expected = made
    size = len(expected)

    assert (len(late), listed(late.maps())) == (size, expected)
    assert late.maps().type == MAPS
    assert late.counts().tolist() == list(map(len, expected))
    rows = data.draw(st.lists(st.integers(0, size - 1), max_size=5)) if size else []
    assert listed(late.take(np.array(rows, np.int64))) == [expected[row] for row in rows]
    assert marked(late.oversized(3, 5), size) == [
        any(len(key.encode()) > 3 or len(value.encode()) > 5 for key, value in pairs) for pairs in expected
    ]
    assert marked(late.with_nul(), size) == [
        any("\0" in key + value for key, value in pairs) for pairs in expected
    ]
    among = np.array([data.draw(st.booleans()) for _ in expected], np.bool_)
    owner, values = late.values_of("a", among)
    assert sorted(zip(owner.tolist(), values.to_pylist(), strict=True)) == sorted(
        (row, value)
        for row, pairs in enumerate(expected)
        for key, value in pairs
        if among[row] and key == "a"
    )


@dataclass
class WatchedAttributes:
    """A source, and which of its rows were asked for."""

    source: MapAttributes
    taken: list[int] = field(default_factory=list)
    times: int = 0  # that some were taken
    read: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.source)

    @property
    def nbytes(self) -> int:
        return self.source.nbytes

    def take(self, rows: NDArray[np.int64]) -> pa.MapArray:
        self.taken += rows.tolist()
        self.times += 1
        return self.source.take(rows)

    def values_of(self, key: str, among: NDArray[np.bool_]) -> tuple[NDArray[np.int64], pa.StringArray]:
        found, values = self.source.values_of(key, among)
        self.read += values.to_pylist()
        return found, values

    def counts(self) -> NDArray[np.int64]:
        return self.source.counts()

    def oversized(self, key_bytes: int, value_bytes: int) -> NDArray[np.bool_] | None:
        return self.source.oversized(key_bytes, value_bytes)

    def with_nul(self) -> NDArray[np.bool_] | None:
        return self.source.with_nul()

    def detail_sizes(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.source.detail_sizes(rows)

    def details(self, rows: NDArray[np.int64]) -> Sequence[SpanDetails | None]:
        return self.source.details(rows)

    def exceptions(self, rows: NDArray[np.int64]) -> Sequence[SpanDetails | None]:
        return self.source.exceptions(rows)

    def exceptional(self) -> NDArray[np.bool_] | None:
        return self.source.exceptional()


def watched(events: pa.Table, *, maps: Sequence[Pairs] | None = None) -> tuple[EventTable, WatchedAttributes]:
    whole = EventTable.of(events)
    array = whole.attributes.maps() if maps is None else pa.array(maps, MAPS)
    source = WatchedAttributes(MapAttributes(array))
    return EventTable(whole.columns, LateAttributes((source,))), source


def test_the_default_pipeline_takes_the_maps_of_kept_events_only() -> None:
    events, source = watched(table(400))
    processed = process(events, parse(DEFAULT))
    assert 0 < len(source.taken) == len(processed.events) < 400
    assert source.read == []


def test_windows_of_one_table_are_asked_for_the_maps_of_kept_events_at_once() -> None:
    events, source = watched(table(400))
    windows = [events.slice(first, 100) for first in range(0, 400, 100)]
    together = process_windows(windows, parse(DEFAULT))
    assert source.times == 1
    assert 0 < len(source.taken) == sum(len(one.events) for one in together) < 400


def test_a_condition_on_an_attribute_reads_its_key_where_the_rest_of_the_condition_holds() -> None:
    maps = [[("shard", str(row)), ("other", "x")] for row in range(40)]
    events, source = watched(table(40), maps=maps)
    service = events.columns["service"][0].as_py()
    where = {"service": [service], "attributes": {"shard": {"regex": "[02468]$"}}}
    steps = [{"step": "drop", "rule": "even", "where": where}, {"step": "rollup"}]
    processed = process(events, parse(json.dumps({"steps": steps})))
    of_service = [row for row, name in enumerate(events.columns["service"].to_pylist()) if name == service]
    assert 0 < len(of_service) < 40
    assert source.read == list(map(str, of_service))
    assert source.taken == []
    assert processed.dropped == {"even": sum(row % 2 == 0 for row in of_service)}


def test_a_hand_over_by_message_is_processed_as_one_in_the_process() -> None:
    decoded = DecodedWindow(HEADER, EventTable.of(table(200)))
    header, tables = peek(decoded.packed())
    other = DecodedWindow.of(header, tables)
    assert (header, other.events.table()) == (HEADER, table(200))
    assert process(other.events, parse(DEFAULT)) == process(decoded.events, parse(DEFAULT))


MAPS_OF_FOUR: list[Pairs] = [
    [("env", "prod"), ("note", "a")],
    [("env", "test"), ("password", "a")],
    [("mail", "a"), ("env", "prod")],
    [],
]
REDACTS = {"step": "redact", "keys": "^password$", "values": "^prod$"}
RENAMES = {"step": "rename", "attributes": {"note": "mail", "env": "stage"}}
ENRICHES = {"step": "enrich", "attributes": {"env": "a"}, "where": {"attributes": {"note": ["a"]}}}


@pytest.mark.parametrize(
    ("changes", "key", "value", "rows"),
    [
        ([REDACTS], "password", "[redacted]", [1]),
        ([REDACTS], "password", "a", []),
        ([REDACTS], "env", "[redacted]", [0, 2]),
        ([RENAMES], "mail", "a", [0, 2]),
        ([RENAMES], "note", "a", []),
        ([RENAMES], "stage", "prod", [0, 2]),
        ([ENRICHES], "env", "a", [0]),
        ([ENRICHES], "env", "prod", [2]),
        ([ENRICHES], "note", "a", [0]),
        ([ENRICHES, RENAMES, REDACTS], "stage", "[redacted]", [2]),
        ([RENAMES, ENRICHES], "env", "a", []),
        ([REDACTS, RENAMES], "stage", "[redacted]", [0, 2]),
    ],
)
def test_a_condition_sees_the_changes_before_it_without_any_map(
    changes: list[object], key: str, value: str, rows: list[int]
) -> None:
    events, source = watched(table(4), maps=MAPS_OF_FOUR)
    dropping = {"step": "drop", "rule": "those", "where": {"attributes": {key: [value]}}}
    counted = process(events, parse(json.dumps({"steps": [*changes, dropping, {"step": "rollup"}]})))
    assert (counted.dropped, source.taken) == ({"those": len(rows)}, [])

    everything = {"step": "keep", "percent": 100}
    kept = process(events, parse(json.dumps({"steps": [*changes, dropping, everything]}))).events
    ids = events.columns["event_id"].to_pylist()
    assert kept["event_id"].to_pylist() == [ids[row] for row in range(4) if row not in rows]
