"""The schema of log records; names and meanings follow OpenTelemetry's."""

from typing import Final

import pyarrow as pa

LOGS = pa.schema(
    [
        # What the record is sorted, counted and kept by: its time, or when it has none, when it was observed.
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("time_ns", pa.int64()),  # both since 1970, as sent; null when there is none
        pa.field("observed_ns", pa.int64()),
        pa.field("severity_number", pa.int32(), nullable=False),  # 0 is none, else 1 to 24
        pa.field("severity_text", pa.string()),
        pa.field("service", pa.string(), nullable=False),
        pa.field("event_name", pa.string()),
        # JSON as OTLP has it: a value with its type, lists of keys and values, and of scope and resource
        # their attributes, `droppedAttributesCount` and `schemaUrl`, of a scope `name` and `version`, too.
        pa.field("body", pa.string()),
        pa.field("attributes", pa.string(), nullable=False),
        pa.field("dropped_attributes", pa.int64(), nullable=False),
        pa.field("scope", pa.string()),
        pa.field("resource", pa.string(), nullable=False),
        pa.field("trace_id", pa.binary(16)),
        pa.field("span_id", pa.binary(8)),
        pa.field("flags", pa.int64(), nullable=False),
    ]
)
NO_LOGS = LOGS.empty_table()
ERROR: Final = 17  # the least severity number of errors; 21 and above are fatal
SEVERITIES: Final = {"trace": 1, "debug": 5, "info": 9, "warn": 13, "error": ERROR, "fatal": 21}
"""The least severity number of each range, as OpenTelemetry names them."""
