"""Who holds the attributes and the details of events, in the form in which they came."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.events.details import SpanDetails

Mask = NDArray[np.bool_]
Integers = NDArray[np.int64]
Details = Sequence[SpanDetails | None]


class AttributeSource(Protocol):
    """The attributes of consecutive events in the form in which they came; it never changes.

    An *entry* is a key and a value of one event. No key and no value is null.
    """

    def __len__(self) -> int:
        """Events, those without attributes included."""

    @property
    def nbytes(self) -> int:
        """Bytes of the maps of all events, or more: what bounds are kept with."""

    def take(self, rows: Integers) -> pa.MapArray:
        """The maps (as in EVENTS, values as text) of these events, in this order; any may come twice."""

    def values_of(self, key: str, among: Mask) -> tuple[Integers, pa.StringArray]:
        """Which of the events that the mask marks have an entry of this key, and each one's value as text,
        by event. An event comes once for each such entry.
        """

    def counts(self) -> Integers:
        """How many entries each event has; one of a key that came twice may count twice."""

    def oversized(self, key_bytes: int, value_bytes: int) -> Mask | None:
        """Which events have a key or a value (as text, UTF-8) above these sizes; None for no event."""

    def with_nul(self) -> Mask | None:
        """Which events have U+0000 in a key or a value (as text); None for no event."""

    def detail_sizes(self, rows: Integers) -> Integers:
        """As `Detailed.size`, of each of these events."""

    def details(self, rows: Integers) -> Details:
        """The details of these events, in this order; any may come twice."""

    def exceptional(self) -> Mask | None:
        """Which events have a span event that tells of an exception; None for no event."""

    def exceptions(self, rows: Integers) -> Details:
        """Of these events nothing but the first exception (`first_exception`), in this order."""
