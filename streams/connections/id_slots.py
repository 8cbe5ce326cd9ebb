"""Who holds which of a connection's one-byte ids."""

from typing import Generic, Protocol, TypeVar

from streams.errors import BrokerUnavailable


class IdHolder(Protocol):
    """Publishes to, or is subscribed to, one stream."""

    stream: str

    def lost(self, error: BrokerUnavailable) -> None:
        """The id is gone, with the connection or with the stream; the outcome of what was sent is unknown."""


H = TypeVar("H", bound=IdHolder)


class IdSlots(Generic[H]):
    """The 256 ids of one kind (publishers or subscriptions) on one connection."""

    def __init__(self) -> None:
        self._free = list(range(255, -1, -1))
        self._holders: dict[int, H] = {}
        self._muted: set[int] = set()

    @property
    def full(self) -> bool:
        return not self._free

    def take(self, holder: H) -> int | None:
        """A free id, or None when all are taken."""
        if not self._free:
            return None
        number = self._free.pop()
        self._holders[number] = holder
        return number

    def get(self, number: int) -> H | None:
        """The holder to whom a frame for this id goes; None when nobody wants it any more."""
        return None if number in self._muted else self._holders.get(number)

    def mute(self, number: int, holder: H) -> None:
        """What still comes for this id is ignored; the id is not free before `release`."""
        if self._holders.get(number) is holder:
            self._muted.add(number)

    def release(self, number: int, holder: H) -> None:
        """Frees the id, unless somebody else holds it by now."""
        if self._holders.get(number) is holder:
            del self._holders[number]
            self._muted.discard(number)
            self._free.append(number)

    def everyone(self) -> list[H]:
        return [holder for number, holder in self._holders.items() if number not in self._muted]

    def take_away(self, stream: str, error: BrokerUnavailable) -> None:
        """The broker has dropped the ids of this stream."""
        gone = [(number, holder) for number, holder in self._holders.items() if holder.stream == stream]
        for number, holder in gone:
            muted = number in self._muted
            self.release(number, holder)
            if not muted:
                holder.lost(error)

    def take_all_away(self, error: BrokerUnavailable) -> None:
        """The connection is lost."""
        holders = self.everyone()
        self._holders.clear()
        for holder in holders:
            holder.lost(error)
