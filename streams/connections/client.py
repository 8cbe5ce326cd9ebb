"""One connection to one broker node: rstream's client with a listener of our own."""

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from rstream import exceptions, schema
from rstream.client import Client
from rstream.encoding import decode_frame, encode_frame

from streams.address import Address, Node
from streams.connections import frames
from streams.connections.frame_cutter import FrameCutter
from streams.connections.id_slots import IdHolder, IdSlots
from streams.errors import BrokerUnavailable, Leaderless, Refused, StreamMissing, UnfitMessage
from streams.settings import StreamSettings

# A connection that is lost is tried again at once; Backoff says how long when that fails.
_SOON_S = 0.05
_STREAM_DOES_NOT_EXIST = exceptions.StreamDoesNotExist.code
_STREAM_NOT_AVAILABLE = exceptions.StreamNotAvailable.code


class Publishing(IdHolder, Protocol):
    """Who publishes under a publisher id."""

    def confirmed(self, publishing_ids: Iterable[int]) -> None: ...
    def refused(self, publishing_id: int, code: int) -> None: ...
    def writable(self) -> None: ...


class Receiving(IdHolder, Protocol):
    """Who receives the chunks of a subscription id."""

    def deliver(self, chunk: frames.DeliveredChunk) -> None: ...
    def unfit(self, error: UnfitMessage) -> None: ...


