"""The one object through which a process talks to RabbitMQ streams."""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from streams import declaring, doorbell_queues, retrying
from streams.address import parse
from streams.connections.loop_thread import HostLoop, LoopThread, Runner
from streams.connections.pool import Pool, StreamState, stream_state
from streams.declaring import WantedStream
from streams.errors import (
    BrokerMisconfigured,
    BrokerUnavailable,
    ForeignProcess,
    StreamMissing,
)
from streams.messages.chunk import Message
from streams.publishing.publisher import Publisher
from streams.reading import read_range, read_until, stream_bounds
from streams.reading.read_range import Range, RangeRead
from streams.reading.ready_set import ReadySet
from streams.reading.subscription import Subscription
from streams.settings import StreamSettings

T = TypeVar("T")
_GOODBYE_S = 2.0
# What a stream may add to the time for many: five times what a node with thousands of streams took.
_CREATING_S = 0.05


class Broker:
    """One per process, made after the fork; every method may be called from any thread.

    Nothing is connected before it is needed, and what is lost is connected again. All methods raise
    BrokerUnavailable when the broker is away or does not answer in time, and ForeignProcess after a fork.
    """

    def __init__(self, settings: StreamSettings, *, reconnected: Callable[[], None] = lambda: None) -> None:
        """`reconnected` is called, on the loop's thread, when a lost connection was made again."""
        self._settings = settings
        self._reconnected = reconnected
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._running: _Running | None = None
        self._host: HostLoop | None = None

    def live_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use this loop, which the calling thread will run, in place of a thread. To be called before
        anything is connected; then no method but `submit` may be called on the loop while it runs.
        """
        self._host = HostLoop(loop)

    def close(self) -> None:
        """Says goodbye to the broker, within seconds in any case.

        Whoever still waits gets BrokerUnavailable.
        """
        if self._pid != os.getpid():
            return  # the connections belong to the parent
        with self._lock:
            self._closed = True
            running, self._running = self._running, None
        if running is not None:
            running.stop()

    @property
    def frame_max(self) -> int:
        """Largest frame, in bytes: as negotiated, or our own offer before the first connection."""
        return self._run().pool.frame_max

    def declare(self, stream: str, *, max_bytes: int, max_age_s: int, segment_bytes: int) -> None:
        """Creates the stream with this retention (bytes and age in seconds, by whole segments), or makes sure
        that the existing one has it; see declaring.verify. Raises BrokerMisconfigured when it has another.
        """
        timeout_s = self._settings.connect_timeout_s
        pool = self._run().pool
        wanted = WantedStream(
            name=stream, max_bytes=max_bytes, max_age_s=max_age_s, segment_bytes=segment_bytes
        )
        self._retrying(lambda: declaring.create(pool, wanted), timeout_s, f"creating {stream}")
        declaring.verify(self._settings.broker_url, wanted, timeout_s=timeout_s)

    def declare_all(
        self, streams: Sequence[WantedStream]
    ) -> dict[str, BrokerUnavailable | BrokerMisconfigured]:
        """As `declare` for each of them, 16 at once; returns what went wrong, by the stream's name.

        Give it at most 1,000 streams, so that it takes seconds.
        """
        timeout_s = self._settings.connect_timeout_s + len(streams) * _CREATING_S
        running = self._run()
        work = retrying.create_all(running.pool, streams, time.monotonic() + timeout_s)
        failed = running.thread.call(work, 2 * timeout_s, "creating streams")
        made = [one for one in streams if one.name not in failed]
        url = self._settings.broker_url
        return failed | declaring.verify_all(url, made, timeout_s=self._settings.connect_timeout_s)

    def exists(self, stream: str) -> bool:
        pool = self._run().pool
        try:
            timeout_s = self._settings.connect_timeout_s
            self._retrying(lambda: pool.locate(stream), timeout_s, f"locating {stream}")
        except StreamMissing:
            return False
        return True

    def states(self, streams: Sequence[str], *, deadline_s: float) -> dict[str, StreamState]:
        """Whether each of the streams is there and has a leader; a thousand are asked for at once."""
        pool = self._run().pool
        codes = self._retrying(lambda: pool.states(streams), deadline_s, "looking for streams")
        return {name: stream_state(code) for name, code in codes.items()}

    def release(self, *, deadline_s: float) -> str:
        """The version of the node that answers, as it names it to a client of the stream protocol."""
        pool = self._run().pool
        control = self._retrying(pool.control, deadline_s, "connecting")
        return str((control.server_properties or {}).get("version", "unknown"))

    def delete(self, stream: str) -> None:
        """Removes the stream and all that it holds; a stream that is not there is fine."""
        pool = self._run().pool
        try:
            timeout_s = self._settings.connect_timeout_s
            self._retrying(lambda: declaring.delete(pool, stream), timeout_s, f"deleting {stream}")
        except StreamMissing:
            return

    def doorbells(self, queues: Sequence[str]) -> "dict[str, doorbell_queues.QueueState]":
        """Those of the AMQP queues that are there."""
        return doorbell_queues.waiting(self._settings.broker_url, queues, self._settings.connect_timeout_s)

    def remove_doorbells(self, queue: str) -> bool:
        """False when there is no such queue.

        Raises BrokerMisconfigured: a stream, another program's, or in use.
        """
        return doorbell_queues.remove(self._settings.broker_url, queue, self._settings.connect_timeout_s)

    def ready(self, timeout_s: float) -> bool:
        """True when the broker has answered a request of ours within `timeout_s`; false once closed."""
        try:
            running = self._run()
            running.thread.call(running.pool.ping(), timeout_s, "asking the broker")
        except BrokerUnavailable:
            return False
        return True

    def publish(self, stream: str, message: bytes, *, deadline_s: float) -> None:
        """Returns after the broker's confirm, never before; messages of many callers share frames.

        Raises Overloaded at once when too many bytes wait for their confirm, TooLarge when no frame can hold
        the message, StreamMissing, Refused; BrokerUnavailable when the connection is lost or the deadline
        passes: then the message may be in the stream or not, and nobody sends it again.
        """
        self._run().publisher.publish(stream, (message,), deadline_s)

    def submit(
        self,
        stream: str,
        message: bytes,
        deadline_s: float,
        done: Callable[[BrokerUnavailable | None], None],
    ) -> None:
        """As `publish`, on the loop that `live_on` named, without waiting: `done` is called there later, with
        None after the confirm, else with the error. Raises Overloaded and TooLarge at once.
        """
        self._run().publisher.submit(stream, message, deadline_s, done)

    def publish_all(self, stream: str, messages: Sequence[bytes], *, deadline_s: float) -> None:
        """Like `publish` for messages in order; after an error any part of them may be in the stream."""
        self._run().publisher.publish_all(stream, messages, deadline_s)

    def read(self, stream: str, first: int, last: int, *, deadline_s: float) -> list[Message]:
        """The messages first..last in order, the ends included.

        When retention has removed `first`, what is left of the range is returned, nothing at all perhaps:
        compare the first offset. Raises StreamEnds when the newest offset is below `last`: it is looked up
        when nothing more has come for 50 ms. Retries over lost connections until the deadline.
        """
        pool = self._run().pool
        what = f"reading {stream} {first}..{last}"
        return self._retrying(lambda: read_range.read(pool, stream, first, last), deadline_s, what)

    def read_each(self, ranges: Sequence[Range], *, within_s: float) -> list[RangeRead]:
        """As `read` of each (stream, first, last), all at once and tried once: its messages, or its error."""
        work = read_range.read_each(self._run().pool, ranges, within_s)
        return self._run().thread.call(work, 2 * within_s, f"reading {len(ranges)} streams")

    def read_until(
        self, stream: str, first: int, enough: Callable[[Message], bool], *, deadline_s: float
    ) -> list[Message]:
        """The messages from `first` to the end of the chunk that holds the first one `enough` says yes to.

        `enough` is called once for each message, in order, on the loop's thread: it must be quick; its
        ValueError is raised here. Raises StreamEnds when there is no more message and it has not said yes.
        Retries over lost connections until the deadline; then `enough` sees the messages again.
        """
        pool = self._run().pool
        what = f"reading {stream} from {first}"
        return self._retrying(lambda: read_until.read_until(pool, stream, first, enough), deadline_s, what)

    def last_offset(self, stream: str, *, deadline_s: float) -> int | None:
        """Offset of the newest message, None when there is none; the newest chunk is transferred for it."""
        pool = self._run().pool
        return self._retrying(lambda: stream_bounds.last_offset(pool, stream), deadline_s, f"end of {stream}")

    def first_offset(self, stream: str, *, deadline_s: float) -> int | None:
        """Offset of the oldest message that is kept, None when there is none."""
        pool = self._run().pool
        return self._retrying(
            lambda: stream_bounds.first_offset(pool, stream), deadline_s, f"start of {stream}"
        )

    def follow(self, stream: str, offset: int, *, credit: int = 2) -> Subscription:
        """Messages from `offset` on, as they come; returns at once and connects in the background.

        Read something of the stream before, so that one that can't be opened by its node costs no connection
        that the followers of other streams share. After a loss that is done here.
        """
        running = self._run()
        subscription = Subscription(
            stream, offset, credit, running.pool, running.arrivals, running.thread.loop
        )
        running.thread.loop.call_soon_threadsafe(subscription.start)
        return subscription

    def wait(self, timeout_s: float) -> list[Subscription]:
        """Returns as soon as subscriptions have got chunks, have counted a loss, or have turned `missing`:
        those that did since the last call; none of them after `timeout_s`. For one thread at a time.
        """
        return self._run().arrivals.wait(timeout_s)

    def _run(self) -> "_Running":
        if self._pid != os.getpid():
            raise ForeignProcess("this Broker was made in another process; make one after the fork")
        running = self._running
        if running is None:
            with self._lock:
                if self._closed:
                    raise BrokerUnavailable("the Broker is closed")
                running = self._running = self._running or _Running(
                    self._settings, self._reconnected, self._host or LoopThread()
                )
        return running

    def _retrying(self, attempt: Callable[[], Awaitable[T]], deadline_s: float, what: str) -> T:
        """For what may be repeated: tries again after BrokerUnavailable for as long as the deadline allows.

        While the stream has no leader, for `retrying.ELECTION_S` at most.
        """
        return self._run().thread.call(
            retrying.retry(attempt, time.monotonic() + deadline_s), deadline_s, what
        )


class _Running:
    """What exists once the Broker is used: what runs the loop, and what lives in it."""

    def __init__(self, settings: StreamSettings, reconnected: Callable[[], None], runner: Runner) -> None:
        self.thread = runner
        self.pool = Pool(parse(settings.url), settings, reconnected)
        self.publisher = Publisher(settings, self.pool, self.thread.loop)
        self.arrivals = ReadySet[Subscription]()

    def stop(self) -> None:
        with contextlib.suppress(BrokerUnavailable):  # the thread goes next, with everything in it
            self.thread.call(self.pool.close(_GOODBYE_S), _GOODBYE_S + 1, "closing")
        self.thread.stop(_GOODBYE_S)
