"""Details of many events: a bound on the bytes of their columns, and few of them as objects at once."""

from dataclasses import dataclass

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.errors import WindowTooLarge
from tasks.events import (
    AnyValue,
    EventTable,
    KeyValue,
    LateAttributes,
    MapAttributes,
    SpanDetails,
    detail_columns,
    detail_runs,
    details_of,
)
from tasks.events.details import SpanResource, SpanRest
from tasks.handover import DecodedWindow, unpack
from tasks.settings import TaskSettings
from tasks.stages.decode import packed
from tasks.stages.process import process
from tests.unit.decode_samples import table
from tests.unit.test_handover import HEADER

Integers = NDArray[np.int64]
EVERYTHING = '{"steps": [{"step": "redact"}, {"step": "keep", "percent": 100}]}'
SETTINGS = TaskSettings(decoded_bytes=300_000)


def resource(text: str) -> SpanResource:
    return SpanResource(attributes=[KeyValue("said", AnyValue(string_value=text))])


@dataclass
class Counted:
    """Makes details when asked, as decoders do, and counts how many were made."""

    number: int
    size: int = 1_000
    exceptional: bool = False
    made: int = 0

    def details(self) -> SpanDetails:
        self.made += 1
        return SpanDetails(resource=resource(str(self.number)), span=SpanRest(nameless=True))


def window(details: list[SpanDetails]) -> DecodedWindow:
    plain = EventTable.of(table(len(details)))
    source = MapAttributes(plain.attributes.maps(), details)
    events = EventTable(plain.columns, LateAttributes((source,)))
    return DecodedWindow(msgspec.structs.replace(HEADER, pipeline=EVERYTHING), events)


def test_what_events_share_counts_for_each_of_them() -> None:
    shared = [SpanDetails(resource=resource("x" * 1_000))] * 100
    size = len(msgspec.json.encode(shared[0].resource)) * 100
    assert details_of(detail_columns(shared, size)) == shared
    with pytest.raises(WindowTooLarge):
        detail_columns(shared, size - 1)


def test_details_that_swell_as_json_are_too_large_for_each_hand_over() -> None:
    bells = resource("\x07" * 700)  # which JSON writes as six characters each
    fits, swollen = (window([SpanDetails(resource=bells)] * events) for events in (60, 80))
    process(fits, SETTINGS)
    packed(fits, SETTINGS)
    for hand_over in (process, packed):
        with pytest.raises(WindowTooLarge):
            hand_over(swollen, SETTINGS)


def test_tables_are_bounded_unpacked_and_packed() -> None:
    same = window([SpanDetails(resource=resource("x" * 100_000))] * 2)
    assert len(process(same, SETTINGS)) < 20_000
    json_bytes = 2 * len(msgspec.json.encode(resource("x" * 100_000)))
    with pytest.raises(WindowTooLarge):
        process(same, SETTINGS.model_copy(update={"decoded_bytes": json_bytes}))
    with pytest.raises(WindowTooLarge):
        process(same, SETTINGS.model_copy(update={"handover_bytes": 1_000}))


def test_runs_are_made_one_after_the_other_and_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detail_runs, "RUN_BYTES", 3_000)
    makers = [Counted(number) for number in range(10)]
    sizes = np.array([one.size for one in makers])
    runs: list[list[int]] = []

    def make(rows: Integers) -> list[SpanDetails]:
        assert sum(one.made for one in makers) == sum(map(len, runs))
        runs.append(rows.tolist())
        return [makers[row].details() for row in rows.tolist()]

    columns = detail_runs.in_runs(sizes, make, 2_000)
    assert runs == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert details_of(columns) == [one.details() for one in makers]
    with pytest.raises(WindowTooLarge):
        detail_runs.in_runs(sizes, lambda rows: [makers[row].details() for row in rows], 800)


def test_kept_events_of_many_runs_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    details = [SpanDetails(resource=resource(f"Bearer abcdefgh{number}")) for number in range(50)]
    whole = process(window(details), SETTINGS)
    monkeypatch.setattr(detail_runs, "RUN_BYTES", 5 * detail_runs.LEAST_BYTES)
    again = process(window(details), SETTINGS)
    one, many = unpack(whole).tables["events"], unpack(again).tables["events"]
    assert many["resource"].num_chunks == 10
    assert many == one
