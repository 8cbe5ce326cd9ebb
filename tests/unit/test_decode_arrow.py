"""Arrow streams as other libraries write them: other types of the same columns, and what is unfit."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.unit import decode_samples as samples
from tests.unit.decode_samples import START_US, decode, ipc, raw, reasons, with_column

EVENTS = samples.table(60)
IDS = ("event_id", "trace_id", "parent_id")
TEXTS = ("service", "operation", "kind", "status", "status_message")
MAPS = pa.map_(pa.string(), pa.string())


def hexadecimal(column: Any) -> pa.Array:
    return pa.array([None if one is None else one.hex() for one in column.to_pylist()])


def structs(column: Any) -> pa.Array:
    return pa.array([dict(one) for one in column.to_pylist()])


def documents(column: Any) -> pa.Array:
    return pa.array([json.dumps(dict(one)) for one in column.to_pylist()])


def pairs(column: Any) -> pa.Array:
    return pa.array([[{"key": key, "value": value} for key, value in one] for one in column.to_pylist()])


def of_dictionaries(column: Any) -> pa.Array:
    flat = column.combine_chunks()
    return pa.MapArray.from_arrays(
        flat.offsets, flat.keys.dictionary_encode(), flat.items.dictionary_encode()
    )


def slices(column: Any) -> pa.ChunkedArray:
    return pa.chunked_array([column.combine_chunks()[:7], column.combine_chunks()[7:]])


@pytest.mark.parametrize(
    ("names", "cast"),
    [
        (IDS, lambda column: column.cast(pa.binary())),
        (IDS, lambda column: column.cast(pa.large_binary())),
        (IDS, lambda column: column.cast(pa.binary()).cast(pa.binary_view())),
        (IDS, lambda column: column.cast(pa.binary()).dictionary_encode()),
        (IDS, lambda column: column.dictionary_encode()),
        (IDS, hexadecimal),
        (IDS, lambda column: hexadecimal(column).dictionary_encode()),
        (TEXTS, lambda column: column.cast(pa.large_string())),
        (TEXTS, lambda column: column.cast(pa.string_view())),
        (TEXTS, lambda column: column.cast(pa.large_string()).dictionary_encode()),
        (TEXTS, lambda column: column.dictionary_encode()),
        (TEXTS, lambda column: column.cast(pa.binary())),
        (("started_at",), lambda column: column.cast(pa.timestamp("us"))),
        (("started_at",), lambda column: column.cast(pa.timestamp("ns", "Asia/Tokyo"))),
        (("started_at",), lambda column: column.cast(pa.int64())),
        (("started_at",), lambda column: column.dictionary_encode()),
        (("duration_us",), lambda column: column.cast(pa.int32())),
        (("duration_us",), lambda column: column.cast(pa.uint64())),
        (("duration_us",), lambda column: column.cast(pa.duration("us")).cast(pa.duration("ns"))),
        (("attributes",), structs),
        (("attributes",), documents),
        (("attributes",), pairs),
        (("attributes",), of_dictionaries),
        (tuple(EVENTS.schema.names), slices),
    ],
)
def test_columns_of_other_types_hold_the_same_events(
    names: tuple[str, ...], cast: Callable[[Any], Any]
) -> None:
    events = EVENTS
    for name in names:
        events = with_column(events, name, cast(EVENTS[name]))
    decoded = decode(raw(ipc(events), "arrow"))
    assert (decoded.counts, decoded.rejects, decoded.unfit) == ([60], [], {})
    assert samples.same(decoded.events, EVENTS)


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_buffers_inside_the_stream_may_be_compressed(compression: str) -> None:
    assert samples.same(decode(raw(ipc(EVENTS, compression), "arrow")).events, EVENTS)


def test_several_record_batches_and_delta_dictionaries_are_one_table() -> None:
    first = with_column(EVENTS, "service", pa.DictionaryArray.from_arrays([0, 1] * 30, ["a", "b"]))
    then = with_column(EVENTS, "service", pa.DictionaryArray.from_arrays([0, 2] * 30, ["a", "b", "c"]))
    both = pa.table(
        [pa.chunked_array([left.chunk(0), right.chunk(0)]) for left, right in zip(first, then, strict=True)],
        names=EVENTS.schema.names,
    )
    decoded = decode(raw(ipc(both, deltas=True), "arrow"))
    assert decoded.events["service"].to_pylist() == ["a", "b"] * 30 + ["a", "c"] * 30


def test_missing_optional_columns_are_null_and_unknown_columns_are_not_looked_at() -> None:
    needed = EVENTS.select(["operation", "service", "duration_us", "started_at", "trace_id", "event_id"])
    needed = needed.append_column("mine", pa.array([{"a": [1]}] * 60))
    decoded = decode(raw(ipc(needed), "arrow"))
    assert decoded.counts == [60]
    assert set(decoded.events["status"].to_pylist()) == {"ok"}
    assert decoded.events["user_id"].null_count == 60
    assert set(map(tuple, decoded.events["attributes"].to_pylist())) == {()}


@pytest.mark.parametrize(
    "name", ["event_id", "trace_id", "started_at", "duration_us", "service", "operation"]
)
def test_a_needed_column_that_is_missing_is_a_bad_schema(name: str) -> None:
    decoded = decode(raw(ipc(EVENTS.drop_columns([name])), "arrow"))
    assert (decoded.unfit[0].reason, name in decoded.unfit[0].detail) == ("bad_schema", True)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("event_id", pa.array(range(60))),
        ("started_at", pa.array([1.5] * 60)),
        ("duration_us", pa.array(["1"] * 60)),
        ("service", pa.array([1] * 60)),
        ("attributes", pa.array([1] * 60)),
        ("attributes", pa.array([{"a": {"b": "c"}}] * 60)),
    ],
)
def test_a_type_that_cannot_be_cast_is_a_bad_schema(name: str, values: Any) -> None:
    assert decode(raw(ipc(with_column(EVENTS, name, values)), "arrow")).unfit[0].reason == "bad_schema"


def test_two_columns_of_one_name_are_a_bad_schema() -> None:
    twice = EVENTS.append_column("service", EVENTS["operation"])
    assert decode(raw(ipc(twice), "arrow")).unfit[0].reason == "bad_schema"


def test_bytes_after_the_end_are_not_lost_in_silence() -> None:
    assert decode(raw(ipc(EVENTS) * 2, "arrow")).unfit[0].reason == "malformed"


def test_a_wrong_id_rejects_its_event_and_keeps_what_was_sent() -> None:
    ids = [*hexadecimal(EVENTS["trace_id"]).to_pylist()[:-2], "short", None]
    decoded = decode(raw(ipc(with_column(EVENTS, "trace_id", pa.array(ids))), "arrow"))
    assert (decoded.counts, reasons(decoded)) == ([58], ["bad_trace_id", "bad_trace_id"])
    assert [reject.row for reject in decoded.rejects] == [58, 59]
    assert pa.ipc.open_stream(decoded.rejects[0].data).read_all()["trace_id"].to_pylist() == ["short"]


def test_attributes_that_are_no_json_object_reject_their_event() -> None:
    sent = pa.array(['{"a":1}'] * 58 + ["[1]", "{"])
    decoded = decode(raw(ipc(with_column(EVENTS, "attributes", sent)), "arrow"))
    assert (decoded.counts, reasons(decoded)) == ([58], ["bad_attributes"] * 2)


def test_null_attributes_and_null_values_are_left_out() -> None:
    sent = pa.array([None, [("a", None), ("b", "c")], *([[]] * 58)], MAPS)
    decoded = decode(raw(ipc(with_column(EVENTS, "attributes", sent)), "arrow"))
    assert decoded.events["attributes"].to_pylist()[:2] == [[], [("b", "c")]]


@pytest.mark.parametrize("unit", ["s", "ms"])
def test_a_time_beyond_microseconds_does_not_wrap_into_the_present(unit: str) -> None:
    per_unit = {"s": 1_000_000, "ms": 1_000}[unit]
    wrapping = 2**64 // per_unit + START_US // per_unit
    times = pa.array([wrapping, -wrapping, *([START_US // per_unit] * 58)]).cast(pa.timestamp(unit))
    decoded = decode(raw(ipc(with_column(EVENTS, "started_at", times)), "arrow"))
    assert (decoded.counts, reasons(decoded)) == ([58], ["bad_time", "bad_time"])


def test_a_duration_beyond_int64_is_rejected() -> None:
    durations = pa.array(np.array([2**63 + 5, *range(59)], np.uint64))
    decoded = decode(raw(ipc(with_column(EVENTS, "duration_us", durations)), "arrow"))
    assert (decoded.counts, reasons(decoded)) == ([59], ["bad_duration"])


def test_an_empty_stream_is_no_event_and_no_reject() -> None:
    decoded = decode(raw(ipc(EVENTS[:0]), "arrow"))
    assert (decoded.counts, decoded.unfit) == ([0], {})
