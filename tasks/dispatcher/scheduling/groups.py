"""Which windows share a doorbell: small ones of several customers, together no more than a part of a large
one. Pure.
"""

from dataclasses import dataclass
from typing import NamedTuple

from tasks.settings import TaskSettings

# A group is decoded by one process while others wait for it, so it is smaller than the largest window. One
# member is so small that sharing its fixed costs pays: a window of 5,000 events takes longer than these.
_OF_WINDOW = 4
_MEMBER_OF_WINDOW = 20


class Size(NamedTuple):
    """Of a window, or of several together; `events` are estimated, `bytes` as sent."""

    bytes: int
    events: float


@dataclass(kw_only=True)
class GroupRoom:
    """What one more group may take."""

    windows: int
    bytes: float
    events: float

    @classmethod
    def of(cls, settings: TaskSettings) -> "GroupRoom":
        """For a whole group."""
        return cls(
            windows=settings.group_windows,
            bytes=settings.window_bytes / _OF_WINDOW,
            events=settings.window_events / _OF_WINDOW,
        )

    def holds(self, size: Size) -> bool:
        """Whether a window of that size fits into what is left."""
        return self.windows > 0 and size.bytes <= self.bytes and size.events <= self.events

    def take(self, size: Size) -> None:
        """A window of that size joins the group."""
        self.windows -= 1
        self.bytes -= size.bytes
        self.events -= size.events


def is_small(size: Size, settings: TaskSettings) -> bool:
    """Whether a window of that size may share a doorbell."""
    return (
        settings.group_windows > 1
        and size.bytes * _MEMBER_OF_WINDOW <= settings.window_bytes
        and size.events * _MEMBER_OF_WINDOW <= settings.window_events
    )


@dataclass(kw_only=True)
class GroupsOfRound:
    """The groups that small windows make in one round of the dispatcher, in the order in which they come."""

    settings: TaskSettings
    count: int = 0
    _room: GroupRoom | None = None  # in the group that was begun last

    def join(self, size: Size) -> int | None:
        """The number of the group that was begun last, which holds this window too; None if it can't."""
        if self._room is None or not self._room.holds(size):
            return None
        self._room.take(size)
        return self.count

    def begin(self, size: Size) -> int:
        """The number of one more group, with this window as its first."""
        self.count += 1
        self._room = GroupRoom.of(self.settings)
        self._room.take(size)
        return self.count
