"""The envelope's codec against rstream's own, both ways, and against nonsense."""

import hashlib
import struct
from typing import Any

import pytest
from hypothesis import given, strategies as st
from rstream._pyamqp.message import Header, Properties  # type: ignore[attr-defined] # has no types
from rstream.amqp import AMQPMessage, amqp_decoder

from streams import Envelope, Result, decode_envelope, decode_result, encode_envelope, encode_result
from streams.errors import UnfitMessage
from tests.examples import examples

VISIBLE = st.characters(min_codepoint=33, max_codepoint=126)
TOKEN = st.text(VISIBLE, max_size=300)
TEXT = st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=300)


@st.composite
def envelopes(draw: st.DrawFn) -> Envelope:
    body = draw(st.binary(max_size=600))
    return Envelope(
        batch_id=draw(st.text(VISIBLE, min_size=1, max_size=64)),
        customer=draw(TEXT),
        agent=draw(TEXT),
        format=draw(TEXT),
        content_type=draw(TOKEN),
        content_encoding=draw(TOKEN),
        accepted_at_us=draw(st.integers(0, 253_402_300_799_999_999)),
        digest=hashlib.sha256(body).digest(),
        body=body,
        discarded=draw(st.booleans()),
        first_accepted_at_us=draw(st.none() | st.integers(0, 2**47)),
        public_key_id=draw(st.none() | st.integers(1, 2**63 - 1)),
    )


def envelope(**changes: object) -> Envelope:
    fields: dict[str, object] = {
        "batch_id": "b-1",
        "customer": "acme",
        "agent": "agent-7",
        "format": "arrow",
        "content_type": "application/json",
        "content_encoding": "",
        "accepted_at_us": 1_700_000_000_123_456,
        "digest": hashlib.sha256(b"body").digest(),
        "body": b"body",
    }
    return Envelope(**(fields | changes))  # type: ignore[arg-type] # the fields' types are the dataclass's


def rstream_message(envelope: Envelope, more: dict[str, object] | None = None, **sections: Any) -> bytes:
    """The same envelope, written by rstream's codec."""
    application = {
        "customer": envelope.customer,
        "agent": envelope.agent,
        "format": envelope.format,
        "accepted_at_us": envelope.accepted_at_us,
        "digest": envelope.digest,
        "discarded": envelope.discarded,
    } | (more or {})
    if envelope.public_key_id is not None:
        application["public_key_id"] = envelope.public_key_id
    if envelope.first_accepted_at_us is not None:
        application["first_accepted_at_us"] = envelope.first_accepted_at_us
    properties = Properties(
        message_id=envelope.batch_id,
        content_type=envelope.content_type,
        content_encoding=envelope.content_encoding or None,
        creation_time=envelope.accepted_at_us // 1000,
    )
    return bytes(
        AMQPMessage(body=envelope.body, properties=properties, application_properties=application, **sections)
    )


@given(envelopes())
@examples(200)
def test_what_is_encoded_is_decoded(envelope: Envelope) -> None:
    encoded = encode_envelope(envelope)
    assert decode_envelope(encoded) == envelope
    assert decode_envelope(memoryview(bytearray(encoded))) == envelope


@given(envelopes())
@examples(100)
def test_rstreams_codec_reads_what_ours_writes(envelope: Envelope) -> None:
    message = amqp_decoder(encode_envelope(envelope))
    assert message.body == envelope.body
    assert message.properties.message_id == envelope.batch_id.encode()
    assert message.properties.content_type == (envelope.content_type.encode() or None)
    assert message.properties.content_encoding == (envelope.content_encoding.encode() or None)
    assert message.properties.creation_time == envelope.accepted_at_us // 1000
    first, key = envelope.first_accepted_at_us, envelope.public_key_id
    assert message.application_properties == {
        b"customer": envelope.customer.encode(),
        b"agent": envelope.agent.encode(),
        b"format": envelope.format.encode(),
        b"accepted_at_us": envelope.accepted_at_us,
        b"digest": envelope.digest,
        b"discarded": envelope.discarded,
    } | ({} if first is None else {b"first_accepted_at_us": first}) | (
        {} if key is None else {b"public_key_id": key}
    )


@given(envelopes().filter(lambda e: e.body and e.content_type))
@examples(100)
def test_ours_reads_what_rstreams_codec_writes(envelope: Envelope) -> None:
    assert decode_envelope(rstream_message(envelope)) == envelope


def test_sections_and_properties_that_we_do_not_know_are_skipped() -> None:
    known = envelope()
    annotations = {"x-stream-offset": 7, "deep": {"a": [1, 2.5, None, {"b": b"c"}]}}
    foreign = rstream_message(
        known,
        {"newer": "unknown", "count": 7, "ratio": 0.5, "nothing": None},
        header=Header(durable=True, priority=4, ttl=1000, delivery_count=2),
        message_annotations=annotations,
        footer={"sum": 1},
    )
    assert decode_envelope(foreign) == known


def test_the_body_is_a_slice_of_the_message_and_not_a_copy() -> None:
    encoded = encode_envelope(envelope())
    body = decode_envelope(encoded).body
    assert isinstance(body, memoryview)
    assert body.obj is encoded


