"""A batch's way from the request to the confirm: the same for every path that takes batches."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from db.customers.rows import Customer
from streams import Broker, Envelope, encode_envelope, made_id, raw
from streams.errors import BrokerUnavailable, Overloaded, TooLarge
from webapp import problems
from webapp.errors import ReceiverUnavailable
from webapp.limits.admission import Admission, Limits
from webapp.metrics import ANSWER_SECONDS, CONFIRM_SECONDS, CustomerCounts, Outcome
from webapp.problems import Problem
from webapp.receiving.body import BodyDeadline, Environ, announced_length, read_body
from webapp.receiving.digests import body_digest, verify
from webapp.receiving.given_batch_id import given_batch_id
from webapp.receiving.keys import KeyCache
from webapp.settings import HttpSettings

log = structlog.get_logger(__name__)

CUSTOMER = "sluice.customer"
"""Whose key the request has, in its environ."""
AGENT_CHARACTERS = 128
"""So much of a User-Agent is kept."""
ENVELOPE_OVERHEAD = 4096
"""Bytes that an envelope and its Publish frame add to a body at most."""
SLOW_BODY_S = 5.0
"""After so many seconds from head to body the customer is looked at again."""
ENCODINGS: Mapping[str, str] = {
    "": "",
    "identity": "",
    "gzip": "gzip",
    "x-gzip": "gzip",
    "deflate": "deflate",
    "zstd": "zstd",
    "br": "br",
}
"""Content-Encoding as sent to the word in the envelope; "" is none."""


@dataclass(frozen=True, slots=True)
class MediaType:
    """What a content type means: its name without parameters, and the decoder's word for it.

    `empty`: no bytes at all are well-formed, and hold no events.
    """

    content_type: str
    name: str
    empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A batch whose head was found good: its body is wanted, and `admission` is to be ended.

    `limit` is the largest body in bytes, `begun` a `time.perf_counter`.
    """

    customer: Customer
    kind: MediaType
    encoding: str
    batch_id: str | None
    limit: int
    admission: Admission | None
    begun: float


HeadResult = Admitted | Problem
"""What a request's head was found to be."""


