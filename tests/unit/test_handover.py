"""What travels between the stages comes out as it went in; of other bytes nothing comes out but a refusal."""

import struct
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, strategies as st

from tasks.handover import Header, RejectRow, UnfitRow, pack, peek, unpack
from tests.examples import examples
from tests.unit import decode_samples as samples

HEADER = Header(
    window_id=7,
    customer_id=3,
    customer="acme",
    token=2**62,
    batches=2,
    pipeline="{}",
    decoded=41,
    dropped={"rule": 1},
    rejects=[
        RejectRow(
            offset=1,
            batch_id="b",
            accepted_at_us=5,
            row=0,
            reason="bad_time",
            detail="nul \0",
            data=b"\0",
            format="otlp-json",
        )
    ],
    unfit=[UnfitRow(offset=2, reason="malformed", detail="é")],
)
EVENTS = samples.table(40)
PACKED = pack(HEADER, {"events": EVENTS})
HEAD = PACKED[: PACKED.index(b"events") + 8]
MAX_UINT64 = b"\xcf" + b"\xff" * 8


def test_what_is_packed_is_unpacked() -> None:
    header, tables = unpack(PACKED)
    assert header == HEADER
    assert tables["events"].equals(EVENTS)


def test_a_reject_of_a_release_that_did_not_name_its_format_is_a_line_of_json() -> None:
    packed: Any = msgspec.msgpack.decode(PACKED)
    del packed[0]["rejects"][0]["format"]
    header, _ = peek(msgspec.msgpack.encode(packed))
    assert header.rejects[0].format == "ndjson"


@given(st.binary(max_size=200))
@example(b"\x91" * 5_000)
@example(PACKED.replace(b"acme", b"\xff\xfe\xfd\xfc"))
@examples(300)
def test_any_bytes_are_refused_as_what_they_are(data: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        peek(data)


@given(
    st.lists(
        st.tuples(st.integers(0, len(HEAD) - 1), st.binary(min_size=1, max_size=6)), min_size=1, max_size=4
    ),
    st.integers(0, len(PACKED)),
)
@examples(300)
def test_a_damaged_hand_over_is_a_header_within_its_bounds_or_refused(
    edits: list[tuple[int, bytes]], length: int
) -> None:
    damaged = bytearray(PACKED)
    for position, value in edits:
        damaged[position : position + len(value)] = value
    for candidate in (bytes(damaged), bytes(damaged[:length])):
        with suppress(msgspec.MsgspecError):
            header, tables = peek(candidate)
            assert 0 <= header.window_id < 2**63
            assert sum(map(len, tables.values())) <= len(candidate)


def test_numbers_that_the_ledger_could_not_hold_are_refused() -> None:
    token = b"\xcf" + struct.pack(">Q", HEADER.token)
    assert peek(PACKED)[0].token == HEADER.token
    with pytest.raises(msgspec.ValidationError):
        peek(PACKED.replace(token, MAX_UINT64))
