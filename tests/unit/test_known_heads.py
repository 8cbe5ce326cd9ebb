"""A head that is looked up by its bytes means what it means when it is taken apart."""

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from streams import Envelope, decode_envelope, encode_envelope
from streams.errors import UnfitMessage
from streams.messages import envelope as codec
from streams.messages.known_heads import KnownHead, KnownHeads
from tests.examples import examples
from tests.unit.test_envelope import envelope, envelopes


def remembering(known: KnownHeads, envelope: Envelope) -> None:
    known.remember(
        envelope.customer,
        envelope.agent,
        envelope.format,
        envelope.content_type,
        envelope.content_encoding,
        envelope.public_key_id,
    )


def found(known: KnownHeads, envelope: Envelope) -> KnownHead | None:
    return known.find(memoryview(encode_envelope(envelope)))


def taken_apart(message: bytes) -> object:
    try:
        return codec._taken_apart(memoryview(message))
    except UnfitMessage as error:
        return str(error)


def decoded(message: bytes) -> object:
    try:
        return decode_envelope(message)
    except UnfitMessage as error:
        return str(error)


@given(envelopes(), st.data())
@examples(300)
def test_a_known_head_means_what_it_means_taken_apart(envelope: Envelope, data: st.DataObject) -> None:
    message = bytearray(encode_envelope(envelope))
    assert decoded(bytes(message)) == taken_apart(bytes(message))
    head = len(message) - len(envelope.body)
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, head - 1))
        message[at] = data.draw(st.integers(0, 255) | st.sampled_from([0x40, 0x41, 0x42, 0xA1, 0xC1, 0xD1]))
    tail = data.draw(st.binary(max_size=3))
    changed = bytes(message[: data.draw(st.integers(0, len(message)) | st.just(len(message)))]) + tail
    assert decoded(changed) == taken_apart(changed)


@pytest.mark.parametrize("agent", ["probe", "an agent of a very long name " * 8])
def test_every_byte_of_a_known_head_counts(agent: str) -> None:
    message = encode_envelope(envelope(agent=agent))
    assert decoded(message) == taken_apart(message)
    for at in range(len(message) - len(b"body")):
        for byte in {0x00, 0x20, 0x40, 0x41, 0x42, 0xA1, 0xFF, message[at] ^ 1, message[at] ^ 0x20}:
            changed = message[:at] + bytes((byte,)) + message[at + 1 :]
            assert decoded(changed) == taken_apart(changed), (at, byte)


@pytest.mark.parametrize("public_key_id", [None, 7])
@pytest.mark.parametrize("agent", ["", "probe", "an agent of a very long name " * 8])
def test_only_what_was_read_before_is_found(agent: str, public_key_id: int | None) -> None:
    fields = {"agent": agent, "content_encoding": "gzip", "public_key_id": public_key_id}
    known, one = KnownHeads(), envelope(**fields, batch_id="first")
    assert found(known, one) is None
    remembering(known, one)
    other = replace(one, batch_id="second", accepted_at_us=5, digest=bytes(32), body=b"other", discarded=True)
    head = found(known, other)
    assert head == KnownHead(
        batch_id="second",
        customer="acme",
        agent=agent,
        format="arrow",
        content_type="application/json",
        content_encoding="gzip",
        accepted_at_us=5,
        digest=bytes(32),
        discarded=True,
        body=len(encode_envelope(other)) - len(b"other"),
        public_key_id=public_key_id,
    )
    others = ({"agent": "x"}, {"customer": "other"}, {"format": "json"}, {"public_key_id": 8})
    for changes in (*others, {"content_encoding": ""}):
        assert found(known, replace(one, **changes)) is None


def test_a_replay_is_taken_apart() -> None:
    known, one = KnownHeads(), envelope(first_accepted_at_us=7)
    remembering(known, one)
    assert found(known, one) is None
    assert decode_envelope(encode_envelope(one)).first_accepted_at_us == 7


def test_what_is_remembered_is_bounded() -> None:
    known = KnownHeads()
    for number in range(3_000):
        known.remember("acme", f"agent {number}", "arrow", f"type/{number}", "", None)
    assert len(known._sources) <= 1_024
    assert len(known._contents) <= 1_024
    assert found(known, envelope(agent="agent 2999", content_type="type/2999")) is not None
    remembering(known, envelope(agent="a" * 2_000))
    assert all(len(key) <= 1_024 for key in known._sources)