class BatchAcceptor:
    """Takes batches in; thread-safe, one per process."""

    def __init__(
        self,
        settings: HttpSettings,
        keys: KeyCache,
        limits: Limits,
        broker: Broker,
        counts: CustomerCounts,
        now_us: Callable[[], int],
    ) -> None:
        """`now_us`: µs since 1970 by the ledger's clock, told without waiting for the database."""
        self._settings = settings
        self._keys = keys
        self._limits = limits
        self._broker = broker
        self._body_deadline = BodyDeadline(settings.body_deadline_s)
        self._counts = counts
        self._now_us = now_us

    def admit(self, environ: Environ, formats: Mapping[str, MediaType]) -> Admitted:
        """Look at the request's head, and nothing of its body.

        Blocks for the deadline of the key at most. Raises Problem; the checks come in the order in which they
        cost. What was admitted must be accepted.
        """
        begun = time.perf_counter()
        problems.check_host(environ)
        customer = self._authenticate(environ.get("HTTP_AUTHORIZATION", ""))
        environ[CUSTOMER] = customer.slug
        _check_state(customer)
        kind = _format(environ.get("CONTENT_TYPE", ""), formats)
        encoding = _encoding(environ.get("HTTP_CONTENT_ENCODING", ""))
        batch_id = given_batch_id(environ)
        limit = min(self._settings.body_bytes, self._broker.frame_max - ENVELOPE_OVERHEAD)
        length = announced_length(environ, limit=limit)
        admission = self._limits.admit(customer, length, limit)
        return Admitted(
            customer=customer,
            kind=kind,
            encoding=encoding,
            batch_id=batch_id,
            limit=limit,
            admission=admission,
            begun=begun,
        )

    def accept(self, environ: Environ, formats: Mapping[str, MediaType]) -> str | None:
        """Take the request's batch in and return its batch id, after the broker's confirm and never before;
        None for one that holds nothing to keep.

        Blocks for the deadlines of key, body and confirm at most. Raises Problem for every refusal, and reads
        nothing of a body that the head refuses. Where a body was late, the server asked `admit` before it
        came, and the outcome comes with the request's `wsgi.input`.
        """
        take = getattr(environ["wsgi.input"], "take_decision", None)
        decision: HeadResult | None = take() if take is not None else None
        if isinstance(decision, Problem):
            raise decision
        admitted = decision or self.admit(environ, formats)
        environ[CUSTOMER] = admitted.customer.slug
        accepted = None
        try:
            body = self._body(environ, admitted)
            batch_id = self._keep(admitted, environ, body) if body else None
            accepted = len(body)
        finally:
            if admitted.admission is not None:
                self._limits.end(admitted.admission, accepted)
        ANSWER_SECONDS.observe(time.perf_counter() - admitted.begun)
        return batch_id

    def _body(self, environ: Environ, admitted: Admitted) -> bytes:
        body = read_body(environ, limit=admitted.limit, deadline=self._body_deadline)
        # Nothing is no well-formed body in any encoding.
        if not body and (admitted.encoding or not admitted.kind.empty):
            raise Problem(problems.EMPTY_BODY, "a batch has at least one byte")
        content_digest = environ.get("HTTP_CONTENT_DIGEST")
        if content_digest is not None:
            verify(content_digest, body)
        return body

    def _keep(self, admitted: Admitted, environ: Environ, body: bytes) -> str:
        """Publish the batch, wait for the confirm, count it, and return its id.

        If we die between the confirm and the answer, the agent sends the batch again under the same batch id
        and dispatch drops the repeat.
        """
        customer, kind, encoding = self._customer_now(admitted, environ), admitted.kind, admitted.encoding
        digest = body_digest(body, encoding)
        discarded = customer.state == "dropping"
        batch_id = admitted.batch_id or made_id(digest, kind.name, encoding)
        self._publish(
            customer.slug,
            Envelope(
                batch_id=batch_id,
                customer=customer.slug,
                agent=environ.get("HTTP_USER_AGENT", "")[:AGENT_CHARACTERS],
                format=kind.name,
                content_type=kind.content_type,
                content_encoding=encoding,
                accepted_at_us=self._now_us(),
                digest=digest,
                # A dropped batch is published without its bytes, so that its count is as durable as any
                # batch.
                body=b"" if discarded else body,
                discarded=discarded,
            ),
        )
        outcome = Outcome.DISCARDED if discarded else Outcome.ACCEPTED
        held = customer.breaker_reason is not None
        self._counts.count(customer.slug, outcome, len(body), held=held)
        return batch_id

    def later(self, kind: problems.ProblemType, detail: str, least_s: float = 0.0) -> Problem:
        """A refusal that asks the agent to come back, at `least_s` seconds from now at the earliest."""
        settings = self._settings
        least = max(least_s, settings.retry_after_min_s)
        return problems.later(kind, detail, least_s=least, most_s=max(least, settings.retry_after_max_s))

    def release(self, admitted: Admitted) -> None:
        """Give up a batch that was admitted and will not be accepted."""
        if admitted.admission is not None:
            self._limits.end(admitted.admission, None)

    def too_slow(self) -> Problem:
        """The refusal of a body that is not waited for any longer."""
        return problems.too_slow(self._settings.body_deadline_s)

    def no_room(self) -> Problem:
        """The refusal of a body that came more slowly than others, when all together held too much."""
        return self.later(problems.OVERLOADED, "too many bodies come too slowly")

    def close(self) -> None:
        """Stop watching bodies."""
        self._body_deadline.close()

    def _authenticate(self, header: str) -> Customer:
        scheme, _, key = header.partition(" ")
        if not key or scheme.lower() != "bearer":
            raise _unauthenticated("Authorization is missing or is not `Bearer <key>`")
        try:
            customer = self._keys.customer(key.strip(" "))
        except ReceiverUnavailable as error:
            raise self.later(
                problems.UNAVAILABLE, "the key could not be looked up", error.retry_after_s
            ) from None
        if customer is None:
            raise _unauthenticated("nobody has this key")
        return customer

    def _customer_now(self, admitted: Admitted, environ: Environ) -> Customer:
        """As it was when the head came, unless that is long ago: it may have been blocked since."""
        if time.perf_counter() - admitted.begun < SLOW_BODY_S:
            return admitted.customer
        customer = self._authenticate(environ.get("HTTP_AUTHORIZATION", ""))
        _check_state(customer)
        return customer

    def _publish(self, slug: str, envelope: Envelope) -> None:
        begun = time.perf_counter()
        try:
            self._broker.publish(
                raw(slug),
                encode_envelope(envelope),
                deadline_s=self._settings.publish_deadline_s,
            )
        except TooLarge:
            limit = len(envelope.body) - 1
            raise Problem(
                problems.BODY_TOO_LARGE, "the broker's frame cannot hold it", members={"limit_bytes": limit}
            ) from None
        except Overloaded as error:
            raise self.later(
                problems.OVERLOADED, "too many bytes wait for the broker's confirm", error.retry_after_s
            ) from None
        except BrokerUnavailable as error:
            log.warning("batch_not_confirmed", customer=slug, error=type(error).__name__)
            raise self.later(
                problems.UNAVAILABLE, "the broker did not confirm it", error.retry_after_s
            ) from None
        CONFIRM_SECONDS.observe(time.perf_counter() - begun)


def _check_state(customer: Customer) -> None:
    if customer.state in ("blocked", "deleting"):
        raise Problem(problems.CUSTOMER_BLOCKED, "the operator has blocked this customer")


def _unauthenticated(detail: str) -> Problem:
    return Problem(problems.UNAUTHENTICATED, detail, headers={"WWW-Authenticate": 'Bearer realm="sluice"'})


def _format(content_type: str, formats: Mapping[str, MediaType]) -> MediaType:
    kind = formats.get(content_type) or formats.get(content_type.partition(";")[0].strip(" \t").lower())
    if kind is None:
        raise Problem(
            problems.UNKNOWN_CONTENT_TYPE,
            f"Content-Type is {content_type[:100]!r}",
            members={"accepted": list(formats)},
            headers={"Accept": ", ".join(formats)},
        )
    return kind


def _encoding(content_encoding: str) -> str:
    encoding = ENCODINGS.get(content_encoding)
    if encoding is None:
        encoding = ENCODINGS.get(content_encoding.strip(" \t").lower())
    if encoding is None:
        accepted = [name for name in ENCODINGS if name]
        raise Problem(
            problems.UNKNOWN_CONTENT_ENCODING,
            f"Content-Encoding is {content_encoding[:100]!r}",
            members={"accepted": accepted},
            headers={"Accept-Encoding": ", ".join(accepted)},
        )
    return encoding
