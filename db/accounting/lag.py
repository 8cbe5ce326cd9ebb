"""How far behind each customer is, in what was dispatched; of what was not, the stream knows."""

from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, func, select, text

from db.accounting.measured import NO_WINDOWS, open_windows
from db.tables import customers, windows

# Of the newest windows, at most so many a customer: the newest say how it is now, and the query stays short.
_MOST_WINDOWS = 20_000
_WINDOWS_EACH = 200
_MOST_BATCHES = 200_000
_LATENCIES = text(
    "SELECT w.customer_id, w.deposited_at - b.accepted_at FROM ("
    " SELECT id, customer_id, deposited_at,"
    " ROW_NUMBER() OVER (PARTITION BY customer_id ORDER BY deposited_at DESC) AS place FROM ("
    " SELECT id, customer_id, deposited_at FROM windows WHERE deposited_at > :since"
    " ORDER BY deposited_at DESC LIMIT :most_windows) newest"
    ") w JOIN batches b ON b.window_id = w.id WHERE w.place <= :windows_each LIMIT :most_batches"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DepositLatency:
    """µs from accepted to committed, over a sample of batches."""

    batches: int
    p50_us: int
    p99_us: int
    p999_us: int
    max_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """Windows and batches in flight now; events and batches deposited in the time looked at.

    `oldest_accepted_at` is of the batches in flight. `latency` is None when nothing was deposited.
    """

    customer_id: int
    slug: str
    windows: int
    batches: int
    oldest_accepted_at: int | None
    deposited_batches: int
    deposited_events: int
    latency: DepositLatency | None


def lag(conn: Connection, now_us: int, *, seconds: float = 60) -> list[Lag]:
    """Of all customers by slug, looking back over so many seconds; few queries whatever their number."""
    since = now_us - int(seconds * 1e6)
    in_flight, deposited, latencies = open_windows(conn), _deposited(conn, since), _latencies(conn, since)
    found = []
    for customer_id, slug in conn.execute(
        select(customers.c.id, customers.c.slug).order_by(customers.c.slug)
    ):
        owed = in_flight.get(customer_id, NO_WINDOWS)
        deposited_batches, deposited_events = deposited.get(customer_id, (0, 0))
        found.append(
            Lag(
                customer_id=customer_id,
                slug=slug,
                windows=owed.windows,
                batches=owed.batches,
                oldest_accepted_at=owed.oldest_accepted_at,
                deposited_batches=deposited_batches,
                deposited_events=deposited_events,
                latency=latencies.get(customer_id),
            )
        )
    return found


def _deposited(conn: Connection, since_us: int) -> dict[int, tuple[int, int]]:
    """(batches, events) of customers that had any."""
    sums = select(func.max(windows.c.customer_id), func.sum(windows.c.batches), func.sum(windows.c.decoded))
    # Grouped by the bare column, SQLite would rather walk all windows in the order of their customers.
    by_customer = windows.c.customer_id + 0
    rows = conn.execute(sums.where(windows.c.deposited_at > since_us).group_by(by_customer))
    return {row[0]: (int(row[1]), int(row[2])) for row in rows}


def _latencies(conn: Connection, since_us: int) -> dict[int, DepositLatency]:
    bounds = {"most_windows": _MOST_WINDOWS, "windows_each": _WINDOWS_EACH, "most_batches": _MOST_BATCHES}
    sample = np.array(
        [tuple(row) for row in conn.execute(_LATENCIES, {"since": since_us, **bounds})], dtype=np.int64
    ).reshape(-1, 2)
    sample = sample[np.lexsort((sample[:, 1], sample[:, 0]))]
    owners, starts = np.unique(sample[:, 0], return_index=True)
    groups = np.split(sample[:, 1], starts[1:])
    return {int(owner): _latency(group) for owner, group in zip(owners, groups, strict=False)}


def _latency(ordered: np.ndarray[tuple[int], np.dtype[np.int64]]) -> DepositLatency:
    p50, p99, p999 = np.percentile(ordered, (50, 99, 99.9), method="higher").tolist()
    count = len(ordered)
    return DepositLatency(
        batches=count, p50_us=int(p50), p99_us=int(p99), p999_us=int(p999), max_us=int(ordered[-1])
    )
