"""Rows of an Arrow stream that can't be read cost themselves, and dictionaries may be as many as batches."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest

from tests.unit import arrow_streams as streams, decode_samples as samples
from tests.unit.decode_samples import decode, ipc, raw, reasons, with_column

ROWS, BAD = 60, 7
BROKEN = streams.broken_rows(ROWS, BAD)


@pytest.mark.parametrize(("body", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_row_that_cannot_be_read_costs_itself_and_is_kept_as_its_sender_typed_it(
    body: bytes, reason: str
) -> None:
    decoded = decode(raw(body, "arrow"))
    assert (decoded.counts, decoded.unfit, reasons(decoded)) == ([ROWS - 1], {}, [reason])
    [reject] = decoded.rejects
    assert reject.row == BAD
    kept, sent = pa.ipc.open_stream(reject.data).schema, pa.ipc.open_stream(body).schema
    assert kept.equals(sent)
    good = samples.table(ROWS)
    assert decoded.events["event_id"].to_pylist() == [
        one for row, one in enumerate(good["event_id"].to_pylist()) if row != BAD
    ]


def test_bad_rows_of_many_record_batches_are_found_at_their_places() -> None:
    parts = [
        with_column(samples.table(20, seed), "operation", streams.texts(pa.string(), 20, seed))
        for seed in range(10)
    ]
    decoded = decode(raw(ipc(pa.concat_tables(parts)), "arrow"))
    assert (decoded.counts, set(reasons(decoded))) == ([190], {"bad_utf8"})
    assert [reject.row for reject in decoded.rejects] == [20 * seed + seed for seed in range(10)]
    left = pa.concat_tables(part.filter(np.arange(20) != seed) for seed, part in enumerate(parts))
    assert decoded.events["trace_id"].to_pylist() == left["trace_id"].to_pylist()


def test_reasons_of_both_kinds_stand_at_their_rows() -> None:
    events = with_column(samples.table(ROWS), "service", streams.texts(pa.string(), ROWS, BAD))
    ids = [None if row == 3 else "ab" * 8 for row in range(ROWS)]
    decoded = decode(raw(ipc(with_column(events, "event_id", pa.array(ids))), "arrow"))
    assert [(one.row, one.reason) for one in decoded.rejects] == [(3, "bad_event_id"), (BAD, "bad_utf8")]


@pytest.mark.parametrize("kind", [pa.string(), pa.string_view()])
def test_a_reject_holds_of_a_dictionary_and_of_views_what_is_its_own(kind: Any) -> None:
    rows = 100
    words = pa.array([f"{row}-" + "x" * 15_000 for row in range(rows)], kind)  # too much for one reject
    events = with_column(samples.table(rows), "service", pa.array(["shop"] * (rows - 1) + [""]))
    coded = pa.DictionaryArray.from_arrays(pa.array(range(rows), pa.int8()), words)
    maps = streams.of_one_each(None, pa.array(["k"] * rows), coded)
    for name, column in (("status_message", words), ("status_message", coded), ("attributes", maps)):
        decoded = decode(raw(ipc(with_column(events, name, column)), "arrow"))
        assert (decoded.counts, decoded.unfit) == ([rows - 1], {})
        assert len(decoded.rejects[0].data) < 20_000


SHAPES = {
    "text": lambda words: words,
    "a struct's field": lambda words: pa.StructArray.from_arrays([words], names=["key"]),
    "a map's keys and values": lambda words: streams.of_one_each(None, words, words),
    "a list's keys and values": lambda words: streams.of_one_each(["key", "value"], words, words),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_each_record_batch_may_have_a_dictionary_that_fills_its_indices(shape: str) -> None:
    column = "service" if shape == "text" else "attributes"
    parts = [
        with_column(samples.table(100, seed), column, SHAPES[shape](streams.categories(f"word-{seed}", 100)))
        for seed in range(3)
    ]
    body = ipc(pa.concat_tables(parts))
    decoded = decode(raw(body, "arrow"))
    assert (decoded.counts, decoded.unfit, decoded.rejects) == ([300], {}, [])
    last = decoded.events[column][299].as_py()
    assert "word-2-99" in (last if isinstance(last, str) else dict(last).values())
    again = decode(*[raw(one.data, "arrow") for one in decode(raw(body, "arrow", accepted_us=0)).rejects])
    assert samples.same(again.events, decoded.events)


def stream(*batches: Any) -> bytes:
    """Record batches as they are, also those without rows."""
    sink = pa.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue())


def empty(schema: Any) -> Any:
    """A record batch without rows, in which offsets of lists and maps have no byte."""
    columns = [
        streams.without_offsets(kind)
        if str(kind).startswith(("map", "list", "large_list"))
        else pa.array([], kind)
        for kind in schema.types
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def test_a_record_batch_without_rows_may_have_no_byte_of_offsets_where_dictionaries_are_widened() -> None:
    parts = []
    for seed in range(3):
        words = streams.categories(f"word-{seed}", 100)
        maps = streams.of_one_each(None, words, words)
        parts += with_column(samples.table(100, seed), "attributes", maps).to_batches()
    body = stream(*parts[:2], empty(parts[0].schema), parts[2])
    assert pa.ipc.open_stream(body).read_all()["attributes"].chunk(2).buffers()[1].size == 0
    decoded = decode(raw(body, "arrow"))
    assert (decoded.counts, decoded.unfit, decoded.rejects) == ([300], {}, [])


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list])
def test_a_list_without_rows_may_have_no_byte_of_offsets_where_rows_are_told_apart(kind: Any) -> None:
    pairs = pa.StructArray.from_arrays(
        [pa.array([], pa.string()), streams.without_offsets(kind(pa.int64()))], names=["key", "value"]
    )
    lists = pa.ListArray.from_arrays(pa.array([0] * (ROWS + 1), pa.int32()), pairs)
    events = with_column(samples.table(ROWS), "operation", streams.texts(pa.string(), ROWS, BAD))
    decoded = decode(raw(ipc(with_column(events, "attributes", lists)), "arrow"))
    assert decoded.unfit[0].detail == f"attributes hold {kind(pa.int64())}"


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list])
def test_a_stream_without_rows_may_have_no_byte_of_offsets(kind: Any) -> None:
    pairs = pa.struct([("key", pa.string()), ("value", pa.string())])
    events = with_column(samples.table(0), "attributes", pa.array([], kind(pairs)))
    decoded = decode(raw(stream(empty(events.schema)), "arrow"))
    assert (decoded.counts, decoded.unfit, decoded.rejects) == ([0], {}, [])


UNUSED = streams.unused_bytes(ROWS, BAD)


@pytest.mark.parametrize(("name", "column"), UNUSED.values(), ids=UNUSED.keys())
def test_bytes_that_no_row_uses_cost_none(name: str, column: Any) -> None:
    events = with_column(samples.table(ROWS), name, column)
    decoded = decode(raw(ipc(events), "arrow"))
    assert (decoded.counts, decoded.unfit, decoded.rejects) == ([ROWS], {}, [])
    assert decoded.events["event_id"].to_pylist() == events["event_id"].to_pylist()
    assert decoded.events[name][BAD].as_py() == ([] if name == "attributes" else "word-0")
    others = [row for row in range(ROWS) if row != BAD]
    for row in others:
        assert f"word-{row}" in str(decoded.events[name][row])
    late = decode(raw(ipc(events), "arrow", accepted_us=0))
    again = decode(*[raw(one.data, "arrow") for one in late.rejects])
    assert (len(late.rejects), again.counts) == (ROWS, [1] * ROWS)


@pytest.mark.parametrize("row", [3, BAD])
@pytest.mark.parametrize(("name", "column"), UNUSED.values(), ids=UNUSED.keys())
def test_a_row_that_cannot_be_read_costs_itself_beside_bytes_that_no_row_uses(
    name: str, column: Any, row: int
) -> None:
    events = with_column(samples.table(ROWS), name, column)
    events = with_column(events, "operation", streams.texts(pa.string(), ROWS, row))
    decoded = decode(raw(ipc(events), "arrow"))
    assert (decoded.counts, decoded.unfit, reasons(decoded)) == ([ROWS - 1], {}, ["bad_utf8"])
    assert decoded.rejects[0].row == row
