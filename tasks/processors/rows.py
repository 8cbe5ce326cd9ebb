"""The events between two steps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.events import COLUMNS, EVENTS, WHOLE, EventTable
from tasks.processors.attributes import Attributes
from tasks.processors.names import Names, in_one
from tasks.processors.windows import Windows

PLAIN = tuple(name for name in COLUMNS.names if name not in ("service", "operation"))


@dataclass(frozen=True, slots=True)
class Rows:
    """Events as columns in one piece, names by word, and attributes that wait until they are read."""

    windows: Windows
    plain: pa.Table
    service: Names
    operation: Names
    attributes: Attributes

    @classmethod
    def of(cls, windows: Sequence[EventTable]) -> Self:
        """The events of one window or more, their columns in as many chunks as they like."""
        events = EventTable.concat(windows)
        columns = events.columns
        return cls(
            windows=Windows.of([len(window) for window in windows]),
            plain=pa.table({name: in_one(columns[name]) for name in PLAIN}),
            service=Names.of(columns["service"]),
            operation=Names.of(columns["operation"]),
            attributes=Attributes(events.attributes),
        )

    def __len__(self) -> int:
        return len(self.plain)

    def only(self, mask: NDArray[np.bool_]) -> Self:
        """The rows where the mask is true."""
        if mask.all():
            return self
        return replace(
            self,
            windows=self.windows.only(mask),
            plain=self.plain.filter(pa.array(mask)),
            service=self.service.only(mask),
            operation=self.operation.only(mask),
            attributes=self.attributes.only(mask),
        )

    def whole(self, name: str) -> pa.Array:
        """A plain column."""
        return in_one(self.plain[name])

    def integers(self, name: str) -> NDArray[np.int64]:
        """A plain column of integers or of times (µs since 1970) without nulls."""
        numbers: NDArray[np.int64] = self.whole(name).cast(pa.int64()).to_numpy()
        return numbers

    def failed(self) -> NDArray[np.bool_]:
        """Whether each event's status is error."""
        return np.asarray(pc.equal(self.whole("status"), "error").to_numpy(zero_copy_only=False))

    def events(self, most_bytes: int) -> pa.Table:
        """The rows as a table of WHOLE. Raises `WindowTooLarge` when the JSON of details takes more bytes."""
        changed = {
            "service": self.service.column(),
            "operation": self.operation.column(),
            "attributes": self.attributes.read().maps(EVENTS.field("attributes").type),
        }
        columns = [changed.get(name, self.plain[name] if name in PLAIN else None) for name in EVENTS.names]
        details = self.attributes.detail_columns(most_bytes)
        return pa.table([*columns, *details.columns], schema=WHOLE)
