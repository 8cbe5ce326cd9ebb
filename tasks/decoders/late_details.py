"""Details of events in JSON and Arrow: made of what lies beside their rows for those that somebody takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec.structs import replace
from numpy.typing import NDArray

from tasks.decoders.canonical import value_of
from tasks.decoders.sent_details import NUL, SentDetails, exceptional
from tasks.events import Detailed, KeyValue, SpanDetails
from tasks.events.details import SpanRest

_value = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class TypedValues:
    """Which values of map<string, string> were no text in JSON: those at `places` (ascending) of its items,
    which are their JSON text.
    """

    maps: pa.MapArray
    places: NDArray[np.int64]

    def rows(self) -> NDArray[np.int64]:
        """The rows that have any, ascending, each once."""
        owners = np.searchsorted(self._offsets(), self.places, side="right") - 1
        return owners[np.diff(owners, prepend=-1) > 0]

    def pairs(self, row: int) -> list[KeyValue]:
        """Those of one row, with the types that they had."""
        first, end = np.searchsorted(self.places, self._offsets()[row : row + 2]).tolist()
        places = self.places[first:end].tolist()
        items = [(self.maps.keys[place].as_py(), self.maps.items[place].as_py().encode()) for place in places]
        # What holds U+0000 stays what it is as text, where its JSON is text within text.
        return [
            KeyValue(key or None, value_of(_value.decode(item)))
            for key, item in items
            if not NUL.search(item)
        ]

    def size(self, row: int) -> int:
        """Bytes of all values of one row, at least those of these."""
        first, end = self._offsets()[row : row + 2].tolist()
        return int(self.maps.items.slice(first, end - first).nbytes)

    def _offsets(self) -> NDArray[np.int32]:
        return np.asarray(self.maps.offsets)


@dataclass(frozen=True, slots=True)
class DetailSource:
    """What was sent of the details of a table's rows; rows as in that table."""

    sent: Mapping[int, SentDetails]
    typed: TypedValues | None = None

    def each(self, rows: int) -> Sequence[Detailed | None] | None:
        """As `Read.detailed`, of a table of so many rows. What is sent has to fit."""
        if not self.sent and self.typed is None:
            return None
        made: list[Detailed | None] = [None] * rows
        typed = self.typed.rows().tolist() if self.typed is not None else []
        for row, one in zip(typed, map(RowDetails, repeat(self), typed, repeat(False)), strict=True):
            made[row] = one
        for row, sent in self.sent.items():
            made[row] = RowDetails(self, row, exceptional(sent))
        return made

    def size(self, row: int) -> int:
        """Bytes of what the details of one row are made of."""
        sent, typed = self.sent.get(row), self.typed
        return (0 if sent is None else sent.size) + (0 if typed is None else typed.size(row))

    def details(self, row: int) -> SpanDetails:
        """Of one row, made anew. If `span` was sent without attributes, it has those that are no text."""
        sent = self.sent.get(row)
        made = SpanDetails() if sent is None else sent.details()
        pairs = [] if self.typed is None else self.typed.pairs(row)
        span = made.span or SpanRest()
        if not pairs or span.attributes:
            return made
        return replace(made, span=replace(span, attributes=pairs))


class RowDetails(msgspec.Struct, frozen=True):
    """The details of one row, as `Detailed`."""

    source: Any  # DetailSource
    row: int
    exceptional: bool

    @property
    def size(self) -> int:
        """As `Detailed.size`."""
        size: int = self.source.size(self.row)
        return size

    def details(self) -> SpanDetails:
        """As `Detailed.details`."""
        made: SpanDetails = self.source.details(self.row)
        return made
