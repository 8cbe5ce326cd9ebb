"""Look-ups that go together: what waits for what, for how long, and how many at once."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError

import pytest

from db.customers.rows import Customer
from webapp.receiving.key_lookups import MOST_AT_ONCE, Lookup, LookupThread

DEADLINE_S = 30


class AskedTogether:
    """A thread of look-ups that answers all with None, and what it was asked."""

    def __init__(self, gather_s: float = 60, most: int = 10_000) -> None:
        self.lock = threading.Lock()
        self.queries: queue.Queue[list[bytes]] = queue.Queue()
        self.thread = LookupThread[Customer](
            "gathering", self.lock, self._look_up, most=most, gather_s=gather_s
        )

    def ask(
        self, digest: bytes, *, urgent: bool = False, one_at_a_time: bool = False
    ) -> Lookup[Customer] | None:
        with self.lock:
            return self.thread.ask(digest, urgent=urgent, one_at_a_time=one_at_a_time)

    def query(self) -> list[bytes]:
        return self.queries.get(timeout=DEADLINE_S)

    def _look_up(self, lookups: LookupThread[Customer], digests: Sequence[bytes]) -> None:
        self.queries.put(list(digests))
        with self.lock:
            promised = lookups.end(digests)
        for found in promised:
            found.set_result(None)


Make = Callable[..., AskedTogether]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[AskedTogether] = []

    def asked(**changes: float) -> AskedTogether:
        made.append(AskedTogether(**changes))  # type: ignore[arg-type] # ints and floats mixed
        return made[-1]

    yield asked
    for one in made:
        one.thread.close()


def test_what_is_not_urgent_waits_for_others_and_goes_with_the_first_that_is(make: Make) -> None:
    asked = make()
    first = asked.ask(b"first")
    assert first is not None
    assert asked.ask(b"first") is first
    time.sleep(0.05)
    assert asked.queries.empty()
    asked.ask(b"second", urgent=True)
    assert asked.query() == [b"first", b"second"]
    assert first.found.result(DEADLINE_S) is None


def test_what_waits_already_becomes_urgent_and_what_comes_later_waits_again(make: Make) -> None:
    asked = make()
    for _ in range(2):
        lookup = asked.ask(b"waits")
        time.sleep(0.05)
        assert asked.queries.empty()
        assert asked.ask(b"waits", urgent=True) is lookup
        assert asked.query() == [b"waits"]
        assert lookup is not None
        lookup.found.result(DEADLINE_S)


def test_what_is_not_urgent_goes_when_its_time_is_over(make: Make) -> None:
    asked = make(gather_s=0.05)
    asked.ask(b"alone")
    assert asked.query() == [b"alone"]


def test_a_full_query_waits_for_nothing_and_no_query_is_fuller(make: Make) -> None:
    asked = make()
    digests = [number.to_bytes(32) for number in range(MOST_AT_ONCE + 1)]
    with asked.lock:
        for digest in digests:
            asked.thread.ask(digest, urgent=False, one_at_a_time=False)
    assert asked.query() == digests[:-1]
    assert asked.query() == digests[-1:]


def test_no_more_wait_than_may(make: Make) -> None:
    asked = make(most=2)
    first = asked.ask(b"1")
    assert first is not None
    assert asked.ask(b"2", one_at_a_time=True) is None
    assert asked.ask(b"2") is not None
    assert asked.ask(b"3") is None
    assert asked.ask(b"1") is first


def test_closing_waits_for_no_time_to_be_over_and_answers_nobody(make: Make) -> None:
    asked = make()
    lookup = asked.ask(b"waits")
    assert lookup is not None
    asked.thread.close()
    with pytest.raises(CancelledError):
        lookup.found.result(DEADLINE_S)
    assert asked.ask(b"later", urgent=True) is None
    end = time.monotonic() + DEADLINE_S
    while any(thread.name.startswith("gathering") for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert asked.queries.empty()
