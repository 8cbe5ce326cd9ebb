"""What views look at is counted before anybody reads it."""

import time

import pyarrow as pa
import pytest

from tasks.decoders import DecodeLimits, RawBatch, decode_batches
from tasks.decoders.arrow.layouts import looked_at
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


def test_views_of_one_text_cost_nothing() -> None:
    """Reading each of them took 20 s and longer."""
    body = views_of_one_text()
    batch = RawBatch(body=body, format="arrow", content_encoding="", accepted_at_us=1_774_981_729_000_000)
    began_s = time.process_time()
    decoded = decode_batches([batch], DecodeLimits())
    assert decoded.unfit[0].reason == "bad_schema"
    assert time.process_time() - began_s < 5
