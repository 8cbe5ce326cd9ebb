"""A batch with its headers, as it lies in raw.<customer>: an AMQP 1.0 message that any RabbitMQ client reads.

properties: message-id (batch id), content-type, content-encoding, creation-time (ms).
application-properties: customer, agent, format, accepted_at_us (long), digest (binary), discarded (boolean);
one sent with a public key also public_key_id (long), a replay's also first_accepted_at_us (long).
One data section: the batch's bytes as they came.
"""

import re
from dataclasses import dataclass
from typing import TypeGuard

from streams.errors import UnfitMessage
from streams.messages import amqp_write as write
from streams.messages.amqp_read import sections
from streams.messages.known_heads import (
    ACCEPTED,
    AGENT,
    CUSTOMER,
    DIGEST,
    DISCARDED,
    FORMAT,
    KnownHeads,
    public_key,
)

_DIGEST_BYTES = 32
# What the receiver writes, and what the database can hold: a key of its index, text, a 64-bit number.
_BATCH_ID = re.compile(r"[\x21-\x7e]{1,128}")
_TEXT_CHARACTERS = 1024
_YEAR_10000_US = 253_402_300_800_000_000
_FIRST_ACCEPTED = write.string("first_accepted_at_us")
_known = KnownHeads()


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """`accepted_at_us`: µs since the epoch. `digest`: SHA-256 of the body. `content_encoding`: "" for none.

    `format`: arrow, ndjson, json, otlp-protobuf or otlp-json. `discarded`: a batch that a dropping customer's
    agent sent; it has no body and is only counted. `first_accepted_at_us`: of a batch that an operator sent
    again, when the agent's was accepted; `accepted_at_us` is then when it was sent again. `public_key_id`: of
    the public key that it came with.
    """

    batch_id: str
    customer: str
    agent: str
    format: str
    content_type: str
    content_encoding: str
    accepted_at_us: int
    digest: bytes
    body: bytes | memoryview
    discarded: bool = False
    first_accepted_at_us: int | None = None
    public_key_id: int | None = None

    @property
    def came_at_us(self) -> int:
        """When the batch was accepted from its agent, µs; events are judged by it, also in a replay."""
        first = self.first_accepted_at_us
        return self.accepted_at_us if first is None else first


def encode_envelope(envelope: Envelope) -> bytes:
    """Raises ValueError when the digest is not one of SHA-256 or a content header is not ASCII."""
    if len(envelope.digest) != _DIGEST_BYTES:
        raise ValueError(f"digest of {len(envelope.digest)} bytes where SHA-256 has {_DIGEST_BYTES}")
    string = write.string
    first = envelope.first_accepted_at_us
    replayed = b"" if first is None else _FIRST_ACCEPTED + write.long(first)
    key = public_key(envelope.public_key_id)
    pairs = b"".join(
        (
            CUSTOMER,
            string(envelope.customer),
            AGENT,
            string(envelope.agent),
            FORMAT,
            string(envelope.format),
            key,
            ACCEPTED,
            write.long(envelope.accepted_at_us),
            DIGEST,
            write.binary8(envelope.digest),
            DISCARDED,
            write.boolean(envelope.discarded),
            replayed,
        )
    )
    head = write.properties(
        string(envelope.batch_id),
        envelope.content_type,
        envelope.content_encoding,
        envelope.accepted_at_us // 1000,
    )
    count = 6 + bool(key) + bool(replayed)
    properties, body = write.application_properties(pairs, count), envelope.body
    return b"".join((head, properties, write.data_head(len(body)), body))


def decode_envelope(data: bytes | memoryview) -> Envelope:
    """The body is a slice of `data`. Raises UnfitMessage; properties that we don't know are ignored.

    Whoever may publish to the stream can write anything into it: what would stop the ledger is refused here.
    """
    message = memoryview(data)
    known = _known.find(message)
    if known is not None and 0 <= known.accepted_at_us < _YEAR_10000_US:
        return Envelope(
            batch_id=known.batch_id,
            customer=known.customer,
            agent=known.agent,
            format=known.format,
            content_type=known.content_type,
            content_encoding=known.content_encoding,
            accepted_at_us=known.accepted_at_us,
            digest=known.digest,
            body=message[known.body :],
            discarded=known.discarded,
            public_key_id=known.public_key_id,
        )
    envelope = _taken_apart(message)
    _known.remember(
        envelope.customer,
        envelope.agent,
        envelope.format,
        envelope.content_type,
        envelope.content_encoding,
        envelope.public_key_id,
    )
    return envelope


def _taken_apart(message: memoryview) -> Envelope:
    found = sections(message)
    fields, application = found.properties, found.application
    fields.extend([None] * (8 - len(fields)))
    digest = application.get("digest")
    if not isinstance(digest, bytes) or len(digest) != _DIGEST_BYTES:
        raise UnfitMessage("an envelope needs a digest of 32 bytes")
    accepted_at_us = application.get("accepted_at_us")
    if not _is_whole(accepted_at_us):
        raise UnfitMessage("an envelope needs accepted_at_us as a whole number")
    if not 0 <= accepted_at_us < _YEAR_10000_US:
        raise UnfitMessage("an envelope's accepted_at_us is no time between 1970 and 9999")
    batch_id = _text(fields[0], "message-id")
    if _BATCH_ID.fullmatch(batch_id) is None:
        raise UnfitMessage("an envelope's message-id is 1 to 128 visible ASCII characters")
    first = application.get("first_accepted_at_us")
    if first is not None and not (_is_whole(first) and 0 <= first < _YEAR_10000_US):
        raise UnfitMessage("first_accepted_at_us is no time between 1970 and 9999")
    public_key_id = application.get("public_key_id")
    if public_key_id is not None and not (_is_whole(public_key_id) and 0 < public_key_id < 2**63):
        raise UnfitMessage("public_key_id is no id")
    return Envelope(
        batch_id=batch_id,
        customer=_text(application.get("customer"), "customer"),
        agent=_text(application.get("agent", ""), "agent"),
        format=_text(application.get("format"), "format"),
        content_type=_text(fields[6] or "", "content-type"),
        content_encoding=_text(fields[7] or "", "content-encoding"),
        accepted_at_us=accepted_at_us,
        digest=digest,
        body=found.data,
        discarded=application.get("discarded") is True,
        first_accepted_at_us=first,
        public_key_id=public_key_id,
    )


def _is_whole(value: object) -> TypeGuard[int]:
    """A truth value is none, though it is an int of Python: a hand-over cannot hold it as a number."""
    return isinstance(value, int) and not isinstance(value, bool)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise UnfitMessage(f"an envelope needs {name} as text, not {type(value).__name__}")
    if len(value) > _TEXT_CHARACTERS or "\0" in value:
        raise UnfitMessage(f"an envelope's {name} holds NUL, or more than {_TEXT_CHARACTERS} characters")
    return value
