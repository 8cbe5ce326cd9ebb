"""What tells a message of a stream from another one at the same offset.

Offsets are used again when a stream is replaced, or loses its end with the power of its node, so an offset
alone says nothing about which batch is there.
"""

import hashlib

from streams.errors import UnfitMessage
from streams.messages.envelope import Envelope, decode_envelope

FINGERPRINT_BYTES = 8


def fingerprint_of(batch_id: str, digest: bytes, accepted_at_us: int) -> bytes:
    """The first 8 bytes of the SHA-256 over a batch's id, body's digest (32 bytes) and acceptance (µs).

    An agent's retry of the same batch is accepted at another microsecond, and so is another message.
    """
    said = b"%b %b %d" % (batch_id.encode(), digest, accepted_at_us)
    return hashlib.sha256(said).digest()[:FINGERPRINT_BYTES]


def fingerprint_of_unfit(message: bytes | memoryview) -> bytes:
    """The same for a message that is no envelope: of all its bytes."""
    return hashlib.sha256(message).digest()[:FINGERPRINT_BYTES]


def fingerprint(message: bytes | memoryview) -> bytes:
    """Of any message of a raw stream."""
    try:
        envelope = decode_envelope(message)
    except UnfitMessage:
        return fingerprint_of_unfit(message)
    return fingerprint_of_envelope(envelope)


def fingerprint_of_envelope(envelope: Envelope) -> bytes:
    return fingerprint_of(envelope.batch_id, bytes(envelope.digest), envelope.accepted_at_us)
