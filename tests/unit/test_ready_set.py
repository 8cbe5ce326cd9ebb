"""Whoever waits for subscriptions is told of each, and of none only when there was none."""

import threading
import time

from streams.reading.ready_set import ReadySet

WAIT_S = 0.05


class Late(threading.Event):
    """Its setter is held up, as any thread may be anywhere."""

    def set(self) -> None:
        time.sleep(0.002)
        super().set()


def test_a_wait_does_not_end_before_its_time_without_anybody() -> None:
    arrivals = ReadySet[object]()
    arrivals._something = Late()
    for _ in range(10):
        adding = [threading.Thread(target=arrivals.add, args=(object(),)) for _ in range(2)]
        for each in adding:
            each.start()
        told: list[object] = []
        while len(told) < len(adding):
            told += arrivals.wait(60.0)
        for each in adding:
            each.join()
        began = time.monotonic()
        assert arrivals.wait(WAIT_S) == []
        assert time.monotonic() - began >= WAIT_S
