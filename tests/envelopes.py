"""Envelopes as the receiver writes them, for tests that publish by themselves."""

import hashlib

from streams import Envelope, encode_envelope

CONTENT_TYPES = {
    "ndjson": "application/x-ndjson",
    **dict.fromkeys(("json", "otlp-json"), "application/json"),
    **dict.fromkeys(("otlp-protobuf", "otlp-logs-protobuf"), "application/x-protobuf"),
}


def envelope(
    slug: str,
    batch_id: str,
    body: bytes,
    *,
    accepted_at_us: int,
    form: str = "ndjson",
    discarded: bool = False,
    public_key_id: int | None = None,
) -> bytes:
    """The message of a batch without content encoding; a discarded one goes without its body."""
    return encode_envelope(
        Envelope(
            batch_id=batch_id,
            customer=slug,
            agent="probe",
            format=form,
            content_type=CONTENT_TYPES[form],
            content_encoding="",
            accepted_at_us=accepted_at_us,
            digest=hashlib.sha256(body).digest(),
            body=b"" if discarded else body,
            discarded=discarded,
            public_key_id=public_key_id,
        )
    )
