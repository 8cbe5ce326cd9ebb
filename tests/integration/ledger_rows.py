"""Short ways to bring a ledger into a state, through the same functions that the processes use."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from db.customers import pipeline_versions, rows as customers
from db.customers.rows import Customer
from db.engine import begin
from db.ledger import deposits, dispatch, windows
from db.ledger.deposits import DepositedWindow
from db.ledger.dispatch import NewBatch, NewWindow
from db.quarantine.rows import NewQuarantine

NOW_US = 1_700_000_000_000_000
DAILY_BYTES = 1 << 20  # in quarantine
T = TypeVar("T")


def add_customer(engine: Engine, slug: str) -> Customer:
    with begin(engine) as conn:
        customer = customers.add(conn, slug)
        pipeline_versions.put(conn, customer.id, "{}")
    return customer


def claim(engine: Engine, customer: Customer, holder: str = "first") -> int:
    with begin(engine) as conn:
        epoch = dispatch.claim(conn, customer.id, holder)
    assert epoch is not None
    return epoch


def new_window(first: int, last: int, **changes: Any) -> NewWindow:
    values: dict[str, Any] = {
        "first_offset": first,
        "last_offset": last,
        "batches": last - first + 1,
        "bytes": 1000 * (last - first + 1),
        "pipeline_version": 1,
        "created_at": NOW_US,
        "first_accepted_at": NOW_US - 1000,
        "last_accepted_at": NOW_US,
    }
    return NewWindow(**values | changes)


def new_batch(offset: int, **changes: Any) -> NewBatch:
    values: dict[str, Any] = {
        "batch_id": f"batch-{offset}",
        "digest": offset.to_bytes(32, "big"),
        "first_offset": offset,
        "accepted_at": NOW_US,
    }
    return NewBatch(**values | changes)


def new_quarantine(offset: int, **changes: Any) -> NewQuarantine:
    values: dict[str, Any] = {
        "window_id": None,
        "stream_offset": offset,
        "batch_id": f"batch-{offset}",
        "row": None,
        "reason": "batch_id_reused",
        "detail": "",
        "format": "ndjson",
        "content_encoding": "",
        "accepted_at": NOW_US,
        "created_at": NOW_US,
        "bytes": b"{}",
    }
    return NewQuarantine(**values | changes)


def record(engine: Engine, customer: Customer, epoch: int, first: int, last: int, **changes: Any) -> int:
    """Record a window of fresh batches at these offsets."""
    values: dict[str, Any] = {
        "next_offset_before": first,
        "next_offset_after": last + 1,
        "window": new_window(first, last),
        "batches": [new_batch(offset) for offset in range(first, last + 1)],
        "duplicates": 0,
        "reused": (),
        "discarded": 0,
        "expired": 0,
        "quarantine_daily_bytes": DAILY_BYTES,
    }
    with begin(engine) as conn:
        window_id = dispatch.record(conn, customer_id=customer.id, epoch=epoch, **values | changes)
    assert window_id is not None
    return window_id


def deposit(
    engine: Engine, customer: Customer, before: int, closing: Sequence[DepositedWindow], now_us: int = NOW_US
) -> None:
    with begin(engine) as conn:
        deposits.advance(conn, customer.id, before, before + len(closing))
        deposits.mark(conn, [counted(conn, window) for window in closing], now_us)


def counted(conn: Connection, one: DepositedWindow) -> DepositedWindow:
    """With the number of batches that the window really holds, unless another is given."""
    window = windows.get(conn, one.id)
    held = window.batches if window else 0
    return replace(one, batches=one.batches or held)


def deposited(
    window_id: int,
    *,
    batches: int = 0,
    kept: int = 0,
    kept_logs: int = 0,
    dropped: int = 0,
    rejected: int = 0,
    quarantined: int = 0,
) -> DepositedWindow:
    return DepositedWindow(
        id=window_id,
        batches=batches,
        decoded=kept + dropped + rejected,
        kept=kept,
        kept_logs=kept_logs,
        dropped=dropped,
        rejected=rejected,
        quarantined=quarantined,
    )


def at_once(acts: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """What each returned or raised, each in a thread, all let go together."""
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], T]) -> T | Exception:
        barrier.wait(30)
        try:
            return act()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(acts)) as threads:
        return list(threads.map(run, acts))
