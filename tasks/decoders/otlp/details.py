"""What OTLP says of a span besides columns: checked when it is read, made when somebody takes it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import msgspec
import numpy as np

from tasks.decoders.ids import Mask
from tasks.decoders.otlp.slots import Unread
from tasks.decoders.otlp.spans import MOST_KIND
from tasks.decoders.reasons import RejectReason
from tasks.events import KeyValue, SpanDetails
from tasks.events.details import SpanResource, SpanScope

SPAN_EVENTS: Final = 1_024  # of a span; as many links
OWN_BYTES: Final = 256 * 1_024  # of a span's trace state, span events and links, as they were sent
SCOPE_BYTES: Final = 64 * 1_024  # of a scope and of the schema URLs around it, as they were sent
OUT_OF_BOUNDS: Final = (
    f"more than {SPAN_EVENTS} span events or links, more than {OWN_BYTES} bytes of them, or a scope of more "
    f"than {SCOPE_BYTES} bytes"
)
Pairs = dict[bytes, KeyValue]  # attributes that were read before, by their bytes
Scope = TypeVar("Scope", bound="Pieces")


class Origin(NamedTuple):
    """What the spans of one scope share."""

    resource: SpanResource
    scope: SpanScope


class Pieces(Protocol):
    """Some spans of an export as bytes, and whatever tells their origin."""

    @property
    def pieces(self) -> Sequence[bytes]:
        """The spans."""


class SentSpans:
    """The spans of one export, which is told apart once more when the details of one are asked for.

    It holds the export's bytes instead of an object for each span.
    """

    def __init__(
        self,
        data: bytes,
        apart: Callable[[bytes], Iterable[Scope]],
        origin_of: Callable[[Scope], Origin],
        details_of: Callable[[bytes, Origin, Pairs], SpanDetails],
    ) -> None:
        self._data = data
        self._apart = apart
        self._origin_of: Callable[[Any], Origin] = origin_of
        self._details_of = details_of
        self._origins: dict[int, Origin] = {}  # by the id of the pieces that share one
        self._pairs: Pairs = {}

    @cached_property
    def _pieces(self) -> list[tuple[bytes, Pieces]]:
        return [(piece, some) for some in self._apart(self._data) for piece in some.pieces]

    def size(self, row: int) -> int:
        """Bytes of the span at `row` of the export."""
        return len(self._pieces[row][0])

    def details(self, row: int) -> SpanDetails:
        """The details of the span at `row` of the export."""
        piece, some = self._pieces[row]
        if id(some) not in self._origins:
            self._origins[id(some)] = self._origin_of(some)
        return self._details_of(piece, self._origins[id(some)], self._pairs)


class SentSpan(msgspec.Struct, gc=False):
    """One span of an export: a `Detailed`."""

    spans: SentSpans
    row: int
    exceptional: bool = False

    @property
    def size(self) -> int:
        """As `Detailed.size`."""
        return self.spans.size(self.row)

    def details(self) -> SpanDetails:
        """As `Detailed.details`."""
        return self.spans.details(self.row)


def unnamed_kind(kind: int) -> int:
    """OTLP's number of a kind for which the columns have no word; 0 for the others."""
    return 0 if 0 <= kind <= MOST_KIND else kind


class Looked(NamedTuple):
    """What a look at the details of an export's spans found, by the number of the span."""

    exceptional: Sequence[int]
    unread: Mapping[int, Unread]

    def wrong(self, spans: int) -> list[tuple[RejectReason, Mask, str]]:
        """What is wrong with which of so many spans."""
        found: dict[tuple[RejectReason, str], Mask] = {}
        for row, error in self.unread.items():
            found.setdefault((error.reason, error.detail), np.zeros(spans, np.bool_))[row] = True
        return [(reason, mask, detail) for (reason, detail), mask in found.items()]


def look(spans: Iterable[tuple[int, Callable[[], bool]]]) -> Looked:
    """Look at spans, each a number and what says whether it is exceptional or raises `Unread`."""
    exceptional: list[int] = []
    unread: dict[int, Unread] = {}
    for row, is_exceptional in spans:
        try:
            if is_exceptional():
                exceptional.append(row)
        except Unread as error:
            unread[row] = error
    return Looked(exceptional, unread)


def bound_own(sizes: Sequence[int], events: int, links: int) -> None:
    """Raises `Unread` (bad_details) for more of a span's details, of so many bytes, than are taken."""
    if sum(sizes) > OWN_BYTES or max(events, links) > SPAN_EVENTS:
        raise Unread(RejectReason.BAD_DETAILS, OUT_OF_BOUNDS)


def bound_scope(size: int) -> None:
    """Raises `Unread` (bad_details) for a scope and schema URLs that are too long."""
    if size > SCOPE_BYTES:
        raise Unread(RejectReason.BAD_DETAILS, OUT_OF_BOUNDS)


def without_nul(text: str) -> str:
    """The text. Raises `Unread` (nul_character)."""
    if "\0" in text:
        raise Unread(RejectReason.NUL_CHARACTER, "holds U+0000 in its details, which the database can't")
    return text
