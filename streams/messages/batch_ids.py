"""The id of a batch whose agent gave it none: made of what was sent, by every receiver alike."""

import hashlib

from streams.messages.envelope import Envelope

DIGITS = 64


def made_id(digest: bytes, form: str, content_encoding: str) -> str:
    """64 hexadecimal digits: the SHA-256 of the body's digest (32 bytes) and what its bytes are said to be.

    The same bytes sent again as another format, or under another content encoding, are another batch: the
    agent has corrected itself. `form` and `content_encoding` ("" for none) are the envelope's words.
    """
    return hashlib.sha256(b"%b %b %b" % (digest, form.encode(), content_encoding.encode())).hexdigest()


def other_id(envelope: Envelope) -> str:
    """The id under which a receiver of another release keeps the same batch; "" where the agent gave one.

    Receivers of releases before `made_id` take the digest of the body alone. An agent that tries again while
    receivers are updated, or after, sends one batch under both ids.
    """
    if len(envelope.batch_id) != DIGITS:
        return ""
    made = made_id(envelope.digest, envelope.format, envelope.content_encoding)
    former = bytes(envelope.digest).hex()
    if envelope.batch_id == made:
        return former
    return made if envelope.batch_id == former else ""
