"""What a span says besides COLUMNS and its attributes as text: made for those rows only that somebody takes.

The words are those of opentelemetry/proto/trace/v1/trace.proto, values as OTLP's JSON encoding writes them.
Together with COLUMNS they say all that an OTLP span said.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec
import pyarrow as pa

from tasks.errors import WindowTooLarge
from tasks.events.otlp_values import Camel, KeyValue
from tasks.events.schema import EVENTS

LATEST_NS: Final = 2**64 - 1
EXCEPTION: Final = "exception"
"""The name of a span event that tells of an exception (OpenTelemetry's semantic conventions)."""

DETAILS: Final = pa.schema(
    [
        pa.field("trace_state", pa.string()),
        pa.field("flags", pa.int64()),
        pa.field("resource", pa.string()),  # JSON of a SpanResource
        pa.field("scope", pa.string()),  # JSON of a SpanScope
        pa.field("span", pa.string()),  # JSON of a SpanRest
        pa.field("span_events", pa.string()),  # JSON: a list of SpanEvent
        pa.field("links", pa.string()),  # JSON: a list of SpanLink
    ]
)
"""Details as columns, any of them null. The JSON leaves out what has its default value, and has no null."""

WHOLE: Final = pa.schema([*EVENTS, *DETAILS])
"""Events with all that is kept of them."""
NO_WHOLE: Final = WHOLE.empty_table()

NO_TIME: Final = "0"
MOST_BYTES: Final = 2**31 - 1  # of the texts in an Arrow array of them


def nanoseconds(time: int) -> str:
    """A time in ns since 1970 as OTLP's JSON writes it; NO_TIME itself for 0, so that it is left out."""
    return str(time) if time else NO_TIME


class SpanEvent(Camel):
    """OTLP's Span.Event; `time_unix_nano` in ns since 1970."""

    time_unix_nano: str = NO_TIME
    name: str = ""
    attributes: list[KeyValue] = msgspec.field(default_factory=list)
    dropped_attributes_count: int = 0


class SpanLink(Camel):
    """OTLP's Span.Link; ids in hexadecimal digits."""

    trace_id: str = ""
    span_id: str = ""
    trace_state: str = ""
    attributes: list[KeyValue] = msgspec.field(default_factory=list)
    dropped_attributes_count: int = 0
    flags: int = 0


class SpanScope(Camel):
    """OTLP's InstrumentationScope, and the schema URL of its ScopeSpans."""

    name: str = ""
    version: str = ""
    attributes: list[KeyValue] = msgspec.field(default_factory=list)
    dropped_attributes_count: int = 0
    schema_url: str = ""


class SpanResource(Camel):
    """OTLP's Resource, and the schema URL of its ResourceSpans."""

    attributes: list[KeyValue] = msgspec.field(default_factory=list)
    dropped_attributes_count: int = 0
    schema_url: str = ""


class SpanRest(Camel):
    """What is left of OTLP's Span: its own attributes with their types, exact times, what COLUMNS round off.

    `kind` and `status_code` are OTLP's numbers: of a kind for which COLUMNS have no word, else 0, and of any
    status, which tells unset (0) from ok (1). `nameless`: it came without a name.
    """

    start_time_unix_nano: str = NO_TIME
    end_time_unix_nano: str = NO_TIME
    attributes: list[KeyValue] = msgspec.field(default_factory=list)
    kind: int = 0
    status_code: int = 0
    nameless: bool = False
    dropped_attributes_count: int = 0
    dropped_events_count: int = 0
    dropped_links_count: int = 0


class SpanDetails(Camel):
    """All details of one span. None of `resource`, `scope` and `span` for what did not come by OTLP.

    What several spans share, such as their resource, may be one object: whoever changes one makes a new one.
    """

    trace_state: str = ""
    flags: int = 0
    resource: SpanResource | None = None
    scope: SpanScope | None = None
    span: SpanRest | None = None
    events: list[SpanEvent] = msgspec.field(default_factory=list)
    links: list[SpanLink] = msgspec.field(default_factory=list)

    @property
    def exceptional(self) -> bool:
        """Whether one of its events tells of an exception."""
        return any(event.name == EXCEPTION for event in self.events)

    @property
    def size(self) -> int:
        """As `Detailed.size`: 0, since nothing has to be made."""
        return 0

    def details(self) -> "SpanDetails":
        """As `Detailed.details`."""
        return self


class Detailed(Protocol):
    """Who can make the details of one event, in the form in which they came."""

    @property
    def exceptional(self) -> bool:
        """Whether one of its span events tells of an exception."""

    @property
    def size(self) -> int:
        """Bytes of what the details are made of, without what events of one batch share."""

    def details(self) -> SpanDetails:
        """The details, made anew at each call."""


_encoder = msgspec.json.Encoder()
_resource = msgspec.json.Decoder(SpanResource)
_scope = msgspec.json.Decoder(SpanScope)
_span = msgspec.json.Decoder(SpanRest)
_events = msgspec.json.Decoder(list[SpanEvent])
_links = msgspec.json.Decoder(list[SpanLink])


def first_exception(one: SpanDetails) -> SpanDetails:
    """Details with nothing but the first span event that tells of an exception, or with none.

    Of those at the same time it is the one that is written first.
    """
    found = [event for event in one.events if event.name == EXCEPTION]
    return SpanDetails(events=[min(found, key=time_ns)] if found else [])


def time_ns(event: SpanEvent) -> int:
    """0 for a time that was not given, or that is none."""
    text = str(event.time_unix_nano)
    return min(int(text), LATEST_NS) if len(text) <= 20 and text.isascii() and text.isdecimal() else 0


def detail_columns(found: Sequence[SpanDetails | None], most_bytes: int = MOST_BYTES) -> pa.Table:
    """A table of DETAILS; nulls for an event without, and for what has its default value.

    What several events share is written once and copied into the row of each: raises `WindowTooLarge`, before
    it is, when the columns' JSON takes more than `most_bytes`.
    """
    if found.count(None) == len(found):
        return pa.table([pa.nulls(len(found), field.type) for field in DETAILS], schema=DETAILS)
    given = [one if one is not None else SpanDetails() for one in found]
    texts: dict[int, bytes] = {}  # by the id of what several may share

    def text(value: Any) -> bytes | None:
        if not value:
            return None
        if id(value) not in texts:
            texts[id(value)] = _encoder.encode(value)
        return texts[id(value)]

    documents = {
        "resource": [text(one.resource) for one in given],
        "scope": [text(one.scope) for one in given],
        "span": [text(one.span) for one in given],
        "span_events": [text(one.events) for one in given],
        "links": [text(one.links) for one in given],
    }
    if sum(len(one) for column in documents.values() for one in column if one is not None) > most_bytes:
        raise WindowTooLarge
    columns = {
        "trace_state": [one.trace_state or None for one in given],
        "flags": [one.flags or None for one in given],
        **documents,
    }
    return pa.table(columns, schema=DETAILS)


def details_of(table: pa.Table) -> list[SpanDetails | None] | None:
    """The inverse of `detail_columns`, of a table that has some of DETAILS' columns; None for no details.

    Raises msgspec.MsgspecError for JSON that is not what the column holds.
    """
    names = [name for name in DETAILS.names if name in table.column_names]
    given = {name: table[name].to_pylist() for name in names if table[name].null_count < len(table)}
    if not given:
        return None
    none = [None] * len(table)
    rows = zip(*(given.get(name, none) for name in DETAILS.names), strict=True)
    return [None if row.count(None) == len(row) else _read(*row) for row in rows]


def _read(
    trace_state: str | None,
    flags: int | None,
    resource: str | None,
    scope: str | None,
    span: str | None,
    events: str | None,
    links: str | None,
) -> SpanDetails:
    return SpanDetails(
        trace_state=trace_state or "",
        flags=flags or 0,
        resource=None if resource is None else _resource.decode(resource),
        scope=None if scope is None else _scope.decode(scope),
        span=None if span is None else _span.decode(span),
        events=[] if events is None else _events.decode(events),
        links=[] if links is None else _links.decode(links),
    )
