"""A subscription id on a connection, from taking it to giving it back."""

import asyncio
from dataclasses import dataclass

from rstream import schema

from streams.address import Node
from streams.connections import frames
from streams.connections.client import Receiving, StreamClient, as_unavailable, check
from streams.connections.pool import Pool, Purpose
from streams.errors import BrokerUnavailable

_UNSUBSCRIBE_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Attachment:
    """The stream's chunks go to `receiver` for as long as the credit lasts."""

    connection: StreamClient
    subscription_id: int
    receiver: Receiving

    def credit(self, chunks: int) -> None:
        """Allows the broker to send that many more. Raises BrokerUnavailable when the connection is lost."""
        self.connection.write(frames.encode_credit(self.subscription_id, chunks))

    def detach(self) -> None:
        """Ends the subscription in the background; nothing reaches the receiver from here on."""
        self.connection.receivers.mute(self.subscription_id, self.receiver)
        if self.connection.lost is None:
            self.connection.in_background(self._unsubscribe())

    async def _unsubscribe(self) -> None:
        request = schema.Unsubscribe(self.connection.correlation(), self.subscription_id)
        try:
            async with asyncio.timeout(_UNSUBSCRIBE_TIMEOUT_S):
                await self.connection.sync_request(request, schema.UnsubscribeResponse, raise_exception=False)
        except Exception as error:
            # Chunks of this subscription could still come, so its id is never free again on this connection.
            self.connection.fail(as_unavailable(error, "unsubscribing"))
        self.connection.receivers.release(self.subscription_id, self.receiver)


async def attach(
    pool: Pool,
    node: Node,
    receiver: Receiving,
    offset: schema.OffsetSpec,
    credit: int,
    *,
    purpose: Purpose = "read",
) -> Attachment:
    """Subscribes; chunks may reach the receiver before this returns. Raises BrokerUnavailable, StreamMissing.

    A stream whose files can't be opened costs the connection on which it is subscribed to, with all that goes
    over it (tried on 3.10 and 4.3.6), so what follows streams has connections of its own: see Subscription.
    """
    connection = await pool.connection_for(node, purpose)
    subscription_id = connection.receivers.take(receiver)
    if subscription_id is None:
        raise BrokerUnavailable("no subscription id is free")
    attachment = Attachment(connection, subscription_id, receiver)
    request = schema.Subscribe(
        connection.correlation(), subscription_id, receiver.stream, offset, credit, properties=[]
    )
    try:
        answer = await connection.sync_request(request, schema.SubscribeResponse, raise_exception=False)
        check(answer.response_code, receiver.stream, "subscribing to")
    except BrokerUnavailable:
        connection.receivers.release(subscription_id, receiver)
        raise
    except BaseException as error:
        attachment.detach()
        if isinstance(error, Exception):
            raise as_unavailable(error, f"subscribing to {receiver.stream}") from error
        raise
    if connection.receivers.get(subscription_id) is not receiver:
        raise BrokerUnavailable(f"stream {receiver.stream} has gone while it was subscribed to")
    return attachment
