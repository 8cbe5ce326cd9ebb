"""How long a batch waits for others: longer where many come and where windows are in flight."""

import time
from collections import deque
from dataclasses import replace
from itertools import pairwise

import pytest

from db.ledger.workers import SHARED
from tasks.dispatcher.raw_streams.feed import LastRing
from tasks.dispatcher.scheduling.due_windows import DueWindows
from tasks.settings import TaskSettings
from tests.unit.test_groups import a_customer, feed

# By seconds of the oldest batch, batches that wait, and windows in flight: lingers that the oldest waits.
WAITS = {
    "a quiet customer": (2.0, 1, 0, 1.0),
    "windows in flight": (2.0, 1, 2, 3.0),
    "a busy customer": (2.0, 200, 0, 2.0),
    "both": (2.0, 200, 2, 4.0),
    "a very busy customer": (2.0, 5_000, 0, 4.0),
    "a few batches at once": (0.0, 5, 0, 1.5),
    "no longer than the limit": (2.0, 5_000, 4, 6.0),
}


@pytest.mark.parametrize(("age_s", "waits", "in_flight", "lingers"), WAITS.values(), ids=WAITS.keys())
def test_the_linger_grows(age_s: float, waits: int, in_flight: int, lingers: float) -> None:
    windows = DueWindows(settings=TaskSettings(linger_ms=1_000, linger_max_ms=6_000))
    windows.learn({1: a_customer(1)}, {SHARED: 1})
    one = feed(1, waits=waits, in_flight={number: LastRing(0.0) for number in range(in_flight)})
    seen_at_s = time.monotonic() - age_s
    one.pending = deque(replace(batch, seen_at_s=seen_at_s) for batch in one.pending)
    (end_s,) = windows.lingers_end_s([one])
    assert end_s - seen_at_s == pytest.approx(lingers, abs=0.1)


def test_lingers_of_several_busy_customers_end_together() -> None:
    windows = DueWindows(settings=TaskSettings(linger_ms=1_000, linger_max_ms=8_000))
    of_all = range(1, 9)
    windows.learn({of: a_customer(of) for of in of_all}, {SHARED: 1})
    feeds = {of: feed(of) for of in of_all}
    began_s = round(time.monotonic()) + 100.0  # not due for a while

    def waits_s() -> list[float]:
        for of, one in feeds.items():
            one.pending = deque(replace(batch, seen_at_s=began_s + of / 200) for batch in one.pending)
        return [end_s - began_s for end_s in windows.lingers_end_s(feeds.values())]

    alone = waits_s()
    assert [after - before for before, after in pairwise(alone)] == pytest.approx([1 / 200] * 7, abs=1e-6)
    assert not list(windows.due(feeds)), "nothing is due, and it is known who is busy now"
    assert waits_s() == pytest.approx([8.0] * 8, abs=1e-6)
