"""The receiver's metrics, listed in docs/http-api.md, and the bound on their customers."""

import threading
from enum import StrEnum
from typing import TYPE_CHECKING, get_args

from prometheus_client import Counter, Gauge, Histogram

from db.customers.rows import Limit
from operators import LabelNames, Lane, label_values

if TYPE_CHECKING:
    from db.customers.rows import Customer

OTHER = "other"


class Outcome(StrEnum):
    """What became of a batch that was answered with success."""

    ACCEPTED = "accepted"
    DISCARDED = "discarded"


BATCHES = Counter("sluice_http_batches", "Batches answered with success", ["customer", "outcome"])
BYTES = Counter("sluice_http_bytes", "Bytes of bodies answered with success, as sent", ["customer"])
HELD = Counter(
    "sluice_http_held_batches", "Batches accepted while their customer's breaker is open", ["customer"]
)
REFUSALS = Counter("sluice_http_refusals", "Requests refused, by the slug of their problem", ["problem"])
LIMITED = Counter("sluice_http_limited", "Batches refused by a limit", ["customer", "limit"])
PUBLIC_KEY_REFUSED = Counter(
    "sluice_http_public_key_refused",
    "Requests refused by a rule of their public key, by the slug of the problem",
    ["customer", "problem"],
)
LIMIT = Gauge(
    "sluice_http_limit",
    "Customers' limits as this receiver knows them; 0 for none",
    ["customer", "limit"],
    multiprocess_mode="mostrecent",
)
QUOTA_USED = Gauge(
    "sluice_http_quota_used_bytes",
    "Bytes of the day accepted of a customer with a daily quota",
    ["customer"],
    multiprocess_mode="mostrecent",
)
BEAT = Gauge(
    "sluice_http_beat_timestamp_seconds",
    "When the loop of a worker last turned, Unix time",
    ["core"],
    multiprocess_mode="mostrecent",
)


class SecondsMetric:
    """A histogram without labels, made at its first observation.

    gunicorn's master imports this module with its class of workers. What is made there is in no worker's
    lane, and never shown; metrics with labels make their values when they are first counted.
    """

    def __init__(self, name: str, documentation: str, *, buckets: tuple[float, ...]) -> None:
        self._name, self._documentation, self._buckets = name, documentation, buckets
        self._lock = threading.Lock()
        self._made: Histogram | None = None

    def observe(self, seconds: float) -> None:
        self.histogram().observe(seconds)

    def histogram(self) -> Histogram:
        if self._made is None:
            with self._lock:
                self._made = self._made or Histogram(self._name, self._documentation, buckets=self._buckets)
        return self._made


ANSWER_SECONDS = SecondsMetric(
    "sluice_http_accept_seconds",
    "Seconds from the request's headers to the broker's confirm",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
CONFIRM_SECONDS = SecondsMetric(
    "sluice_http_confirm_seconds",
    "Seconds from publishing to the broker's confirm",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)

LOOP_DELAY_SECONDS = SecondsMetric(
    "sluice_http_loop_delay_seconds",
    "Seconds by which the loop came late to what was due, in which every request of its worker waited",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
DATABASE_WAIT_SECONDS = SecondsMetric(
    "sluice_http_database_wait_seconds",
    "Seconds that a transaction waited for a connection to the database",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
RECONNECTS = Counter("sluice_http_reconnects", "Connections lost and made again", ["to"])


class _Counts:
    """One customer's counters, looked up once."""

    __slots__ = ("accepted", "bytes", "discarded", "held", "label")

    def __init__(self, label: str) -> None:
        self.label = label
        self.accepted = BATCHES.labels(label, Outcome.ACCEPTED.value)
        self.discarded = BATCHES.labels(label, Outcome.DISCARDED.value)
        self.bytes = BYTES.labels(label)
        self.held = HELD.labels(label)


class CustomerCounts:
    """Counters by customer with at most `names` label values per process (`operators.LabelNames`), and
    "other" for the rest.
    """

    def __init__(self, names: int) -> None:
        self._names = LabelNames(names)
        self._named: dict[str, _Counts] = {}
        self._other = _Counts(OTHER)

    def go_on(self, lane: Lane) -> None:
        """Keep the names that are in the lane of this process: those that its predecessor gave."""
        for label in label_values(lane, "sluice_http_bytes_total", "customer"):
            if label != OTHER:
                self._named[OTHER if label == f"{OTHER}:" else label] = _Counts(label)
        self._names.go_on(self._named)

    def count(self, slug: str, outcome: Outcome, size: int, *, held: bool = False) -> None:
        """Count one batch of `size` bytes; `held` while the customer's breaker is open."""
        counts = self._named.get(slug) or self._unnamed(slug)
        (counts.accepted if outcome is Outcome.ACCEPTED else counts.discarded).inc()
        counts.bytes.inc(size)
        if held:
            counts.held.inc()

    def limited(self, slug: str, limit: Limit) -> None:
        """Count one batch that a limit refused."""
        counts = self._named.get(slug) or self._unnamed(slug)
        LIMITED.labels(counts.label, limit).inc()

    def public_key_refused(self, slug: str, problem: str) -> None:
        """Count one request that a rule of its public key refused."""
        counts = self._named.get(slug) or self._unnamed(slug)
        PUBLIC_KEY_REFUSED.labels(counts.label, problem).inc()

    def show(self, customer: "Customer", used_bytes: int | None) -> None:
        """Show the limits of a customer that has a name, and what of its quota is used."""
        named = self._named.get(customer.slug)
        if named is None:
            return
        for limit in get_args(Limit):
            LIMIT.labels(named.label, limit).set(getattr(customer, limit) or 0)
        if used_bytes is not None:
            QUOTA_USED.labels(named.label).set(used_bytes)

    def _unnamed(self, slug: str) -> _Counts:
        if self._names.label(slug) != slug:
            return self._other
        # A customer may be called "other" too; its slug cannot hold a colon.
        counts = self._named[slug] = _Counts(f"{OTHER}:" if slug == OTHER else slug)
        return counts
