"""The metrics of dispatchers and workers: one list, which docs/metrics.md explains.

Base units, as Prometheus names them: seconds and bytes. `customer` is a slug, or `_other` for all that have
no name of their own.
"""

from dataclasses import dataclass
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LATENCY = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One metric. The names of counters end in `_total`; prometheus_client appends it by itself."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = QUICK

    def counter(self) -> Counter:
        return Counter(self.name.removesuffix("_total"), self.help, self.labels, registry=None)

    def gauge(self) -> Gauge:
        return Gauge(self.name, self.help, self.labels, registry=None, multiprocess_mode="mostrecent")

    def histogram(self) -> Histogram:
        return Histogram(self.name, self.help, self.labels, registry=None, buckets=self.buckets)


def _counter(name: str, help_text: str, *labels: str) -> Measure:
    return Measure(name=f"sluice_{name}_total", kind="counter", help=help_text, labels=labels)


def _gauge(name: str, help_text: str, *labels: str) -> Measure:
    return Measure(name=f"sluice_{name}", kind="gauge", help=help_text, labels=labels)


def _histogram(name: str, help_text: str, buckets: tuple[float, ...] = QUICK) -> Measure:
    return Measure(name=f"sluice_{name}", kind="histogram", help=help_text, buckets=buckets)


# Every dispatcher and worker.
PROCESS_INFO = _gauge("process_info", "1, with what this process is", "process", "name")
BEAT = _gauge("beat_timestamp_seconds", "When the main loop last turned, Unix time")
LOOP_DELAY = _histogram("loop_delay_seconds", "How late the main loop came to what was due")
DATABASE_WAIT = _histogram(
    "database_wait_seconds", "Wait for a connection to the database, connecting included"
)
RECONNECTS = _counter("reconnects", "Connections lost and made again", "to")

# A dispatcher, of the customers that it serves.
LEASES = _gauge("leases", "Customers that this dispatcher serves")
DISPATCHED_WINDOWS = _counter("dispatched_windows", "Windows recorded with batches to work on", "customer")
DISPATCHED_BATCHES = _counter("dispatched_batches", "Batches in these windows", "customer")
DISPATCHED_BYTES = _counter("dispatched_bytes", "Bytes of these batches, as sent", "customer")
DUPLICATES = _counter("duplicate_batches", "Batches that repeat one that was seen", "customer")
EXPIRED = _counter("expired_batches", "Batches removed by retention before they were read", "customer")
RUNG_AGAIN = _counter(
    "windows_rung_again", "Windows whose deposit was overdue and were rung again", "customer"
)
QUEUES_REFUSED = _counter("queues_refused", "Doorbells that the customer's queue refused", "customer")
DISPATCH_WAITS = _counter("dispatch_waits", "Rounds given up as broker or database was away", "reason")

# A worker: the sums of its processes.
DELIVERIES = _counter("deliveries", "Windows delivered to a stage, by how they came", "customer", "kind")
DEATHS = _counter("deaths", "Deliveries that ended with their process, by cause", "cause")
TASK_FAILURES = _counter("task_failures", "Tasks that ended with an error", "task", "error")
DEPOSITS = _counter("deposits", "Deposits committed", "customer")
DEPOSITED_WINDOWS = _counter("deposited_windows", "Windows in these deposits", "customer")
DEPOSITED_BATCHES = _counter("deposited_batches", "Batches in these windows", "customer")
DEPOSITED_EVENTS = _counter("deposited_events", "Events decoded from these batches", "customer")
DEPOSITED_BYTES = _counter("deposited_bytes", "Bytes of results written by deposits, in memory", "customer")
GROUPED_WINDOWS = _counter("grouped_windows", "Windows that came in a group, by how they ended", "outcome")
DEPOSIT_WINDOWS = _histogram("deposit_windows", "Windows merged into one deposit", SIZES)
DECODE_SECONDS = _histogram("decode_seconds", "Reading and decoding a window")
PROCESS_SECONDS = _histogram(
    "process_seconds", "Applying the pipeline to a window and publishing its results"
)
DEPOSIT_SECONDS = _histogram("deposit_seconds", "A deposit's transaction")
STAGE_SECONDS = _counter("stage_seconds", "The same seconds by customer", "customer", "stage")
DEPOSIT_LAG = _histogram(
    "deposit_lag_seconds", "From the acceptance of a window's oldest batch to its deposit", LATENCY
)
REJECTED = _counter("rejected_events", "Events sent to quarantine", "customer", "reason")
QUARANTINED = _counter("quarantined_batches", "Whole batches sent to quarantine", "customer", "reason")
WITHHELD = _counter("withheld_rows", "Rows of quarantine over the day's budget", "customer")
BREAKER_OPENINGS = _counter("breaker_openings", "Times that the breaker opened", "customer")

