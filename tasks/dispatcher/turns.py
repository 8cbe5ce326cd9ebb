"""The dispatcher's loop says that it turns: to the service manager, and to who asks on its host."""

import socket
from collections.abc import Callable

import msgspec
import structlog

from supervision import MOST_WAIT, Answerer, Supervised, address

log = structlog.get_logger("dispatcher")

DISPATCHER = "dispatcher"


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What a dispatcher says between two rounds. `waits_for`: why it cannot dispatch, or empty."""

    customers: int
    waits_for: str = ""


def dispatcher_name(given: str | None) -> str:
    """What a dispatcher is called on its host; as Celery does it, `%h` is the host's name."""
    return (given or "dispatcher@%h").replace("%h", socket.gethostname())


class Turns:
    """Called by the loop after each round. A loop that stands still answers nobody, and tells nobody.

    `reachable`: whether the broker answers. Without customers nothing else would ask for it, and the first
    round would say that all is well.
    """

    def __init__(
        self, supervised: Supervised, reachable: Callable[[], bool], *, broker_url: str, name: str
    ) -> None:
        self._supervised = supervised
        self._reachable = reachable
        self._began = False
        self._answerer: Answerer | None = None
        try:
            self._answerer = Answerer(address(DISPATCHER, broker_url, name))
        except OSError as error:
            log.error("health_not_answered", reason=str(error))

    def turned(self, customers: int, waits_for: str) -> None:
        """A round ended: with the work done, or with what is away."""
        if not waits_for and not self._began:
            self._began = self._reachable()
            waits_for = "" if self._began else "BrokerUnavailable"
        does = f"waits: {waits_for}" if waits_for else f"dispatches; customers: {customers}"
        self._supervised.status(does)
        if not waits_for:
            self._supervised.ready(does)
        self._supervised.progressed()
        if self._answerer is not None:
            turn = Turn(customers=customers, waits_for=waits_for)
            for _ in range(MOST_WAIT):
                if not self._answerer.answer(lambda: msgspec.json.encode(turn)):
                    break

    def close(self) -> None:
        """Answer nobody any more."""
        if self._answerer is not None:
            self._answerer.close()
