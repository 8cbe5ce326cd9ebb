"""Events: their schema, and a table of them whose attributes wait until somebody reads them. Pure."""

from tasks.events.late_attributes import AttributeSource, LateAttributes, MapAttributes, holds_zero
from tasks.events.schema import ATTRIBUTES, COLUMNS, EVENTS, NO_EVENTS
from tasks.events.table import EventTable

__all__ = [
    "ATTRIBUTES",
    "COLUMNS",
    "EVENTS",
    "NO_EVENTS",
    "AttributeSource",
    "EventTable",
    "LateAttributes",
    "MapAttributes",
    "holds_zero",
]
