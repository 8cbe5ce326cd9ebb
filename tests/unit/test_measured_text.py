"""What the measuring dispatcher shows of many customers."""

from typing import Any

import pytest

from db.accounting.measured import OpenWindows, Storage
from db.customers.rows import Customer
from operators import OTHER
from streams.settings import RetentionSettings
from tasks.measures.board_text import WholeFigures, chosen, idle, shown
from tasks.measures.figures import CustomerFigures
from tasks.measures.names import SHOWN
from tests.measured import Scrape, parsed

NOW_US = 1_700_000_000_000_000
RETENTION = RetentionSettings(raw_age_s=1000, raw_bytes=1 << 30)


def customer(number: int, **changes: Any) -> Customer:
    values: dict[str, Any] = {
        "id": number,
        "slug": f"customer-of-number-{number}",
        "state": "active",
        "events_per_second": None,
        "bytes_per_second": None,
        "batches_per_second": None,
        "concurrent_requests": None,
        "daily_bytes": None,
        "pipeline_version": 1,
        "routes": {},
        "retention_days": 1,
        "created_at": 0,
        "updated_at": 0,
    }
    return Customer(**values | changes)


def figures(number: int, *, age_s: float = 0.0, cost: float = 0.0, **changes: Any) -> CustomerFigures:
    found = CustomerFigures(customer=customer(number, **changes), cost=cost)
    if age_s:
        oldest = NOW_US - int(age_s * 1e6)
        found.open = OpenWindows(windows=1, batches=2, bytes=300, oldest_accepted_at=oldest)
    return found


def scrape(of: list[CustomerFigures], *, most: int = 8, **changes: Any) -> Scrape:
    text = shown(
        of,
        WholeFigures(**changes),
        now_us=NOW_US,
        most_names=most,
        retention=RETENTION,
        daily_bytes=5,
    )
    return parsed(text.decode())


def test_the_rest_is_shown_together() -> None:
    many = [figures(number, age_s=1.0 + number, cost=float(number)) for number in range(100)]
    found = scrape(many)
    assert len(found.customers()) == 9
    assert found.total("sluice_owed_batches") == 200
    assert found.value("sluice_oldest_owed_seconds", customer="customer-of-number-99") == 100.0
    others = [one for one in many if one.customer.slug not in found.customers()]
    assert found.value("sluice_owed_bytes", customer=OTHER) == 300 * len(others)
    oldest = max(one.oldest_owed_s(NOW_US) for one in others)
    assert found.value("sluice_oldest_owed_seconds", customer=OTHER) == oldest
    assert found.value("sluice_owed_expiry_seconds", customer=OTHER) == 1000 - oldest


def test_who_is_in_trouble_is_named_however_little_it_sends() -> None:
    many = [figures(number, cost=1e9) for number in range(100)]
    many.append(figures(100, breaker_reason="malformed"))
    many.append(figures(101))
    many[-1].differences = 2
    found = scrape(many)
    assert found.value("sluice_breaker_open", customer="customer-of-number-100") == 1
    assert found.value("sluice_books_differences", customer="customer-of-number-101") == 2
    assert len(chosen(many, 8, NOW_US)) == 8


def test_a_deleted_customer_is_gone() -> None:
    both = [figures(1, age_s=1.0), figures(2, age_s=1.0)]
    assert scrape(both).customers() == {"customer-of-number-1", "customer-of-number-2"}
    assert scrape(both[:1]).customers() == {"customer-of-number-1"}


def test_everything_that_is_listed_can_be_shown() -> None:
    one = figures(1, age_s=1.0, events_per_second=7)
    found = scrape(
        [one],
        processes={"shared": 2},
        wanted={"shared": 3},
        beats={("worker", 'a"b\\c\n'): 1.0},
        storage=Storage(bytes=1, wal_bytes=2, partitions={"events": (3, 4.0)}),
    )
    assert set(found.kinds) == {measure.name for measure in SHOWN}
    assert found.value("sluice_peer_beat_age_seconds", process="worker", name='a"b\\c\n') == 1.0
    assert set(parsed(idle().decode()).series.values()) == {0.0}


def test_only_what_was_in_the_stream_before_the_cursor_was_read_waits_for_dispatch() -> None:
    one = figures(1)
    one.batch_bytes = 10.0
    one.stream.seen(1.0, 8)
    assert one.owed_batches == 0, "nobody has read the cursor since"
    one.looked(5, OpenWindows())
    one.stream.read_offset, one.stream.read_accepted_at = 5, NOW_US - 7_000_000
    one.stream.seen(2.0, 100)
    assert (one.owed_batches, one.owed_bytes, one.oldest_owed_s(NOW_US)) == (3, 30.0, 7.0)
    one.looked(100, OpenWindows())
    assert (one.owed_batches, one.oldest_owed_s(NOW_US)) == (0, 0.0)
    one.stream.seen(3.0, 101)
    one.looked(100, OpenWindows())
    assert (one.owed_batches, one.oldest_owed_s(NOW_US)) == (1, 0.0), "of another batch than the one of then"


def test_what_retention_has_removed_is_not_owed() -> None:
    one = figures(1)
    one.stream.first = 6
    one.stream.seen(1.0, 8)
    one.looked(5, OpenWindows())
    assert one.owed_batches == 2


@pytest.mark.parametrize(("pace", "expected"), [(0.0, 900.0), (1e5, (2**30 - 300) / (1e5 * 150))])
def test_retention_is_by_age_or_by_the_bytes_that_come(pace: float, expected: float) -> None:
    one = figures(1, age_s=100.0)
    one.worked(0, 0, 5.0)
    assert one.batch_bytes == 150
    one.stream.batches_per_s = pace
    assert one.expires_in_s(NOW_US, RETENTION) == pytest.approx(expected)
