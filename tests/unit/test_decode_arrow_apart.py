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
