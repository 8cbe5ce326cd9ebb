"""What waits for room among the unconfirmed: bounds, turns, deadlines, failures."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest
from structlog.testing import capture_logs

from streams.errors import BrokerUnavailable, Overloaded
from streams.publishing.confirms import ConfirmCall
from webapp.receiving.publish_queue import PublishQueue
from webapp.receiving.unconfirmed_log import PAUSE_S, UnconfirmedLog

DEADLINE_S = 30.0
Settled = Callable[[BrokerUnavailable | None], None]


class RoomForMessages:
    """A `Submit` with room for so many messages of each stream and of the process."""

    def __init__(self, of_stream: int, of_process: int) -> None:
        self.of_stream, self.of_process = of_stream, of_process
        self.under_way: list[tuple[str, bytes, Settled]] = []
        self.sent: list[str] = []
        self.closed = False

    def submit(self, stream: str, message: bytes, deadline_s: float, done: Settled) -> None:
        if self.closed:
            raise BrokerUnavailable("the Broker is closed")
        if sum(one[0] == stream for one in self.under_way) >= self.of_stream:
            raise Overloaded(process=False)
        if len(self.under_way) >= self.of_process:
            raise Overloaded(process=True)
        self.under_way.append((stream, message, done))
        self.sent.append(stream)

    def confirm(self, stream: str) -> None:
        found = next(one for one in self.under_way if one[0] == stream)
        self.under_way.remove(found)
        found[2](None)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():
            await asyncio.sleep(0.005)


def run(work: Coroutine[None, None, None]) -> None:
    asyncio.run(work)


def test_a_stream_that_never_confirms_is_refused_at_its_bound_and_no_other() -> None:
    async def stuck() -> None:
        room, found = RoomForMessages(1, 100), list[Exception | None]()
        queue = PublishQueue(room.submit, stream_bytes=1000, most_bytes=4000)
        for _ in range(11):
            queue.publish("a", bytes(100), DEADLINE_S, found.append)
        with pytest.raises(Overloaded) as refused:
            queue.publish("a", bytes(100), DEADLINE_S, found.append)
        assert not refused.value.process
        assert queue.held == 1000
        queue.publish("b", bytes(100), DEADLINE_S, found.append)
        room.confirm("b")
        assert found == [None]

    run(stuck())


def test_what_waits_of_all_streams_has_a_bound() -> None:
    async def crowded() -> None:
        room = RoomForMessages(1, 0)
        queue = PublishQueue(room.submit, stream_bytes=1000, most_bytes=2500)
        # One message may be larger than what may wait.
        queue.publish("large", bytes(2000), DEADLINE_S, print)
        queue.publish("a", bytes(500), DEADLINE_S, print)
        with pytest.raises(Overloaded) as refused:
            queue.publish("b", bytes(500), DEADLINE_S, print)
        assert refused.value.process
        assert queue.held == 2500

    run(crowded())


def test_streams_take_turns_when_the_process_is_full() -> None:
    async def turns() -> None:
        room, found = RoomForMessages(9, 1), list[Exception | None]()
        queue = PublishQueue(room.submit, stream_bytes=1000, most_bytes=4000)
        for stream in ["a", "a", "a", "a", "b", "b"]:
            queue.publish(stream, b"x", DEADLINE_S, found.append)
        for number in range(1, 7):
            await until(lambda number=number: len(room.sent) == number)  # type: ignore[misc]
            room.confirm(room.sent[-1])
        assert room.sent == ["a", "a", "b", "a", "b", "a"]
        assert found == [None] * 6
        assert queue.held == 0

    run(turns())


def test_what_waits_for_too_long_is_given_up() -> None:
    async def late() -> None:
        room, found = RoomForMessages(1, 9), list[Exception | None]()
        queue = PublishQueue(room.submit, stream_bytes=1000, most_bytes=4000)
        for _ in range(3):
            queue.publish("a", b"x", 0.01, found.append)
        await until(lambda: len(found) == 2)
        assert all(isinstance(one, Overloaded) for one in found)
        assert queue.held == 0
        # Nothing waits any more: the next is tried at once.
        room.of_stream = 2
        queue.publish("a", b"x", DEADLINE_S, found.append)
        assert len(room.under_way) == 2

    run(late())


def test_room_that_nobody_tells_of_is_found() -> None:
    async def found() -> None:
        room = RoomForMessages(0, 9)
        queue = PublishQueue(room.submit, stream_bytes=1000, most_bytes=4000)
        queue.publish("a", b"x", DEADLINE_S, print)
        room.of_stream = 1
        await until(lambda: len(room.under_way) == 1)
        assert queue.held == 0

    run(found())


def test_failures_stop_nothing_of_what_waits() -> None:
    async def failing() -> None:
        room, found, seen = RoomForMessages(1, 9), list[Exception | None](), list[object]()
        asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context["exception"]))
        queue = PublishQueue(room.submit, stream_bytes=1000, most_bytes=4000)

        def fail(error: Exception | None) -> None:
            raise OSError("an agent's own")

        queue.publish("a", b"x", DEADLINE_S, found.append)
        queue.publish("a", b"x", DEADLINE_S, fail)
        queue.publish("a", b"x", DEADLINE_S, found.append)
        room.closed = True
        await until(lambda: len(found) == 1 and len(seen) == 1)
        assert isinstance(found[0], BrokerUnavailable)
        assert queue.held == 0

    run(failing())


def test_a_call_that_fails_is_told_to_the_loop_and_to_nobody_else() -> None:
    async def failing() -> None:
        loop, seen = asyncio.get_running_loop(), list[object]()
        loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))

        def fail(error: BrokerUnavailable | None) -> None:
            raise OSError("an agent's own")

        confirmed, late = ConfirmCall("a", fail, loop), ConfirmCall("a", fail, loop)
        confirmed.expire_after(DEADLINE_S)
        confirmed.resolve(None)
        late.expire_after(0)
        await until(lambda: late.abandoned)
        late.resolve(None)
        assert [type(one) for one in seen] == [OSError, OSError]

    run(failing())


def test_a_customer_has_one_line_a_second_and_all_are_counted() -> None:
    now = [0.0]
    told = UnconfirmedLog(lambda: now[0])
    with capture_logs() as lines:
        for _ in range(5):
            told.tell("a", BrokerUnavailable("away"))
        told.tell("b", BrokerUnavailable("away"))
        now[0] = PAUSE_S
        told.tell("a", BrokerUnavailable("away"))
    assert [(line["customer"], line["batches"]) for line in lines] == [("a", 1), ("b", 1), ("a", 5)]
