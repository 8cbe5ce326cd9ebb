"""An export of traces or logs told apart: what each of its parts is, where one of them can't be read."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tasks.decoders.contract import BadRow, DecodeLimits, UnfitBatch
from tasks.decoders.reasons import RejectReason, UnfitReason
from tasks.decoders.rows import Frame, bound_rejects


class Signal(NamedTuple):
    """What OTLP calls the parts of an export: its groups, the scopes of these, the records of these."""

    groups: str
    scopes: str
    older_scopes: str
    records: str


TRACES: Final = Signal("resourceSpans", "scopeSpans", "instrumentationLibrarySpans", "spans")
LOGS: Final = Signal("resourceLogs", "scopeLogs", "instrumentationLibraryLogs", "logRecords")


class Unread(Exception):
    """A span, or a log record, that can't be read as one."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Slot(Frame):
    """The spans of one scope; or a group, or a scope, whose spans can't be told apart: one piece; or nothing.

    `resource` is what the slot's group says of it, one object for all slots of a group; None for no spans.
    `group` and `scope` are what else the group, one object for all of its slots, and the scope say of their
    records, each as a message.
    """

    resource: Sequence[bytes] | None = None
    group: bytes = b""
    scope: bytes = b""
    wrong: str = ""  # why it is but one piece


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadableSpans:
    """The spans that can be read, by resource, and the rest: `places` are the rows of the former."""

    resources: list[Sequence[bytes]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    spans: list[Any] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    shared: list[int] = field(default_factory=list)  # bytes that each has in common with others
    bad: list[BadRow] = field(default_factory=list)


def read_apart(
    slots: Iterable[Slot],
    read: Callable[[bytes], Any],
    around: Callable[[bytes, bytes], int],
    limits: DecodeLimits,
) -> ReadableSpans:
    """Each span by itself. `read`, which reads one, and `around`, which gives the bytes of what a group and a
    scope say of all their spans, raise `Unread`.

    Raises `UnfitBatch`: too_many_events, too_many_rejects.
    """
    apart = ReadableSpans()
    row = 0
    for number, slot in enumerate(slots):  # empty ones cost their time, too
        if slot.resource is not None and (not apart.resources or slot.resource is not apart.resources[-1]):
            apart.resources.append(slot.resource)
            apart.sizes.append(0)
        bound_events(max(number, row + len(slot.pieces)), limits)
        before = len(apart.spans)
        shared, wrong = _shared(slot, around)
        for piece in slot.pieces:
            try:
                if wrong:
                    raise wrong
                apart.spans.append(read(piece))
                apart.shared.append(shared)
                apart.places.append(row)
            except Unread as unread:
                apart.bad.append(BadRow(row=row, reason=unread.reason, detail=unread.detail))
            row += 1
        if slot.resource is not None:
            apart.sizes[-1] += len(apart.spans) - before
        if len(apart.bad) > limits.rejects:
            bound_rejects(Counter(one.reason for one in apart.bad), 0, limits)
    return apart


def _shared(slot: Slot, around: Callable[[bytes, bytes], int]) -> tuple[int, Unread | None]:
    """What `around` gives or raises for the slot."""
    if slot.wrong:
        return 0, Unread(RejectReason.BAD_GROUP, slot.wrong)
    try:
        return around(slot.group, slot.scope), None
    except Unread as unread:
        return 0, unread


def bound_events(spans: int, limits: DecodeLimits) -> None:
    """Raises `UnfitBatch`: too_many_events."""
    if spans > limits.events:
        raise UnfitBatch(UnfitReason.TOO_MANY_EVENTS, f"more than {limits.events}, or scopes of them")


def not_understood(what: Sequence[object], signal: Signal) -> UnfitBatch:
    """For an export that holds something, and of that nothing that is of this signal."""
    named = ", ".join(map(str, what[:3]))
    return UnfitBatch(UnfitReason.NOT_UNDERSTOOD, f"holds {named}, and no {signal.groups}")
