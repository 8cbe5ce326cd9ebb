"""A table of events whose attributes wait until somebody reads them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from tasks.events.attribute_source import Mask
from tasks.events.detail_runs import in_runs
from tasks.events.details import MOST_BYTES, WHOLE, details_of
from tasks.events.late_attributes import LateAttributes
from tasks.events.schema import ATTRIBUTES, COLUMNS, EVENTS, NO_EVENTS


@dataclass(frozen=True, slots=True)
class EventTable:
    """Events of COLUMNS, and the attributes of each, in the same order."""

    columns: pa.Table
    attributes: LateAttributes

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        """The events of a table of EVENTS, which may have columns of DETAILS, too."""
        return cls(table.select(COLUMNS.names), LateAttributes.of(table[ATTRIBUTES], details_of(table)))

    @classmethod
    def none(cls) -> Self:
        """No event."""
        return cls.of(NO_EVENTS)

    @classmethod
    def concat(cls, tables: Sequence["EventTable"]) -> Self:
        """The events of one table or more, one after the other; no event may be in two of them."""
        return cls(
            pa.concat_tables([table.columns for table in tables]),
            LateAttributes.concat([table.attributes for table in tables]),
        )

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def nbytes(self) -> int:
        """Bytes of the columns and of all maps, those included that nobody has made yet."""
        return int(self.columns.nbytes) + self.attributes.nbytes

    def filter(self, mask: Mask) -> Self:
        """The events where the mask is true."""
        if mask.all():
            return self
        return type(self)(self.columns.filter(pa.array(mask)), self.attributes.filter(mask))

    def slice(self, first: int, count: int) -> Self:
        """The `count` events from `first` on."""
        if count == len(self):
            return self
        rows = np.arange(first, first + count)
        return type(self)(self.columns.slice(first, count), self.attributes.select(rows))

    def whole(self, most_bytes: int = MOST_BYTES) -> pa.Table:
        """As `table`, with the columns of DETAILS. Raises `WindowTooLarge` when the JSON of these takes more
        than `most_bytes`.
        """
        details = in_runs(self.attributes.detail_sizes(), self.attributes.details, most_bytes)
        table = self.table()
        return pa.table([*table.columns, *details.columns], schema=WHOLE)

    def table(self) -> pa.Table:
        """All of it as a table of EVENTS: this makes every map."""
        return self.columns.append_column(EVENTS.field(ATTRIBUTES), self.attributes.maps()).cast(EVENTS)
