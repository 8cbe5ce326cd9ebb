"""Which connections this process has: kept few, opened when needed, reopened with growing pauses."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from rstream import schema

from streams.address import Address, Node
from streams.connections.client import StreamClient, as_unavailable, check, tls_context
from streams.errors import BrokerUnavailable, Leaderless, StreamMissing
from streams.settings import StreamSettings

_ASKED_AT_ONCE = 1_000
Purpose = Literal["control", "publish", "read", "follow"]


StreamState = Literal["led", "missing", "leaderless"]


def stream_state(code: int) -> StreamState:
    """What a response code of the stream protocol says of a stream."""
    try:
        check(code, "", "looking for")
    except StreamMissing:
        return "missing"
    except BrokerUnavailable:
        return "leaderless"
    return "led"


class Location(NamedTuple):
    """Where a stream lives: `replicas` holds the leader too when it is the only one."""

    leader: Node
    replicas: tuple[Node, ...]

    def any_replica(self) -> Node:
        return random.choice(self.replicas)  # noqa: S311 - spreads load


@dataclass(slots=True)
class Backoff:
    """When a node may be tried again: the pause doubles with each failure, with jitter against crowds."""

    settings: StreamSettings
    failures: int = 0
    retry_at: float = 0.0
    error: str = ""

    def failed(self, now: float, error: Exception) -> float:
        """Seconds to the next try."""
        doubled = self.settings.backoff_min_s * 2.0 ** min(self.failures, 30)
        pause = min(doubled, self.settings.backoff_max_s) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        self.failures += 1
        self.retry_at = now + pause
        self.error = str(error)
        return pause

    def check(self, now: float) -> None:
        if now < self.retry_at:
            raise BrokerUnavailable(self.error, retry_after_s=self.retry_at - now)


@dataclass(slots=True, eq=False)
class ConnectionSlot:
    """One place for a connection; after a loss the next one takes the same place."""

    node: Node
    purpose: Purpose
    connection: StreamClient | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def full(self) -> bool:
        """No id is left; a lost connection counts as empty."""
        if self.connection is None or self.connection.lost is not None:
            return False
        ids = self.connection.publishers if self.purpose == "publish" else self.connection.receivers
        return ids.full


class Pool:
    """Lives on the loop's thread. All raise BrokerUnavailable, at once while a node is known to be away."""

    def __init__(
        self, address: Address, settings: StreamSettings, reconnected: Callable[[], None] = lambda: None
    ) -> None:
        self._address = address
        self._tls = tls_context(address)
        self._reconnected = reconnected
        self._settings = settings
        # The node that is asked first is any one of the URL's: a crowd of processes spreads over a cluster.
        self._control = ConnectionSlot(random.choice(address.nodes), "control")  # noqa: S311 - spreads load
        self._slots: list[ConnectionSlot] = []
        self._backoffs: dict[Node, Backoff] = {}
        # Through which of the URL's addresses a node was last reached that advertises itself as the key.
        self._reached_through: dict[Node, Node] = {}
        self._revival: asyncio.Task[None] | None = None
        self._closed = False
        self.frame_max = settings.frame_max

    async def control(self) -> StreamClient:
        """The connection for everything but messages, to a node that the URL names: the one that was good
        last, or the next one that can be reached. One that is known to be away is not waited for.
        """
        nodes = self._address.nodes
        for _ in nodes[1:]:
            tried = self._control.node
            try:
                return await self._get(self._control)
            except BrokerUnavailable:
                if self._control.node == tried:  # else somebody else has moved it on meanwhile
                    self._control.node = nodes[(nodes.index(tried) + 1) % len(nodes)]
        return await self._get(self._control)

    async def connection_for(self, node: Node, purpose: Purpose) -> StreamClient:
        """A connection to `node` that has a free id now; the caller takes it before it awaits anything."""
        while True:
            slots = [slot for slot in self._slots if slot.node == node and slot.purpose == purpose]
            slot = next((slot for slot in slots if not slot.full), None)
            if slot is None:
                slot = ConnectionSlot(node, purpose)
                self._slots.append(slot)
            connection = await self._get(slot)
            if not slot.full:
                return connection

    async def locate(self, stream: str) -> Location:
        """Raises StreamMissing; Leaderless while the stream has no leader."""
        control = await self.control()
        try:
            request = schema.Metadata(control.correlation(), streams=[stream])
            answer = await control.sync_request(request, schema.MetadataResponse, raise_exception=False)
        except Exception as error:
            raise as_unavailable(error, f"locating {stream}") from error
        found = answer.metadata[0]
        check(found.response_code, stream, "locating")
        nodes = {broker.reference: Node(broker.host, broker.port) for broker in answer.brokers}
        leader = nodes.get(found.leader_ref)
        if leader is None:
            raise Leaderless(stream)
        replicas = tuple(nodes[ref] for ref in found.replicas_refs if ref in nodes)
        return Location(leader, replicas or (leader,))

    async def states(self, streams: Sequence[str]) -> dict[str, int]:
        """The response codes of the streams, a thousand in a request: 1 for one that is there and is led."""
        found: dict[str, int] = {}
        for first in range(0, len(streams), _ASKED_AT_ONCE):
            control = await self.control()
            try:
                request = schema.Metadata(
                    control.correlation(), streams=list(streams[first : first + _ASKED_AT_ONCE])
                )
                answer = await control.sync_request(request, schema.MetadataResponse, raise_exception=False)
            except Exception as error:
                raise as_unavailable(error, "looking for streams") from error
            found |= {one.name: one.response_code for one in answer.metadata}
        return found

    async def ping(self) -> None:
        """Returns when the broker has answered a request."""
        control = await self.control()
        try:
            request = schema.Metadata(control.correlation(), streams=[])
            await control.sync_request(request, schema.MetadataResponse, raise_exception=False)
        except Exception as error:
            raise as_unavailable(error, "asking the broker") from error

    async def close(self, timeout_s: float) -> None:
        self._closed = True
        if self._revival is not None:
            self._revival.cancel()
        open_ = [slot.connection for slot in (self._control, *self._slots) if slot.connection is not None]
        await asyncio.gather(*(connection.shut(timeout_s) for connection in open_))

    async def _get(self, slot: ConnectionSlot) -> StreamClient:
        if slot.connection is not None and slot.connection.lost is None:
            return slot.connection
        async with slot.lock:
            if slot.connection is not None and slot.connection.lost is None:
                return slot.connection
            if self._closed:
                raise BrokerUnavailable("the Broker is closed")
            loop = asyncio.get_running_loop()
            backoff = self._backoffs.setdefault(slot.node, Backoff(self._settings))
            backoff.check(loop.time())
            lost = slot.connection is not None
            try:
                slot.connection = await self._connect(slot)
            except BrokerUnavailable as error:
                error.retry_after_s = backoff.failed(loop.time(), error)
                raise
            backoff.failures = 0
            if lost:
                self._reconnected()
            return slot.connection

    async def _connect(self, slot: ConnectionSlot) -> StreamClient:
        """A node behind the URL is reached as the URL says (it may be a proxy or a forwarded port). Others,
        and this one when the URL leads to a load balancer that chose another, as they advertise it.
        """
        named = slot.node if slot.purpose == "control" else self._reached_through.get(slot.node)
        connection = await self._open(slot, named or slot.node)
        if slot.purpose == "control":
            self._reached_through[connection.advertised] = Node(connection.host, connection.port)
            self.frame_max = connection.frame_max
        elif named is not None and connection.advertised != slot.node:
            await connection.shut(self._settings.connect_timeout_s)
            connection = await self._open(slot, slot.node)
        return connection

    async def _open(self, slot: ConnectionSlot, node: Node) -> StreamClient:
        connection = StreamClient(
            self._address, node, self._settings, lambda: self._on_lost(slot), tls=self._tls
        )
        await connection.connect()
        return connection

    def _on_lost(self, slot: ConnectionSlot) -> None:
        """Whoever needs a connection asks for it; the first one comes back by itself, as a scout."""
        was_up = self._control.connection is not None
        if slot is self._control and was_up and not self._closed and not slot.lock.locked():
            self._revival = asyncio.get_running_loop().create_task(self._revive())

    async def _revive(self) -> None:
        while not self._closed:
            try:
                await self.control()
                return
            except BrokerUnavailable as error:
                await asyncio.sleep(error.retry_after_s)
