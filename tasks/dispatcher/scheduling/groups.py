"""Which windows share a doorbell: small ones of several customers, together no more than a part of a large
one. Pure.
"""

from collections.abc import Iterable, Iterator
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


def grouped(windows: Iterable[tuple[int, Size]], settings: TaskSettings) -> Iterator[list[int]]:
    """Small windows, by id, in the order in which they were cut: the groups that they make."""
    group: list[int] = []
    room = GroupRoom.of(settings)
    for window_id, size in windows:
        if group and not room.holds(size):
            yield group
            group, room = [], GroupRoom.of(settings)
        group.append(window_id)
        room.take(size)
    if group:
        yield group
