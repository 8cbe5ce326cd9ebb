"""Details in Arrow streams are bounded in values and bytes, and what rows share is read once."""

from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pytest

from tasks.errors import WindowTooLarge
from tests.unit import decode_samples as samples
from tests.unit.decode_samples import decode, raw
from tests.unit.test_sent_details import arrow, details

WORDS = pa.dictionary(pa.int32(), pa.string())


def numbers(count: int, first: int = 0) -> dict[str, Any]:
    return {"resource": {"attributes": {f"a{number}": number for number in range(first, first + count)}}}


def test_a_document_counts_its_values_once_however_many_rows_it_is_in() -> None:
    same = [numbers(100)] * 20
    assert len(decode(raw(arrow(WORDS, *same), "arrow"), values=500).good) == 20
    for kind in (WORDS, pa.string()):
        different = arrow(kind, *(numbers(100, first) for first in range(20)))
        decoded = decode(raw(different, "arrow"), values=500)
        assert [one.reason for one in decoded.unfit.values()] == ["too_many_values"]
        assert len(decode(raw(different, "arrow"), values=5_000).good) == 20


def test_rows_that_share_a_document_share_what_is_made_of_it() -> None:
    same, other = {"scope": {"name": "a"}}, {"scope": {"name": "b"}}
    decoded = decode(raw(arrow(WORDS, same, same, other), "arrow"))
    first, second, third = (one.scope for one in details(decoded) if one is not None)
    assert first is second
    assert first != third


def test_the_bytes_of_details_are_taken_of_the_windows_allowance() -> None:
    large = [numbers(300)] * 50
    alone = arrow(WORDS, *large)  # some kilobytes, which are 50 times as many in rows
    together = samples.ipc(pyarrow.ipc.open_stream(arrow(pa.string(), *large)).read_all(), "zstd")
    for body in (alone, together):
        assert len(body) < 50_000
        assert decode(raw(body, "arrow"), window_bytes=300_000).unfit == {}
        window = [raw(body, "arrow")] * 2
        assert decode(*window, window_bytes=600_000).unfit == {}
        with pytest.raises(WindowTooLarge):
            decode(*window, window_bytes=300_000)
