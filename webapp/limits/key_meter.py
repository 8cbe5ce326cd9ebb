"""What was let in and refused of a public key."""

from dataclasses import dataclass
from typing import ClassVar

from db.customers.day_use import Written
from db.customers.public_key_use import KeyUse
from webapp.limits.meters import Meter


@dataclass(slots=True)
class KeyMeter(Meter[KeyUse]):
    """`bytes` and `batches` were accepted and `refused` were refused on the day by this receiver; the others
    accepted `other_bytes` and `other_batches`. `events` were deposited, of what all receivers accepted.
    """

    NAME: ClassVar[str] = "key-meters"
    GROUPS: ClassVar[int] = 2048
    WAYS: ClassVar[int] = 4

    bytes: int = 0
    batches: int = 0
    refused: int = 0
    other_bytes: int = 0
    other_batches: int = 0
    events: int = 0

    @property
    def own(self) -> KeyUse:
        return KeyUse(self.bytes, self.batches, self.refused)

    def forget(self) -> None:
        """Count a day from nothing."""
        self.bytes = self.batches = self.refused = self.other_bytes = self.other_batches = self.events = 0

    def add(self, written: Written[KeyUse]) -> None:
        """What receivers wrote of the day: what this one wrote is added, unless it was `learned`."""
        if not self.learned:
            own = self.own.plus(written.own)
            self.bytes, self.batches, self.refused = own.bytes, own.batches, own.refused
        others = written.others
        self.other_bytes, self.other_batches, self.events = others.bytes, others.batches, others.events
