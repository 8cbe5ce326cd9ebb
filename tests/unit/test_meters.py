"""Meters: shared by processes, right when one of them is killed, bounded."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from webapp.limits import locked_memory
from webapp.limits.customer_meter import CustomerMeter
from webapp.limits.meters import Meters

DAY = 10
GROUPS, WAYS = CustomerMeter.GROUPS, CustomerMeter.WAYS


def in_a_fork(work: Callable[[], None], *, then: signal.Signals | None = None) -> int:
    """Run `work` in a process that was forked from this one; its pid. With `then` it ends itself so."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
        if then is not None:
            os.kill(os.getpid(), then)
        os._exit(0)
    finally:
        os._exit(1)


def status(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def follower(of: Meters[CustomerMeter]) -> Meters[CustomerMeter]:
    own = Meters(CustomerMeter, lanes=1)
    own.follow(of)
    return own


def add(those: Meters[CustomerMeter], customer_id: int, times: int) -> None:
    for _ in range(times):
        with those.open(customer_id, DAY) as meter:
            meter.batches_spent += 1
            meter.used += 3


def test_processes_that_count_at_once_lose_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    # A busy machine may stop who holds the lock for longer than others wait for it in earnest.
    monkeypatch.setattr(locked_memory, "LOCK_WAIT_S", 60.0)
    shared = Meters(CustomerMeter, lanes=4)
    pids = [in_a_fork(lambda: add(follower(shared), 7, 3_000)) for _ in range(3)]
    assert [status(pid) for pid in pids] == [0, 0, 0]
    with shared.open(7, DAY) as meter:
        assert (meter.batches_spent, meter.used) == (9_000, 27_000)
    with shared.open(7 + GROUPS, DAY) as other:
        assert (other.batches_spent, other.used) == (0, 0)


def test_what_a_killed_process_had_under_way_is_released_by_the_next_and_its_counts_stay() -> None:
    shared = Meters(CustomerMeter, lanes=3)

    def begin() -> None:
        with follower(shared).open(7, DAY) as meter:
            meter.requests += 1
            meter.held += 100
            meter.used += 5

    assert status(in_a_fork(begin, then=signal.SIGKILL)) == -signal.SIGKILL
    with shared.open(7, DAY) as meter:
        assert (meter.requests, meter.held, meter.used) == (1, 100, 5)

    def look() -> None:
        with follower(shared).open(7, DAY) as meter:
            assert (meter.requests, meter.held, meter.used) == (0, 0, 5)

    assert status(in_a_fork(look)) == 0


def test_a_process_that_begins_wipes_nothing_of_one_that_lives() -> None:
    shared = Meters(CustomerMeter, lanes=4)
    reading, writing = os.pipe()

    def live() -> None:
        mine = follower(shared)
        with mine.open(7, DAY) as meter:
            meter.requests += 2
        os.write(writing, b"x")
        signal.pause()

    pid = in_a_fork(live)
    assert os.read(reading, 1) == b"x"

    def look() -> None:
        with follower(shared).open(7, DAY) as meter:
            assert meter.requests == 2

    assert status(in_a_fork(look)) == 0
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_process_that_is_killed_or_stopped_with_a_meter_open_holds_nobody_up() -> None:
    shared = Meters(CustomerMeter, lanes=4)
    reading, writing = os.pipe()

    def hold() -> None:
        with follower(shared).open(7, DAY):
            os.write(writing, b"x")
            signal.pause()

    for last in (signal.SIGSTOP, signal.SIGKILL):
        pid = in_a_fork(hold)
        assert os.read(reading, 1) == b"x"
        os.kill(pid, last)
        begun = time.monotonic()
        add(shared, 7, 1)
        assert time.monotonic() - begun < 20
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with shared.open(7, DAY) as meter:
        assert meter.batches_spent == 2


def test_more_customers_than_places_forget_the_one_that_was_quiet_for_longest() -> None:
    meters = Meters(CustomerMeter, lanes=1)
    ids = [7 + GROUPS * number for number in range(WAYS + 1)]
    for customer_id in ids:
        with meters.open(customer_id, DAY) as meter:
            meter.used, meter.requests = 5, meter.requests + 1
    for customer_id in ids[1:]:
        with meters.open(customer_id, DAY) as meter:
            assert (meter.used, meter.requests) == (5, 1)
    with meters.open(ids[0], DAY) as meter:
        assert (meter.used, meter.requests) == (0, 0)


def test_to_look_at_a_meter_neither_makes_nor_keeps_one() -> None:
    meters = Meters(CustomerMeter, lanes=1)
    for customer_id in (7 + GROUPS * number for number in range(WAYS)):
        with meters.open(customer_id, DAY) as meter:
            meter.used = customer_id
    assert meters.look(7 + GROUPS * WAYS) is None
    first = meters.look(7)
    assert first is not None
    assert first.used == 7
    with meters.open(7 + GROUPS * WAYS, DAY):
        assert meters.look(7) is not None  # it makes room when it is written
    assert meters.look(7) is None


def test_a_new_day_begins_with_nothing_used_and_what_is_under_way() -> None:
    meters = Meters(CustomerMeter, lanes=1)
    with meters.open(7, DAY) as meter:
        meter.used = meter.others = meter.held = 5
    with meters.open(7, DAY + 1) as meter:
        assert (meter.day, meter.used, meter.others, meter.held) == (DAY + 1, 0, 0, 5)
