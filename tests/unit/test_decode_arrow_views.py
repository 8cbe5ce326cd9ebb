"""What views look at is counted before anybody reads it."""

import time

import pyarrow as pa
import pytest

from tasks.decoders import DecodeLimits, RawBatch, decode_batches
from tasks.decoders.arrow.layouts import Unfitting, looked_at
from tests.unit.test_decode_bombs import views_of_one_text

TEXT = "longer than what a view holds in itself"
VIEWS = pa.array([TEXT, None, TEXT, "short"], pa.string_view())
BYTES = 2 * len(TEXT) + len("short")


@pytest.mark.parametrize(
    ("values", "size"),
    [
        (VIEWS, BYTES),
        (VIEWS[2:], BYTES - len(TEXT)),
        (VIEWS[:0], 0),
        (pa.DictionaryArray.from_arrays(pa.array([0, 0]), VIEWS), BYTES),
        (pa.StructArray.from_arrays([VIEWS, VIEWS], ["a", "b"]), 2 * BYTES),
        (pa.ListArray.from_arrays([0, 4], VIEWS), BYTES),
        (pa.array([TEXT]), 0),
    ],
    ids=["texts", "some", "none", "dictionary", "struct", "list", "no views"],
)
def test_all_that_views_look_at_is_counted(values: pa.Array, size: int) -> None:
    assert looked_at(values) == size


@pytest.mark.parametrize(
    "values",
    [
        pa.FixedSizeListArray.from_arrays(VIEWS, 2),
        pa.ListViewArray.from_arrays([0], [4], VIEWS),
        pa.LargeListViewArray.from_arrays([0], [4], VIEWS),
        pa.RunEndEncodedArray.from_arrays(pa.array([1, 2, 3, 4], pa.int32()), VIEWS),
        pa.UnionArray.from_sparse(pa.array([0, 0, 0, 0], pa.int8()), [VIEWS]),
        pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [VIEWS]),
    ],
    ids=lambda values: str(values.type.id),
)
def test_arrays_of_what_no_column_has_are_refused_before_they_are_read(values: pa.Array) -> None:
    with pytest.raises(Unfitting):
        looked_at(values)
    with pytest.raises(Unfitting):
        looked_at(pa.StructArray.from_arrays([values], ["inside"]))


def test_views_of_one_text_cost_nothing() -> None:
    """Reading each of them took 20 s and longer."""
    body = views_of_one_text()
    batch = RawBatch(body=body, format="arrow", content_encoding="", accepted_at_us=1_774_981_729_000_000)
    began_s = time.process_time()
    decoded = decode_batches([batch], DecodeLimits())
    assert decoded.unfit[0].reason == "bad_schema"
    assert time.process_time() - began_s < 5