def test_several_data_sections_are_one_body() -> None:
    encoded = (
        encode_envelope(envelope())
        + b"\x00\x53\x75\xa0\x05, and"
        + b"\x00\x53\x75\xb0"
        + struct.pack(">I", 5)
        + b" more"
    )
    assert decode_envelope(encoded).body == b"body, and more"


@pytest.mark.parametrize("missing", [b"customer", b"format", b"digest", b"accepted_at_us"])
def test_an_envelope_without_what_it_needs_is_unfit(missing: bytes) -> None:
    encoded = encode_envelope(envelope())
    with pytest.raises(UnfitMessage, match=missing.decode()):
        decode_envelope(encoded.replace(missing, missing[:-1] + b"?"))


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_id": ""},
        {"batch_id": "with a space"},
        {"batch_id": "nul\0"},
        {"batch_id": "x" * 129},
        {"batch_id": "é"},
        {"customer": "nul\0"},
        {"agent": "x" * 1025},
        {"format": "nul\0"},
        {"content_type": "x" * 1025},
        {"accepted_at_us": -1},
        {"accepted_at_us": 2**62},
        {"public_key_id": 0},
        {"public_key_id": -1},
    ],
)
def test_what_the_ledger_could_not_hold_is_unfit(changes: dict[str, object]) -> None:
    with pytest.raises(UnfitMessage):
        decode_envelope(encode_envelope(envelope(**changes)))


@pytest.mark.parametrize("name", ["accepted_at_us", "first_accepted_at_us", "public_key_id"])
def test_a_truth_value_in_place_of_a_number_is_unfit(name: str) -> None:
    with pytest.raises(UnfitMessage, match=name):
        decode_envelope(rstream_message(envelope(), {name: True}))


def test_an_unsigned_time_beyond_64_bits_is_unfit() -> None:
    encoded = encode_envelope(envelope())
    long = b"\x81" + struct.pack(">q", envelope().accepted_at_us)
    with pytest.raises(UnfitMessage):
        decode_envelope(encoded.replace(long, b"\x80" + b"\xff" * 8))


def test_a_message_of_another_kind_is_unfit() -> None:
    with pytest.raises(UnfitMessage, match="data section"):
        decode_envelope(b"")
    with pytest.raises(UnfitMessage):
        decode_envelope(b"plain text")
    with pytest.raises(UnfitMessage):
        decode_envelope(encode_result(7, "acme", b""))
    with pytest.raises(UnfitMessage):
        decode_envelope(b"\x00\x53\x77\xa1\x02ab")


def test_an_envelope_cut_short_anywhere_is_unfit() -> None:
    encoded = encode_envelope(envelope())
    for length in range(len(encoded)):
        with pytest.raises(UnfitMessage):
            decode_envelope(encoded[:length])


@given(st.binary(max_size=200))
@examples(500)
def test_no_bytes_raise_anything_but_unfit(data: bytes) -> None:
    for candidate in (data, b"\x00\x53\x73" + data, b"\x00\x53\x74" + data, b"\x00\x53\x75" + data):
        try:
            decode_envelope(candidate)
        except UnfitMessage:
            continue


EDITS = st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=5)), min_size=1, max_size=4)


@given(EDITS, st.integers(0, 400))
@examples(500)
def test_a_damaged_envelope_or_result_raises_nothing_but_unfit(
    edits: list[tuple[int, bytes]], length: int
) -> None:
    for whole, decode in (
        (encode_envelope(envelope()), decode_envelope),
        (encode_result(7, "acme", b"data" * 9), decode_result),
    ):
        damaged = bytearray(whole)
        for position, value in edits:
            start = position % len(damaged)
            damaged[start : start + len(value)] = value
        for candidate in (damaged, damaged[:length]):
            try:
                found = decode(memoryview(candidate))
            except UnfitMessage:
                continue
            assert len(found[2] if isinstance(found, Result) else found.body) <= len(candidate)


def test_deep_nesting_is_unfit_and_not_a_stack_overflow() -> None:
    nested = b"\x45"
    for _ in range(2000):
        nested = b"\xd0" + struct.pack(">II", len(nested) + 4, 1) + nested
    with pytest.raises(UnfitMessage):
        decode_envelope(b"\x00\x53\x73" + nested)
    with pytest.raises(UnfitMessage):
        decode_envelope(b"\x00\x53\x73" + b"\x00" * 3000)


def test_a_digest_of_another_length_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        encode_envelope(envelope(digest=b"short"))


@given(st.integers(0, 2**63 - 1), TEXT, st.binary(max_size=1000))
@examples(100)
def test_a_result_is_decoded_as_it_was_encoded(window_id: int, customer: str, data: bytes) -> None:
    encoded = encode_result(window_id, customer, data)
    assert decode_result(encoded) == Result(window_id, customer, memoryview(data))
    message = amqp_decoder(encoded)
    assert message.body == data
    assert message.properties.message_id == window_id


def test_an_envelope_is_no_result() -> None:
    with pytest.raises(UnfitMessage):
        decode_result(encode_envelope(envelope()))
