"""The one schema of events, the shape of a span; names and meanings follow OpenTelemetry's."""

import pyarrow as pa

EVENTS = pa.schema(
    [
        pa.field("event_id", pa.binary(8)),
        pa.field("trace_id", pa.binary(16)),
        pa.field("parent_id", pa.binary(8)),
        pa.field("started_at", pa.timestamp("us", tz="UTC")),
        pa.field("duration_us", pa.int64()),
        pa.field("service", pa.string()),
        pa.field("operation", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("status", pa.string()),
        pa.field("status_message", pa.string()),
        pa.field("user_id", pa.string()),
        pa.field("attributes", pa.map_(pa.string(), pa.string())),
    ]
)
ATTRIBUTES = "attributes"
COLUMNS = EVENTS.remove(EVENTS.get_field_index(ATTRIBUTES))
NO_EVENTS = EVENTS.empty_table()  # making one takes longer than validating a small window