class StreamClient(Client):
    """Lives on the loop's thread only. Once `lost` is set it never comes back; make another.

    Chunks and confirms are parsed here and go to `receivers` and `publishers` by their id; all else goes
    through rstream's codec to whoever waits for it. Any failure, of the socket, of a frame that can't be
    read, of the watchdog, ends in `fail`: the socket is dropped and everybody who waits gets the reason.
    """

    def __init__(
        self,
        address: Address,
        node: Node,
        settings: StreamSettings,
        on_lost: Callable[[], None],
        *,
        tls: ssl.SSLContext | None,
    ) -> None:
        """`tls`: what `tls_context` made of the address, once for all its connections."""
        super().__init__(
            node.host,
            node.port,
            ssl_context=tls,
            frame_max=settings.frame_max,
            heartbeat=settings.heartbeat_s,
            connection_name="sluice",
        )
        self._address = address
        self._settings = settings
        self._on_lost = on_lost
        self._protocol = FrameCutter(self._on_frame, self.fail, self._on_resume)
        self._transport: asyncio.WriteTransport | None = None
        self._beat: asyncio.Task[None] | None = None
        self._heard = 0.0
        self._next_publishing_id = 1
        self.publishers: IdSlots[Publishing] = IdSlots()
        self.receivers: IdSlots[Receiving] = IdSlots()
        self.lost: Exception | None = None
        self._background: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        """Connects and logs in. Raises BrokerUnavailable; a wrong password is Refused, a wrong vhost too."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                self._transport, _ = await loop.create_connection(
                    lambda: self._protocol, self.host, self.port, ssl=self._ssl_context
                )
                self._heard = loop.time()
                await self.authenticate(self._address.vhost, self._address.user, self._address.password)
        except asyncio.CancelledError:
            self.fail(BrokerUnavailable("connecting was given up"))
            raise
        except Exception as error:
            reason = as_unavailable(error, f"connecting to {self.host}:{self.port}")
            self.fail(reason)
            raise reason from error
        self._beat = asyncio.create_task(self._keep_beating())

    @property
    def advertised(self) -> Node:
        """The address under which this node appears in the metadata of streams."""
        properties = self.server_properties or {}
        host = properties.get("advertised_host", self.host)
        return Node(host, int(properties.get("advertised_port", self.port)))

    def _start_heartbeat(self) -> None:
        """Keeps rstream's own heartbeat, which only logs a silence, from starting; see _keep_beating."""

    async def _keep_beating(self) -> None:
        loop = asyncio.get_running_loop()
        period = self._heartbeat or self._settings.heartbeat_s
        while self.lost is None:
            await asyncio.sleep(period / 2)
            silent = loop.time() - self._heard
            if silent > 2 * period:
                self.fail(ConnectionError(f"the broker has been silent for {silent:.1f} s"))
                return
            if not self._protocol.paused:
                await self.send_frame(schema.Heartbeat())

    async def send_frame(self, frame: schema.Frame, version: int = 1) -> None:
        self.write(encode_frame(frame, version))

    def write(self, data: bytes) -> None:
        """Hands a frame to the socket; never blocks. Raises BrokerUnavailable when the connection is lost."""
        if self.lost is not None or self._transport is None:
            raise as_unavailable(self.lost or ConnectionError("not connected"), "writing")
        self._transport.write(data)

    @property
    def paused(self) -> bool:
        """The socket takes no more for now; publishers wait for `writable`."""
        return self._protocol.paused

    def _on_resume(self) -> None:
        for publisher in self.publishers.everyone():
            publisher.writable()

    def _on_frame(self, frame: memoryview, owned: bool) -> None:
        self._heard = asyncio.get_running_loop().time()
        key = frame[0] << 8 | frame[1]
        if key == frames.DELIVER:
            self._on_deliver(frame, owned)
        elif key == frames.PUBLISH_CONFIRM:
            publisher_id, ids = frames.decode_confirm(frame)
            if publisher := self.publishers.get(publisher_id):
                publisher.confirmed(ids)
        elif key == frames.PUBLISH_ERROR:
            publisher_id, refusals = frames.decode_publish_error(frame)
            if publisher := self.publishers.get(publisher_id):
                for publishing_id, code in refusals:
                    publisher.refused(publishing_id, code)
        else:
            self._on_other(decode_frame(bytes(frame)))

    def _on_deliver(self, frame: memoryview, owned: bool) -> None:
        receiver = self.receivers.get(frames.subscription_of(frame))
        if receiver is None:
            return  # what was under way when we unsubscribed
        try:
            chunk = frames.decode_deliver(frame if owned else memoryview(bytes(frame)))
        except UnfitMessage as error:
            receiver.unfit(error)
        else:
            receiver.deliver(chunk)

    def _on_other(self, frame: schema.Frame) -> None:
        if isinstance(frame, schema.Heartbeat | schema.CreditResponse):
            return  # a credit is only refused for a subscription that is gone, which MetadataUpdate tells
        if isinstance(frame, schema.Close):
            self.write(encode_frame(schema.CloseResponse(frame.correlation_id, 1)))
            self.fail(Refused(f"the broker closed the connection: {frame.reason}", code=frame.code))
        elif isinstance(frame, schema.MetadataUpdate):
            self._on_stream_gone(frame.metadata_info.stream)
        elif (waiter := self._waiters.get((frame.key, frame.corr_id))) and not waiter.done():
            waiter.set_result(frame)

    def _on_stream_gone(self, stream: str) -> None:
        """The stream was deleted or its leader moved: the broker has dropped its ids on this connection."""
        error = BrokerUnavailable(f"stream {stream} was deleted or has moved")
        self.publishers.take_away(stream, error)
        self.receivers.take_away(stream, error)

    def fail(self, error: Exception) -> None:
        """Ends the connection; everybody who waits on it gets `error`. Later calls do nothing."""
        if self.lost is not None:
            return
        self.lost = error
        if self._transport is not None:
            self._transport.abort()
        if self._beat is not None:
            self._beat.cancel()
        reason = as_unavailable(error, f"connection to {self.host}:{self.port}")
        for waiter in list(self._waiters.values()):
            if not waiter.done():
                waiter.set_exception(reason)
                waiter.exception()  # marks it as seen: its request may have failed before it was awaited
        self.publishers.take_all_away(reason)
        self.receivers.take_all_away(reason)
        self._on_lost()

    async def shut(self, timeout_s: float) -> None:
        """Says goodbye and closes, within `timeout_s` in any case."""
        if self.lost is None:
            try:
                async with asyncio.timeout(timeout_s):
                    goodbye = schema.Close(self._corr_id_seq.next(), code=1, reason="OK")
                    await self.sync_request(goodbye, resp_schema=schema.CloseResponse)
            except (TimeoutError, BrokerUnavailable, exceptions.ServerError):
                pass  # the socket is dropped next, which says the same
            self.fail(BrokerUnavailable("closed by us"))

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work` without anybody waiting for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def correlation(self) -> int:
        """A number that the answer to a request will carry."""
        number: int = self._corr_id_seq.next()
        return number

    def take_publishing_ids(self, count: int) -> int:
        """First of `count` consecutive publishing ids that no publisher of this connection has used."""
        first = self._next_publishing_id
        self._next_publishing_id += count
        return first


def tls_context(address: Address) -> ssl.SSLContext | None:
    """Of an address with TLS. Making it reads all certificates of the system: tens of milliseconds."""
    return ssl.create_default_context() if address.tls else None


def as_unavailable(error: Exception, doing: str) -> BrokerUnavailable:
    """The error of ours that stands for one of rstream's, asyncio's or the socket's."""
    if isinstance(error, BrokerUnavailable):
        return error
    if isinstance(error, TimeoutError):
        return BrokerUnavailable(f"{doing}: no answer in time")
    if isinstance(error, exceptions.ServerError):
        return Refused(f"{doing}: the broker answered {type(error).__name__} ({error.code})", code=error.code)
    return BrokerUnavailable(f"{doing}: {type(error).__name__}: {error}", retry_after_s=_SOON_S)


def check(code: int, stream: str, doing: str) -> None:
    """Raises StreamMissing, Leaderless or Refused when a response code is not OK (1)."""
    if code == _STREAM_DOES_NOT_EXIST:
        raise StreamMissing(stream)
    if code == _STREAM_NOT_AVAILABLE:
        raise Leaderless(stream)
    if code > 1:
        name = exceptions.ServerError.from_code(code).__name__
        raise Refused(f"{doing} {stream}: the broker answered {name} ({code})", code=code)
