"""What one stage hands to the next: a header and Arrow tables; as bytes, msgpack around Arrow IPC.

The contract of this module: `unpack(pack(header, tables)) == (header, tables)`. Nothing else in the
project knows how a hand-over looks as bytes, so that they can travel by other ways (a stream, object
storage) when a profile says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, NamedTuple, Self

import msgspec
import pyarrow as pa
import pyarrow.ipc

from tasks.events import MOST_BYTES, EventTable

Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # as the ledger can hold it
EXPIRED = "expired"  # the reason of a batch whose bytes retention removed before it was decoded


class RejectRow(msgspec.Struct, frozen=True, kw_only=True):
    """One event that did not fit, on its way to quarantine. `data` is a body of `format` that holds it
    alone, as it was sent.
    """

    offset: Number
    batch_id: str
    accepted_at_us: Number
    row: Number
    reason: str
    detail: str
    data: bytes
    format: str = "ndjson"  # what workers of releases without this field mean


class UnfitRow(msgspec.Struct, frozen=True, kw_only=True):
    """A whole batch that did not fit. Its bytes stay in the raw stream until the deposit fetches them."""

    offset: Number
    reason: str
    detail: str


class KeyEvents(msgspec.Struct, frozen=True, kw_only=True):
    """How many events came with a public key on a day (since 1970, UTC)."""

    key_id: Number
    day: Number
    events: Number


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What travels beside the tables. Fields added later need a default: releases run side by side."""

    window_id: Number
    customer_id: Number
    customer: str
    token: Number  # the window's own, by which its results are known
    batches: Number  # in the window: decoded ones and unfit ones
    pipeline: str  # the definition's text, as pinned in the window
    decoded: Number  # events found in the window's batches: good ones and rejects
    kept: Number = 0
    kept_logs: Number = 0  # log records among the kept
    dropped: dict[str, Number] = msgspec.field(default_factory=dict)  # events by rule
    rejects: list[RejectRow] = msgspec.field(default_factory=list)
    unfit: list[UnfitRow] = msgspec.field(default_factory=list)
    deaths: int = 0  # held against the window when this was made
    suspect: bool = False  # deliveries of the window ended badly: each later one is counted
    spoilt: dict[str, int] = msgspec.field(
        default_factory=dict
    )  # fit batches of which most events are rejects
    processor_us: Number = 0  # in which it was decoded and processed
    key_events: list[KeyEvents] = msgspec.field(default_factory=list)  # of batches of public keys

    @property
    def refused(self) -> bool:
        """Whether every batch goes to quarantine unread, so that none can do harm."""
        return self.decoded == 0 and len(self.unfit) == self.batches


class Handover(NamedTuple):
    """A header and the tables it speaks of, by name: `events` (`tasks.events.WHOLE`) after decoding,
    `interactions`, `rollups`, `events` and, if there are any, `exceptions` and `split_rollups`
    (`tasks.processors.schemas`) after processing. Of a window with log records, also `logs`
    (`tasks.events.LOGS`), and `log_rollups` after processing.
    """

    header: Header
    tables: Mapping[str, pa.Table]


@dataclass(frozen=True)
class ProcessedWindow:
    """What processing leaves of a window: tables of `tasks.processors.schemas` by name."""

    header: Header
    tables: Mapping[str, pa.Table]

    @cached_property
    def nbytes(self) -> int:
        """Bytes of the tables."""
        return sum(table.nbytes for table in self.tables.values())


class DecodedWindow(NamedTuple):
    """What decoding hands to processing in one process: attributes are made into maps when they are read."""

    header: Header
    events: EventTable
    logs: pa.Table | None = None  # of `tasks.events.LOGS`; None for no batch of log records

    def packed(self, most_bytes: int = MOST_BYTES) -> bytes:
        """The same as bytes, with the map of every event, and its details. Raises `WindowTooLarge` when the
        JSON of these takes more than `most_bytes`.
        """
        tables = {"events": self.events.whole(most_bytes)}
        return pack(self.header, tables if self.logs is None else tables | {"logs": self.logs})

    @classmethod
    def of(cls, header: Header, tables: Mapping[str, bytes]) -> Self:
        """What was packed, of what `peek` tells of it. Raises as `read` does."""
        found = read(tables)
        return cls(header, EventTable.of(found["events"]), found.get("logs"))


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    header: Header
    tables: dict[str, bytes]


_OPTIONS = pyarrow.ipc.IpcWriteOptions(compression="lz4")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Packed)


def pack(header: Header, tables: Mapping[str, pa.Table]) -> bytes:
    """Serialise `header` and Arrow `tables` (IPC streams, LZ4)."""
    return _encoder.encode(_Packed(header, {name: _write(table) for name, table in tables.items()}))


def unpack(data: bytes | memoryview) -> Handover:
    """The inverse of `pack`. Raises `msgspec.MsgspecError` for bytes that it did not write, and what `read`
    raises for tables.
    """
    header, tables = peek(data)
    return Handover(header, read(tables))


def peek(data: bytes | memoryview) -> tuple[Header, dict[str, bytes]]:
    """The header, and the tables still packed: `read` them when they are needed.

    Raises `msgspec.MsgspecError`, and nothing else, for bytes that `pack` did not write.
    """
    try:
        packed = _decoder.decode(data)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(f"not a hand-over: {type(error).__name__}") from None
    return packed.header, packed.tables


def read(tables: Mapping[str, bytes]) -> dict[str, pa.Table]:
    """The tables that `peek` left packed; of our own windows only, which the token in the header tells.

    Raises `pyarrow.ArrowException` or OSError for bytes that `pack` did not write.
    """
    return {name: pyarrow.ipc.open_stream(raw).read_all() for name, raw in tables.items()}


def _write(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
        writer.write_table(table)
    written: bytes = sink.getvalue().to_pybytes()
    return written
