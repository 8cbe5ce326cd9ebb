"""Events: their schema, and a table of them whose attributes wait until somebody reads them; the schema of
log records. Pure.
"""

from tasks.events.as_otlp import otlp_export
from tasks.events.attribute_source import AttributeSource
from tasks.events.detail_runs import in_runs, runs
from tasks.events.details import (
    DETAILS,
    MOST_BYTES,
    NO_WHOLE,
    WHOLE,
    Detailed,
    SpanDetails,
    detail_columns,
    details_of,
)
from tasks.events.late_attributes import LateAttributes
from tasks.events.log_schema import ERROR, LOGS, NO_LOGS, SEVERITIES
from tasks.events.map_attributes import MapAttributes, holds_zero
from tasks.events.otlp_values import AnyValue, ArrayValue, KeyValue, KeyValueList
from tasks.events.schema import ATTRIBUTES, COLUMNS, EVENTS, NO_EVENTS
from tasks.events.table import EventTable

__all__ = [
    "ATTRIBUTES",
    "COLUMNS",
    "DETAILS",
    "ERROR",
    "EVENTS",
    "LOGS",
    "MOST_BYTES",
    "NO_EVENTS",
    "NO_LOGS",
    "NO_WHOLE",
    "SEVERITIES",
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
    "in_runs",
    "otlp_export",
    "runs",
]
