"""The details of spans that were scanned: the bytes of those that somebody takes are parsed."""

import numpy as np
from numpy.typing import NDArray

from tasks.decoders.otlp.details import Origin, Pairs
from tasks.decoders.otlp.protobuf_details import details_of, exception_of, resource_of, scope_of
from tasks.decoders.otlp.protobuf_messages import Resource, Scope
from tasks.decoders.otlp.scan_tables import (
    GROUP,
    GROUP_URL_AT,
    RESOURCE_AT,
    SCOPE,
    SCOPE_AT,
    SCOPE_URL_AT,
    SPAN_AT,
)
from tasks.decoders.otlp.scanned import Rows, Scan
from tasks.events import SpanDetails
from tasks.events.details import SpanResource, SpanScope


def scanned_details(scan: Scan, rows: Rows) -> list[SpanDetails | None]:
    """The details of these spans of a scan; those of one resource or scope share what was made of it."""
    view, room = memoryview(scan.data), scan.room
    resources: dict[int, SpanResource] = {}
    scopes: dict[int, SpanScope] = {}
    pairs: Pairs = {}

    made: list[SpanDetails | None] = []
    for row in rows.tolist():
        group, scope = int(room.spans[row, GROUP]), int(room.spans[row, SCOPE])
        if group not in resources:
            resource = Resource.FromString(_sent(view, room.groups, group, RESOURCE_AT))
            resources[group] = resource_of(resource, _sent(view, room.groups, group, GROUP_URL_AT), pairs)
        if scope not in scopes:
            instrumentation = Scope.FromString(_sent(view, room.scopes, scope, SCOPE_AT))
            scopes[scope] = scope_of(instrumentation, _sent(view, room.scopes, scope, SCOPE_URL_AT), pairs)
        origin = Origin(resources[group], scopes[scope])
        made.append(details_of(_sent(view, room.spans, row, SPAN_AT), origin, pairs))
    return made


def scanned_exceptions(scan: Scan, rows: Rows) -> list[SpanDetails | None]:
    """As `AttributeSource.exceptions`."""
    view = memoryview(scan.data)
    return [exception_of(_sent(view, scan.room.spans, row, SPAN_AT)) for row in rows.tolist()]


def _sent(view: memoryview, table: NDArray[np.int32], row: int, column: int) -> bytes:
    """The bytes at the place that a table has in a column, as many as it has in the next."""
    at, size = table[row, column : column + 2].tolist()
    return bytes(view[at : at + size]) if size else b""
