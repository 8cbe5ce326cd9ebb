"""AMQP connections that give up a broker which is silent while it owes an answer, or says that it failed."""

from typing import Any

from amqp.exceptions import InternalError, RecoverableConnectionError
from kombu.transport import TRANSPORT_ALIASES, pyamqp


class Channel(pyamqp.Channel):
    """py-amqp opens a channel again that the broker closed, under the same object. Its consumers are gone,
    and only whoever read the broker's word of it knows: perhaps one who asked something on another channel.
    """

    reopened = False

    def _do_revive(self) -> None:
        self.reopened = True
        super()._do_revive()


def lost(channel: Any) -> bool:
    """Whether what was consumed through this channel no longer is."""
    return not channel.is_open or bool(channel.reopened)


class TimedConnection(pyamqp.Connection):
    """py-amqp takes a read that timed out for a lack of news, and the next one reads on. Where an answer is
    owed (a confirm, a declaration) the connection is as good as lost, and what owns it must open another.
    """

    Channel = Channel

    def blocking_read(self, timeout: float | None = None) -> Any:
        try:
            return super().blocking_read(timeout)
        except TimeoutError:
            if timeout is not None:
                raise
            self.collect()
            raise RecoverableConnectionError("the broker owes an answer and is silent") from None


# 541 says that the broker failed, not what was asked of it: another connection is the cure, as for one lost.
# py-amqp has it among the errors that no retry helps, and the task that met it would send no next stage.
_RECOVERABLE = (*pyamqp.Transport.recoverable_connection_errors, InternalError)


class Transport(pyamqp.Transport):
    Connection = TimedConnection
    recoverable_connection_errors = _RECOVERABLE


class SSLTransport(pyamqp.SSLTransport):
    Connection = TimedConnection
    recoverable_connection_errors = _RECOVERABLE


def use() -> None:
    """Make `amqp://` and `amqps://` mean these transports, in this process."""
    TRANSPORT_ALIASES["amqp"] = f"{__name__}:{Transport.__name__}"
    TRANSPORT_ALIASES["amqps"] = f"{__name__}:{SSLTransport.__name__}"
