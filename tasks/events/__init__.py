"""Events: their schema, and a table of them whose attributes wait until somebody reads them. Pure."""

from tasks.events.as_otlp import otlp_export
from tasks.events.details import DETAILS, NO_WHOLE, WHOLE, Detailed, SpanDetails, detail_columns, details_of
from tasks.events.late_attributes import AttributeSource, LateAttributes, MapAttributes, holds_zero
from tasks.events.otlp_values import AnyValue, ArrayValue, KeyValue, KeyValueList
from tasks.events.schema import ATTRIBUTES, COLUMNS, EVENTS, NO_EVENTS
from tasks.events.table import EventTable

__all__ = [
    "ATTRIBUTES",
    "COLUMNS",
    "DETAILS",
    "EVENTS",
    "NO_EVENTS",
    "NO_WHOLE",
    "WHOLE",
    "AnyValue",
    "ArrayValue",
    "AttributeSource",
    "Detailed",
    "EventTable",
    "KeyValue",
    "KeyValueList",
    "LateAttributes",
    "MapAttributes",
    "SpanDetails",
    "detail_columns",
    "details_of",
    "holds_zero",
    "otlp_export",
]