# Measured by one dispatcher for all customers.
MEASURING = _gauge("measuring", "1 in the dispatcher that measures all customers, 0 in the others")
MEASURED = _gauge("measured_timestamp_seconds", "When the customers were last looked at, Unix time")
OLDEST_OWED = _gauge("oldest_owed_seconds", "Age of the oldest batch that is owed; 0 for none", "customer")
OWED_BATCHES = _gauge("owed_batches", "Batches accepted and not deposited", "customer")
OWED_BYTES = _gauge("owed_bytes", "Bytes of these batches, estimated where not dispatched", "customer")
IN_FLIGHT = _gauge("windows_in_flight", "Windows recorded and not deposited", "customer")
OWED_EXPIRY = _gauge(
    "owed_expiry_seconds", "Until retention removes the oldest owed batch, estimated", "customer"
)
STREAM_BATCHES = _gauge("stream_batches", "Batches that the raw stream holds", "customer")
STREAM_BYTES = _gauge("stream_bytes", "Bytes that the raw stream holds, estimated", "customer")
BREAKER_OPEN = _gauge("breaker_open", "1 while the breaker is open", "customer")
THROTTLE = _gauge("throttle_events_per_second", "Events a second that are dispatched at most", "customer")
CUSTOMERS = _gauge("customers", "Customers by state", "state")
CUSTOMER_STATE = _gauge("customer_state", "1 for the state that the customer is in", "customer", "state")
QUARANTINE_ROWS = _gauge("quarantine_rows", "Rows of quarantine that nobody has dealt with", "customer")
QUARANTINE_DAY_BYTES = _gauge("quarantine_day_bytes", "Bytes that came into quarantine today", "customer")
QUARANTINE_BUDGET = _gauge("quarantine_budget_bytes", "Bytes that may come on a day", "customer")
QUARANTINE_WITHHELD = _gauge("quarantine_withheld_rows", "Rows of today without their bytes", "customer")
BOOKS_DIFFERENCES = _gauge("books_differences", "Equations of the books that do not hold", "customer")
BOOKS_CHECKED = _gauge("books_checked_timestamp_seconds", "When the last whole round of checks began")
BOOKS_UNCHECKED = _gauge("books_unchecked_customers", "Customers whose books took too long to check")
WORKER_PROCESSES = _gauge("worker_processes", "Processes of the workers that are alive", "queue")
WORKERS_WANTED = _gauge("workers_wanted", "Worker processes that would keep up with what comes", "queue")
PEER_BEAT_AGE = _gauge("peer_beat_age_seconds", "Since the beat of the process changed", "process", "name")
PARTITIONS = _gauge("partitions", "Partitions that there are", "table")
PARTITIONS_AHEAD = _gauge("partitions_ahead_seconds", "Until the newest partition ends", "table")
DATABASE_BYTES = _gauge("database_bytes", "Size of the database")
DATABASE_WAL = _gauge("database_wal_bytes", "Size of its write-ahead log")

COUNTED = (
    *(PROCESS_INFO, BEAT, LOOP_DELAY, DATABASE_WAIT, RECONNECTS),
    *(LEASES, DISPATCHED_WINDOWS, DISPATCHED_BATCHES, DISPATCHED_BYTES, DUPLICATES, EXPIRED),
    *(RUNG_AGAIN, QUEUES_REFUSED, DISPATCH_WAITS),
    *(DELIVERIES, DEATHS, TASK_FAILURES, DEPOSITS, DEPOSITED_WINDOWS, DEPOSITED_BATCHES),
    *(DEPOSITED_EVENTS, DEPOSITED_BYTES, DEPOSIT_WINDOWS, GROUPED_WINDOWS, DECODE_SECONDS),
    *(PROCESS_SECONDS, DEPOSIT_SECONDS, STAGE_SECONDS, DEPOSIT_LAG, REJECTED, QUARANTINED),
    *(WITHHELD, BREAKER_OPENINGS),
)
"""What processes count in their lanes."""

SHOWN = (
    *(MEASURING, MEASURED, OLDEST_OWED, OWED_BATCHES, OWED_BYTES, IN_FLIGHT, OWED_EXPIRY),
    *(STREAM_BATCHES, STREAM_BYTES, BREAKER_OPEN, THROTTLE, CUSTOMERS, CUSTOMER_STATE),
    *(QUARANTINE_ROWS, QUARANTINE_DAY_BYTES, QUARANTINE_BUDGET, QUARANTINE_WITHHELD),
    *(BOOKS_DIFFERENCES, BOOKS_CHECKED, BOOKS_UNCHECKED, WORKER_PROCESSES, WORKERS_WANTED),
    *(PEER_BEAT_AGE, PARTITIONS, PARTITIONS_AHEAD, DATABASE_BYTES, DATABASE_WAL),
)
"""What the measuring dispatcher shows on its board."""
