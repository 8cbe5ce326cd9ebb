"""Bytes made to hurt: the decoders answer, in bounded memory, and the process lives.

Everything is decoded in a process of its own: a crash inside pyarrow can't be caught, only seen from outside.
"""

import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, strategies as st

from tests.examples import examples
from tests.unit import decode_samples as samples
from tests.unit.decode_apart import Crashed, Decoder
from tests.unit.decode_samples import FORMATS

MIB = 1024 * 1024
MOST_GROWN = 900 * MIB  # of a process that decodes one batch of LIMIT bytes, however it was made


@pytest.fixture(scope="module")
def apart() -> Iterator[Decoder]:
    decoder = Decoder()
    yield decoder
    decoder.close()


def answered(answer: dict[str, Any]) -> str:
    """The reason of an unfit batch, "" for one that is not; anything else is a failure."""
    assert answer["error"] is None, answer["error"]
    assert answer["grown_bytes"] < MOST_GROWN
    return answer["unfit"] or ""


WORDS = (b"\xff" * 8, b"\0" * 8, b"\xff" * 7 + b"\x7f", struct.pack("<q", 2**40), struct.pack("<q", 2**31))
PLACE = st.floats(0, 1, exclude_max=True)
EDIT = st.one_of(
    st.tuples(st.just("flip"), PLACE, st.integers(0, 7)),
    st.tuples(st.just("byte"), PLACE, st.integers(0, 255)),
    st.tuples(st.just("word"), PLACE, st.sampled_from(WORDS)),
    st.tuples(st.just("half"), PLACE, st.integers(0, 2**32 - 1)),
    st.tuples(st.just("copy"), PLACE, PLACE),
    st.tuples(st.just("cut"), PLACE, st.just(0)),
)


def edited(body: bytes, edits: list[tuple[str, float, Any]], within: int) -> bytes:
    """`body` after `edits` of its first `within` bytes, where the metadata is, or all of it."""
    made = bytearray(body)
    for kind, where, value in edits:
        place = int(where * min(len(made), within))
        if kind == "flip":
            made[place] ^= 1 << value
        elif kind == "byte":
            made[place] = value
        elif kind == "word":
            made[place // 8 * 8 : place // 8 * 8 + 8] = value
        elif kind == "half":
            made[place // 4 * 4 : place // 4 * 4 + 4] = struct.pack("<I", value)
        elif kind == "copy":
            source = int(value * len(made))
            made[place : place + 16] = made[source : source + 16]
        else:
            del made[max(1, place) :]
    return bytes(made)


STREAMS = samples.streams()


@examples(300)
@given(
    stream=st.sampled_from(sorted(STREAMS)),
    edits=st.lists(EDIT, min_size=1, max_size=8),
    within=st.sampled_from([200, 3_000, 10**9]),
)
def test_an_arrow_stream_that_was_tampered_with_never_takes_the_process_down(
    apart: Decoder, stream: str, edits: list[tuple[str, float, Any]], within: int
) -> None:
    answered(apart(edited(STREAMS[stream], edits, within), "arrow", twice=True))


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "arrow"])
@examples(100)
@given(edits=st.lists(EDIT, min_size=1, max_size=5))
def test_a_body_that_was_tampered_with_is_events_rejects_or_unfit(
    apart: Decoder, form: str, edits: list[tuple[str, float, Any]]
) -> None:
    body = samples.written(samples.table(3), form)
    answer = apart(edited(body, edits, len(body)), form, twice=True)
    if not answered(answer):
        assert answer["events"] + answer["rejects"] <= 5


@pytest.mark.parametrize("form", FORMATS)
@examples(100)
@given(body=st.binary(max_size=300))
def test_any_bytes_are_events_rejects_or_unfit(apart: Decoder, form: str, body: bytes) -> None:
    answered(apart(body, form, twice=True))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
NAMES = st.sampled_from([*samples.one(), "kind", "user_id", "other"])


@pytest.mark.parametrize("form", ["ndjson", "json"])
@examples(60)
@given(changes=st.dictionaries(NAMES, JSON, max_size=3))
def test_any_value_in_any_field_is_an_event_or_a_reject(
    apart: Decoder, form: str, changes: dict[str, Any]
) -> None:
    event = samples.one() | changes
    body = json.dumps(event if form == "ndjson" else [event]).encode()
    answer = apart(body, form, twice=True)
    assert answered(answer) == ""
    assert answer["events"] + answer["rejects"] == 1


def test_the_tests_would_see_a_crash() -> None:
    decoder = Decoder()
    with pytest.raises(Crashed, match="exit code"):
        decoder(b"", "crash")
    assert decoder(b"", "ndjson")["events"] == 0
    decoder.close()
