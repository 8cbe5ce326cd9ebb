"""Queues that the broker does not let this worker consume: each is left out for itself, and tried again."""

import re
import time
from collections.abc import Set
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog
from amqp.exceptions import ChannelError

log = structlog.get_logger("worker")

PAUSE_S, MOST_PAUSE_S = 10.0, 600.0
"""How long a refused queue is left alone; doubles with each refusal."""
# RabbitMQ names the queue in what it says: "… for queue 'q' in vhost '/'", "… queue 'q' in vhost '/' in use".
_NAMED = re.compile(r"queue '([^']+)'")


class _Refused(NamedTuple):
    times: int
    again_at_s: float


@dataclass(kw_only=True)
class RefusedQueues:
    """Why a queue was refused does not matter: declared with other arguments (406), locked or consumed by
    another alone (405, 403), gone in between (404).
    """

    _refused: dict[str, _Refused] = field(default_factory=dict)

    def note(self, name: str, error: ChannelError) -> None:
        """Leave the queue alone for a while, longer each time."""
        times = self._refused[name].times + 1 if name in self._refused else 1
        pause_s = min(PAUSE_S * 2.0 ** min(times - 1, 10), MOST_PAUSE_S)
        self._refused[name] = _Refused(times, time.monotonic() + pause_s)
        log.error("queue_refused", queue=name, detail=str(error)[:200], again_in_s=pause_s)

    def taken(self, name: str) -> None:
        """The queue is consumed: it is refused no more."""
        self._refused.pop(name, None)

    @property
    def names(self) -> Set[str]:
        """The queues that were refused and not taken since."""
        return self._refused.keys()

    def left_alone(self) -> Set[str]:
        """The queues that are not to be tried now."""
        now = time.monotonic()
        return {name for name, one in self._refused.items() if now < one.again_at_s}

    def due(self) -> Set[str]:
        """The queues that were refused and are to be tried again now."""
        return self._refused.keys() - self.left_alone()


def named_in(error: ChannelError) -> str | None:
    """The queue that the broker speaks of."""
    found = _NAMED.search(str(error.reply_text or ""))
    return found[1] if found else None
