"""What lies in a processed stream, told apart: results that are owed, and what to pass over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa
import structlog

from db.ledger.deposits import Owed
from db.quarantine.rows import NewQuarantine
from streams import Message, decode_result
from streams.errors import UnfitMessage
from tasks.handover import Header, peek, read

log = structlog.get_logger("worker")


@dataclass(frozen=True, kw_only=True)
class PackedResult:
    """The results of one window, as they lie in the processed stream; the tables are still packed."""

    offset: int
    header: Header
    packed: dict[str, bytes]

    def fits(self, owed: Mapping[int, Owed]) -> bool:
        """Whether its window is owed these results.

        With another token than the window's they are those of another database's window of the same id, since
        the broker outlives a database that is lost or restored; or they were made before the breaker was
        closed.
        """
        found = owed.get(self.header.window_id)
        return found is not None and found.token == self.header.token


@dataclass(frozen=True, kw_only=True)
class OwedResult:
    """The results of one window that the ledger lacks."""

    header: Header
    first_offset: int
    tables: dict[str, pa.Table]
    quarantined: Sequence[NewQuarantine]

    @property
    def nbytes(self) -> int:
        """Bytes of the tables."""
        return sum(table.nbytes for table in self.tables.values())


def window_of(message: Message) -> int | None:
    """The window whose results these are; None for what none of our workers wrote."""
    try:
        return decode_result(message.data).window_id
    except UnfitMessage:
        return None


def unpacked(message: Message) -> PackedResult | None:
    """None for what none of our workers wrote: it is passed over and stays in the stream."""
    try:
        header, packed = peek(decode_result(message.data).data)
    except (UnfitMessage, msgspec.MsgspecError) as error:
        log.error("result_not_understood", offset=message.offset, error=type(error).__name__)
        return None
    return PackedResult(offset=message.offset, header=header, packed=packed)


def ready(one: PackedResult, owed: Mapping[int, Owed], quarantined: Sequence[NewQuarantine]) -> OwedResult:
    """The results with their tables read."""
    return OwedResult(
        header=one.header,
        first_offset=owed[one.header.window_id].first_offset,
        tables=read(one.packed),
        quarantined=quarantined,
    )
