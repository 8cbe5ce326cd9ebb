"""Digests of a body: what the agent says it sent (RFC 9530), and what makes two bodies the same batch."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping

import google_crc32c

from webapp.problems import BAD_DIGEST, DIGEST_MISMATCH, Problem


def _sha256(body: bytes | bytearray) -> bytes:
    return hashlib.sha256(body).digest()


def _sha512(body: bytes | bytearray) -> bytes:
    return hashlib.sha512(body).digest()


def _crc32c(body: bytes | bytearray) -> bytes:
    value: int = google_crc32c.value(body)
    return value.to_bytes(4, "big")


ALGORITHMS: Mapping[str, Callable[[bytes | bytearray], bytes]] = {
    "sha-256": _sha256,
    "sha-512": _sha512,
    "crc32c": _crc32c,
}


def parse(header: str) -> dict[str, bytes]:
    """The digests of a Content-Digest header by algorithm, those not known here included.

    The header is a dictionary of byte sequences (RFC 9651): `sha-256=:<base64>:, …`. Raises Problem.
    """
    digests: dict[str, bytes] = {}
    for member in header.split(","):
        name, equals, value = member.strip(" \t").partition("=")
        value, _, _parameters = value.partition(";")
        value = value.rstrip(" \t")
        if not equals or not name or len(value) < 2 or value[0] != ":" or value[-1] != ":":
            raise _bad("Content-Digest is not of the form <algorithm>=:<base64>:")
        try:
            digests[name.lower()] = base64.b64decode(value[1:-1], validate=True)
        except (binascii.Error, ValueError):
            raise _bad(f"the digest of {name[:20]!r} is not base64") from None
    if not digests.keys() & ALGORITHMS.keys():
        raise _bad("none of the algorithms is known here")
    return digests


def verify(header: str, body: bytes | bytearray) -> None:
    """Compare the body as sent with every digest whose algorithm is known here.

    Raises Problem: bad-digest for the wrong form or no known algorithm, digest-mismatch when one differs.
    """
    for name, said in parse(header).items():
        algorithm = ALGORITHMS.get(name)
        if algorithm is None:
            continue
        found = algorithm(body)
        if len(said) != len(found):
            raise _bad(f"a {name} digest has {len(found)} bytes, this one {len(said)}")
        if not hmac.compare_digest(said, found):
            raise Problem(
                DIGEST_MISMATCH, f"the {name} of the {len(body)} bytes that came is not the one sent along"
            )


def body_digest(body: bytes | bytearray, content_encoding: str) -> bytes:
    """SHA-256 (32 bytes) of what makes two bodies the same batch: all bytes but gzip's time stamp.

    Agents that compress anew for each try (the Python OpenTelemetry SDK does in 1.39 and before) write the
    current second into bytes 4 to 7 of the gzip header (RFC 1952, MTIME), and the retry would pass for
    another batch.
    """
    if content_encoding != "gzip" or len(body) < 10 or body[4:8] == b"\0\0\0\0":
        return hashlib.sha256(body).digest()
    view = memoryview(body)
    state = hashlib.sha256(view[:4])
    state.update(b"\0\0\0\0")
    state.update(view[8:])
    return state.digest()


def _bad(detail: str) -> Problem:
    return Problem(BAD_DIGEST, detail, members={"accepted": sorted(ALGORITHMS)})
