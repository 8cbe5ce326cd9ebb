"""What a refusal says: RFC 9457 problem details, one typed table."""

import json
import math
import random
from collections.abc import Mapping
from http import HTTPStatus

import structlog

from webapp import public_key_problems
from webapp.problem_type import ProblemType as ProblemType

log = structlog.get_logger(__name__)

PROBLEM_JSON = "application/problem+json"


class Problem(Exception):
    """A refusal on its way to the agent.

    `members` are the problem's extension members (JSON types), `headers` go out with the answer.
    """

    def __init__(
        self,
        kind: ProblemType,
        detail: str,
        *,
        members: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.members: Mapping[str, object] = members or {}
        self.headers: Mapping[str, str] = headers or {}

    def body(self) -> bytes:
        """The problem document as JSON."""
        document = {
            "type": self.kind.uri,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "retry": self.kind.retry,
            **self.members,
        }
        return json.dumps(document).encode()


def later(
    kind: ProblemType,
    detail: str,
    *,
    least_s: float,
    most_s: float,
    members: Mapping[str, object] | None = None,
) -> Problem:
    """A refusal with Retry-After: whole seconds, drawn evenly so that a crowd does not come back at once."""
    least = max(1, math.ceil(least_s))
    seconds = random.randint(least, max(least, round(most_s)))  # noqa: S311 - spreads load, hides nothing
    return Problem(kind, detail, members=members, headers={"Retry-After": str(seconds)})


UNAUTHENTICATED = ProblemType(
    slug="unauthenticated",
    status=HTTPStatus.UNAUTHORIZED,
    title="The key is missing or unknown",
    remedy="Send `Authorization: Bearer <key>` with a key of `flask customers add` or `rotate-key`.",
)
CUSTOMER_BLOCKED = ProblemType(
    slug="customer-blocked",
    status=HTTPStatus.FORBIDDEN,
    title="The customer is blocked",
    remedy="Stop sending; the operator lifts the block with `flask customers resume`.",
)
BAD_REQUEST = ProblemType(
    slug="bad-request",
    status=HTTPStatus.BAD_REQUEST,
    title="The head of the request is malformed",
    remedy="Send HTTP/1.1 as RFC 9112 has it, a Host header included.",
)
HEAD_TOO_LARGE = ProblemType(
    slug="head-too-large",
    status=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    title="The head of the request is too large",
    remedy="Send at most 100 headers of 8,190 bytes, and 32 KiB of all.",
)
PATH_TOO_LONG = ProblemType(
    slug="path-too-long",
    status=HTTPStatus.REQUEST_URI_TOO_LONG,
    title="The request line is too long",
    remedy="Post to the paths that are here; a query needs no more than key, format and encoding.",
)
UNKNOWN_EXPECTATION = ProblemType(
    slug="unknown-expectation",
    status=HTTPStatus.EXPECTATION_FAILED,
    title="The expectation is not known here",
    remedy="Send `Expect: 100-continue`, or leave the header out.",
)
UNKNOWN_TRANSFER_CODING = ProblemType(
    slug="unknown-transfer-coding",
    status=HTTPStatus.NOT_IMPLEMENTED,
    title="The transfer coding is not known here",
    remedy="Send `Transfer-Encoding: chunked` or a Content-Length; compression goes into Content-Encoding.",
)
NOT_FOUND = ProblemType(
    slug="not-found",
    status=HTTPStatus.NOT_FOUND,
    title="There is nothing at this path",
    remedy="Post batches to /v1/batches, OTLP traces to /v1/traces and OTLP logs to /v1/logs.",
)
METRICS_NOT_KEPT = ProblemType(
    slug="metrics-not-kept",
    status=HTTPStatus.NOT_FOUND,
    title="Metrics are not taken here",
    remedy="Metrics belong to a metrics store: set OTEL_EXPORTER_OTLP_METRICS_ENDPOINT to one, or"
    " OTEL_METRICS_EXPORTER=none.",
)
METHOD_NOT_ALLOWED = ProblemType(
    slug="method-not-allowed",
    status=HTTPStatus.METHOD_NOT_ALLOWED,
    title="This path does not take the method",
    remedy="Use one of the methods in the Allow header.",
)
UNKNOWN_CONTENT_TYPE = ProblemType(
    slug="unknown-content-type",
    status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    title="The content type is not accepted here",
    remedy="Send one of the content types that `accepted` names.",
)
UNKNOWN_CONTENT_ENCODING = ProblemType(
    slug="unknown-content-encoding",
    status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    title="The content encoding is not accepted here",
    remedy="Send one of the encodings that `accepted` names, and only one, or none.",
)
BODY_TOO_LARGE = ProblemType(
    slug="body-too-large",
    status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    title="The body is larger than the limit",
    remedy="Split the batch: `limit_bytes` is the largest body as sent, after compression.",
)
BODY_TOO_SLOW = ProblemType(
    slug="body-too-slow",
    status=HTTPStatus.REQUEST_TIMEOUT,
    title="The body did not come whole in time",
    remedy="Send the batch again under the same batch id, in smaller pieces if the network is slow.",
    retry="later",
)
BODY_INCOMPLETE = ProblemType(
    slug="body-incomplete",
    status=HTTPStatus.BAD_REQUEST,
    title="The body ended before its length, or its chunks were malformed",
    remedy="Send the batch again under the same batch id; nothing was published.",
    retry="later",
)
EMPTY_BODY = ProblemType(
    slug="empty-body",
    status=HTTPStatus.BAD_REQUEST,
    title="The body is empty",
    remedy="Send at least one event, or nothing at all.",
)
BAD_BATCH_ID = ProblemType(
    slug="bad-batch-id",
    status=HTTPStatus.BAD_REQUEST,
    title="The batch id does not have its form",
    remedy="Send 1 to 64 visible ASCII characters in Idempotency-Key, or leave the header out.",
)
BAD_DIGEST = ProblemType(
    slug="bad-digest",
    status=HTTPStatus.BAD_REQUEST,
    title="Content-Digest does not have its form, or names no algorithm that is known here",
    remedy="Send `Content-Digest: sha-256=:<base64>:` (RFC 9530); `accepted` names the algorithms.",
)
DIGEST_MISMATCH = ProblemType(
    slug="digest-mismatch",
    status=HTTPStatus.BAD_REQUEST,
    title="The body is not the one that Content-Digest was made of",
    remedy="Send the batch again; make the digest over the body as sent, after compression.",
    retry="later",
)
_KEEP_AND_WAIT = "It was not kept. Wait for Retry-After, then send the same bytes under the same batch id"
TOO_MANY_BYTES = ProblemType(
    slug="too-many-bytes",
    status=HTTPStatus.TOO_MANY_REQUESTS,
    title="The customer's bytes a second are used up",
    remedy=f"{_KEEP_AND_WAIT}; to stay below the limit, compress, sample, or send more slowly.",
    retry="later",
)
TOO_MANY_BATCHES = ProblemType(
    slug="too-many-batches",
    status=HTTPStatus.TOO_MANY_REQUESTS,
    title="The customer's batches a second are used up",
    remedy=f"{_KEEP_AND_WAIT}; to stay below the limit, send fewer and larger batches.",
    retry="later",
)
TOO_MANY_REQUESTS = ProblemType(
    slug="too-many-requests",
    status=HTTPStatus.TOO_MANY_REQUESTS,
    title="The customer has too many requests under way",
    remedy=f"{_KEEP_AND_WAIT}; to stay below the limit, use fewer connections at a time.",
    retry="later",
)
QUOTA_USED_UP = ProblemType(
    slug="quota-used-up",
    status=HTTPStatus.TOO_MANY_REQUESTS,
    title="The customer's bytes of the day are used up, or held by batches under way",
    remedy=f"{_KEEP_AND_WAIT}: the day begins at midnight UTC, and what is only held may be given back soon.",
    retry="later",
)
UNAVAILABLE = ProblemType(
    slug="unavailable",
    status=HTTPStatus.SERVICE_UNAVAILABLE,
    title="The batch was not confirmed",
    remedy="Wait for Retry-After, then send the same bytes under the same batch id: they are deposited once.",
    retry="later",
)
OVERLOADED = ProblemType(
    slug="overloaded",
    status=HTTPStatus.SERVICE_UNAVAILABLE,
    title="Too much is waiting, for the broker's confirm or for the rest of bodies",
    remedy="Wait for Retry-After, then send the same bytes under the same batch id: they are deposited once.",
    retry="later",
)
INTERNAL = ProblemType(
    slug="internal",
    status=HTTPStatus.INTERNAL_SERVER_ERROR,
    title="The receiver failed",
    remedy="Report it with the time; sending the same bytes again under the same batch id is safe.",
    retry="later",
)

PROBLEMS: Mapping[str, ProblemType] = {
    kind.slug: kind
    for kind in (
        UNAUTHENTICATED,
        CUSTOMER_BLOCKED,
        BAD_REQUEST,
        HEAD_TOO_LARGE,
        PATH_TOO_LONG,
        UNKNOWN_EXPECTATION,
        UNKNOWN_TRANSFER_CODING,
        NOT_FOUND,
        METRICS_NOT_KEPT,
        METHOD_NOT_ALLOWED,
        UNKNOWN_CONTENT_TYPE,
        UNKNOWN_CONTENT_ENCODING,
        BODY_TOO_LARGE,
        BODY_TOO_SLOW,
        BODY_INCOMPLETE,
        EMPTY_BODY,
        BAD_BATCH_ID,
        BAD_DIGEST,
        DIGEST_MISMATCH,
        TOO_MANY_BYTES,
        TOO_MANY_BATCHES,
        TOO_MANY_REQUESTS,
        QUOTA_USED_UP,
        UNAVAILABLE,
        OVERLOADED,
        INTERNAL,
        *public_key_problems.KINDS,
    )
}


def check_host(environ: Mapping[str, object]) -> None:
    """Raises Problem for a request of HTTP/1.1 without Host (RFC 9112, 3.2)."""
    if "HTTP_HOST" not in environ and environ.get("SERVER_PROTOCOL") == "HTTP/1.1":
        raise Problem(BAD_REQUEST, "a request of HTTP/1.1 has a Host header")


def too_slow(seconds: float) -> Problem:
    """The refusal of a body that did not come in time."""
    return Problem(BODY_TOO_SLOW, f"the body did not come within {seconds:g} s, or came too slowly")


def internal(error: Exception) -> Problem:
    """The refusal for an exception that nobody expected; the log has its traceback, the answer does not."""
    log.error("request_failed", exc_info=error)
    return Problem(INTERNAL, "unexpected; the receiver's log says more")
