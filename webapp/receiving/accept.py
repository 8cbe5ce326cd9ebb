"""A batch's way from the request to what is published of it: the same for every path that takes batches."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from db.customers.rows import Customer
from streams import Broker, Envelope, encode_envelope, made_id
from streams.errors import BrokerUnavailable, Overloaded, TooLarge
from webapp import problems
from webapp.limits.admission import Limits
from webapp.limits.public_keys import PublicKeyLimits
from webapp.metrics import ANSWER_SECONDS, CONFIRM_SECONDS, CustomerCounts, Outcome
from webapp.problems import Problem
from webapp.receiving.authentication import Authenticator
from webapp.receiving.body import Environ, announced_length, too_large
from webapp.receiving.digests import body_digest, verify
from webapp.receiving.given_batch_id import given_batch_id
from webapp.receiving.heads import TAKEN, Admitted, Kept, MediaType, Taken, declared, read_body
from webapp.receiving.publish_queue import QUEUE_PART, STREAM_PART, PublishQueue
from webapp.receiving.unconfirmed_log import UnconfirmedLog
from webapp.settings import HttpSettings

CUSTOMER = "sluice.customer"
"""Whose key the request has, in its environ."""
AGENT_CHARACTERS = 128
"""So much of a User-Agent is kept."""
ENVELOPE_OVERHEAD = 4096
"""Bytes that an envelope and its Publish frame add to a body at most."""
SLOW_BODY_S = 5.0
"""After so many seconds from head to body the customer is looked at again."""


class BatchAcceptor:
    """Takes batches in; thread-safe, one per process."""

    def __init__(
        self,
        settings: HttpSettings,
        senders: Authenticator,
        limits: Limits,
        public_limits: PublicKeyLimits,
        broker: Broker,
        counts: CustomerCounts,
        now_us: Callable[[], int],
    ) -> None:
        """`now_us`: µs since 1970 by the ledger's clock, told without waiting for the database."""
        self._settings = settings
        self._senders = senders
        self._limits = limits
        self._public_limits = public_limits
        self._broker = broker
        self.queue = PublishQueue(
            broker.submit,
            stream_bytes=settings.bodies_bytes // STREAM_PART,
            most_bytes=settings.bodies_bytes // QUEUE_PART,
        )
        self._unconfirmed = UnconfirmedLog()
        self._counts = counts
        self._now_us = now_us

    def awaited(self, environ: Environ, admitted: Admitted | None) -> "Future[Any] | None":
        """The look-up of the request's key that has to be waited for, for `key_wait_s` at most, before it is
        admitted; or accepted, when `admitted` was long ago. Never blocks.
        """
        if admitted is not None and time.perf_counter() - admitted.begun < SLOW_BODY_S:
            return None
        return self._senders.awaited(environ)

    def admit(self, environ: Environ, formats: Mapping[str, MediaType]) -> Admitted:
        """Look at the request's head, and nothing of its body.

        Blocks for the deadline of the key at most, and not with a `Taken`. Raises Problem; the checks come in
        the order in which they cost. What was admitted must be accepted or released.
        """
        begun = time.perf_counter()
        problems.check_host(environ)
        sender = self._senders.sender(environ, self.later, waited=TAKEN in environ)
        customer = sender.customer
        environ[CUSTOMER] = customer.slug
        self._senders.check(sender, environ)
        _check_state(customer)
        kind, encoding = declared(environ, formats)
        batch_id = given_batch_id(environ)
        limit = min(self._settings.body_bytes, self._broker.frame_max - ENVELOPE_OVERHEAD)
        length = announced_length(environ, limit=limit)
        key = sender.public
        public = None if key is None else self._public_limits.admit(key, length, limit)
        try:
            admission = self._limits.admit(customer, length, limit)
        except Problem:
            if public is not None:
                self._public_limits.end(public, None)
            raise
        return Admitted(
            customer=customer,
            kind=kind,
            encoding=encoding,
            batch_id=batch_id,
            limit=limit,
            admission=admission,
            public=public,
            begun=begun,
        )

    def accept(self, environ: Environ, formats: Mapping[str, MediaType]) -> Kept:
        """Find the request's batch good, and say what is to be published of it. Raises Problem for a refusal.

        Blocks for nothing when there is a `Taken`: who put it there has waited for key and body. Under any
        other WSGI server it reads `wsgi.input`. `publish` or `begin` has to follow; until then what was
        admitted stays in the `Taken`, so that who put it there can release it.
        """
        taken: Taken | None = environ.get(TAKEN)
        decision = None if taken is None else taken.decision
        if isinstance(decision, Problem):
            raise decision
        admitted = decision or self.admit(environ, formats)
        if taken is not None:
            taken.decision = admitted
        environ[CUSTOMER] = admitted.customer.slug
        try:
            body = self._body(environ, admitted, taken or read_body(environ, admitted.limit))
            kept = self._kept(admitted, environ, body) if body else Kept(admitted=admitted)
        except BaseException:
            if taken is not None:
                taken.take()
            self.release(admitted)
            raise
        kept.taken = taken
        return kept

    def begin(self, kept: Kept, done: Callable[[Problem | None], None]) -> None:
        """Publish it, on the broker's loop; `done` is called after the confirm with None, else with the
        refusal: later, or at once when nothing is to be waited for.

        If we die between the confirm and the answer, the agent sends the batch again under the same batch id
        and dispatch drops the repeat.
        """
        self._take_over(kept)
        if not kept.message:
            done(self._settled(kept, None))
            return
        stream, deadline_s = kept.admitted.stream, self._settings.publish_deadline_s
        try:
            self.queue.publish(
                stream, kept.message, deadline_s, lambda error: done(self._settled(kept, error))
            )
        except Exception as error:
            done(self._settled(kept, error))

    def publish(self, kept: Kept) -> None:
        """As `begin`, for a thread that waits. Raises Problem."""
        self._take_over(kept)
        found: Exception | None = None
        try:
            if kept.message:
                deadline_s = self._settings.publish_deadline_s
                self._broker.publish(kept.admitted.stream, kept.message, deadline_s=deadline_s)
        except Exception as error:
            found = error
        refusal = self._settled(kept, found)
        if refusal is not None:
            raise refusal

    def _take_over(self, kept: Kept) -> None:
        kept.begun = time.perf_counter()
        if kept.taken is not None:
            kept.taken.take()
            kept.taken = None

    def _settled(self, kept: Kept, error: Exception | None) -> Problem | None:
        """What to say of it, whatever goes wrong with counting it."""
        try:
            return self._counted(kept, error)
        except Exception as failure:
            return problems.internal(failure)

    def _counted(self, kept: Kept, error: Exception | None) -> Problem | None:
        """Count what became of it."""
        admitted = kept.admitted
        if error is not None:
            self.release(admitted)
            return self._refusal(kept, error)
        now = time.perf_counter()
        if kept.message:
            CONFIRM_SECONDS.observe(now - kept.begun)
            outcome = Outcome.DISCARDED if kept.discarded else Outcome.ACCEPTED
            held = admitted.customer.breaker_reason is not None
            self._counts.count(admitted.customer.slug, outcome, kept.size, held=held)
        self._end(admitted, kept.size)
        ANSWER_SECONDS.observe(now - admitted.begun)
        return None

    def _refusal(self, kept: Kept, error: Exception) -> Problem:
        match error:
            case TooLarge():
                limit = kept.size - 1
                return Problem(
                    problems.BODY_TOO_LARGE,
                    "the broker's frame cannot hold it",
                    members={"limit_bytes": limit},
                )
            case Overloaded():
                return self.overloaded(error.retry_after_s)
            case BrokerUnavailable():
                self._unconfirmed.tell(kept.admitted.customer.slug, error)
                return self.later(problems.UNAVAILABLE, "the broker did not confirm it", error.retry_after_s)
        return problems.internal(error)

    def _body(self, environ: Environ, admitted: Admitted, taken: Taken) -> bytes | bytearray:
        if taken.cut is not None:
            raise taken.cut
        body = taken.body
        if len(body) > admitted.limit:
            raise too_large(admitted.limit)
        # Nothing is no well-formed body in any encoding.
        if not body and (admitted.encoding or not admitted.kind.empty):
            raise Problem(problems.EMPTY_BODY, "a batch has at least one byte")
        content_digest = environ.get("HTTP_CONTENT_DIGEST")
        if content_digest is not None:
            verify(content_digest, body)
        return body

    def _kept(self, admitted: Admitted, environ: Environ, body: bytes | bytearray) -> Kept:
        customer, kind, encoding = self._customer_now(admitted, environ), admitted.kind, admitted.encoding
        if admitted.public is not None:
            self._public_limits.fits(admitted.public, len(body))
        digest = body_digest(body, encoding)
        discarded = customer.state == "dropping"
        batch_id = admitted.batch_id or made_id(digest, kind.name, encoding)
        envelope = Envelope(
            batch_id=batch_id,
            customer=customer.slug,
            agent=environ.get("HTTP_USER_AGENT", "")[:AGENT_CHARACTERS],
            format=kind.name,
            content_type=kind.content_type,
            content_encoding=encoding,
            accepted_at_us=self._now_us(),
            digest=digest,
            # A dropped batch is published without its bytes, so that its count is as durable as any batch.
            body=b"" if discarded else memoryview(body),
            discarded=discarded,
            public_key_id=None if admitted.public is None else admitted.public.key.id,
        )
        return Kept(
            admitted=admitted,
            batch_id=batch_id,
            message=encode_envelope(envelope),
            size=len(body),
            discarded=discarded,
        )

    def later(self, kind: problems.ProblemType, detail: str, least_s: float = 0.0) -> Problem:
        """A refusal that asks the agent to come back, at `least_s` seconds from now at the earliest."""
        settings = self._settings
        least = max(least_s, settings.retry_after_min_s)
        return problems.later(kind, detail, least_s=least, most_s=max(least, settings.retry_after_max_s))

    def release(self, admitted: Admitted) -> None:
        """Give up a batch that was admitted and will not be accepted."""
        self._end(admitted, None)

    def _end(self, admitted: Admitted, accepted: int | None) -> None:
        """`accepted`: bytes; None when it was refused after all."""
        try:
            if admitted.admission is not None:
                self._limits.end(admitted.admission, accepted)
        finally:
            if admitted.public is not None:
                self._public_limits.end(admitted.public, accepted)

    def too_slow(self) -> Problem:
        """The refusal of a body that is not waited for any longer."""
        return problems.too_slow(self._settings.body_deadline_s)

    def no_room(self) -> Problem:
        """The refusal of a body that came more slowly than others, when all together held too much."""
        return self.later(problems.OVERLOADED, "too many bodies come too slowly")

    def overloaded(self, retry_after_s: float = 0.0) -> Problem:
        """The refusal of a batch for which there was no room in its stream for too long."""
        return self.later(problems.OVERLOADED, "too many bytes wait for the broker's confirm", retry_after_s)

    def _customer_now(self, admitted: Admitted, environ: Environ) -> Customer:
        """As it was when the head came, unless that is long ago: it may have been blocked since."""
        if time.perf_counter() - admitted.begun < SLOW_BODY_S:
            return admitted.customer
        customer = self._senders.sender(environ, self.later, waited=TAKEN in environ).customer
        _check_state(customer)
        return customer


def _check_state(customer: Customer) -> None:
    if customer.state in ("blocked", "deleting"):
        raise Problem(problems.CUSTOMER_BLOCKED, "the operator has blocked this customer")
