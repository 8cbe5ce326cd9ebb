"""What a request's headers say of its body."""

import re
from typing import Any

from webapp.problems import BODY_INCOMPLETE, BODY_TOO_LARGE, UNKNOWN_TRANSFER_CODING, Problem

LENGTH_FORM = re.compile(r"[0-9]{1,18}")

Environ = dict[str, Any]


def announced_length(environ: Environ, *, limit: int) -> int | None:
    """The length that the request's headers say, in bytes; None for a body in chunks.

    Raises Problem: body-too-large, body-incomplete, unknown-transfer-coding.
    """
    said = environ.get("CONTENT_LENGTH")
    coding = environ.get("HTTP_TRANSFER_ENCODING")
    if coding is not None and coding.lower() != "chunked":
        # The server takes chunks away and leaves what is below them (RFC 9112, 6.1).
        raise Problem(UNKNOWN_TRANSFER_CODING, f"Transfer-Encoding is {coding[:100]!r}")
    if not said:
        return None if coding is not None else 0
    if LENGTH_FORM.fullmatch(said) is None:
        raise Problem(BODY_INCOMPLETE, "Content-Length is not a number")
    length = int(said)
    if length > limit:
        raise too_large(limit)
    return length


def too_large(limit: int) -> Problem:
    """The refusal of a body of more than `limit` bytes."""
    return Problem(BODY_TOO_LARGE, f"the limit is {limit} bytes as sent", members={"limit_bytes": limit})


def incomplete() -> Problem:
    """The refusal of a body that ended early, or was none."""
    return Problem(BODY_INCOMPLETE, "the body ended early")
