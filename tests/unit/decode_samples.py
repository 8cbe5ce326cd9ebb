"""Events as agents send them, for the decoders' tests: one table, written in every format."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tasks.decoders import DecodedBatches, DecodeLimits, RawBatch, decode_batches
from tasks.events import EVENTS

START_US = 1_674_981_729_000_000  # 2023-01-29
ACCEPTED_US = 1_774_981_729_000_000
KEPT = "kept"
FORMATS = ("arrow", "ndjson", "json", "otlp-protobuf", "otlp-json")
LOG_FORMATS = ("otlp-logs-protobuf", "otlp-logs-json")
"""They hold no events: tests of their own are in test_decode_logs.py."""


def table(rows: int, seed: int = 1) -> pa.Table:
    """Good events of ten services."""
    random = np.random.default_rng(seed)
    columns = {
        "event_id": pa.array([random.bytes(8) for _ in range(rows)], pa.binary(8)),
        "trace_id": pa.array([random.bytes(16) for _ in range(rows)], pa.binary(16)),
        "parent_id": pa.array([random.bytes(8) if row % 20 else None for row in range(rows)], pa.binary(8)),
        "started_at": pa.array(START_US + np.arange(rows) * 1_237, pa.timestamp("us", "UTC")),
        "duration_us": pa.array(random.integers(14, 700_000, rows)),
        "service": pa.array([f"service-{row % 10}" for row in range(rows)], pa.string()),
        "operation": pa.array([f"GET /things/{row % 37}" for row in range(rows)], pa.string()),
        "kind": pa.array([("server", "client", None)[row % 3] for row in range(rows)], pa.string()),
        "status": pa.array(["error" if row % 50 == 7 else "ok" for row in range(rows)], pa.string()),
        "status_message": pa.array(
            ["it broke" if row % 50 == 7 else None for row in range(rows)], pa.string()
        ),
        "user_id": pa.nulls(rows, pa.string()),
        "attributes": pa.array([_attributes(row) for row in range(rows)], pa.map_(pa.string(), pa.string())),
    }
    return pa.table(columns, schema=EVENTS)


def _attributes(row: int) -> list[tuple[str, str]]:
    long = [("long", "é" * 150)] if row % 25 == 3 else []
    return [("host.name", f"pod-{row % 7}"), ("request", f"r-{row}"), ("empty", ""), *long]


def ipc(events: pa.Table, compression: str | None = None, *, deltas: bool = False) -> bytes:
    """An Arrow IPC stream; `compression` is that of the buffers inside it."""
    sink = pa.BufferOutputStream()
    options = pyarrow.ipc.IpcWriteOptions(compression=compression, emit_dictionary_deltas=deltas)
    with pyarrow.ipc.new_stream(sink, events.schema, options=options) as writer:
        writer.write_table(events)
    return bytes(sink.getvalue())


def streams() -> dict[str, bytes]:
    """Arrow streams that hold every kind of column and message that is taken."""
    events = table(40)
    words = events
    for name in ("service", "operation", "trace_id"):
        words = with_column(words, name, words[name].dictionary_encode())
    views = with_column(events, "service", events["service"].cast(pa.string_view()))
    views = with_column(views, "operation", events["operation"].cast(pa.large_string()))
    views = with_column(views, "attributes", pa.array(['{"a":1}'] * 40))
    other = with_column(events, "attributes", pa.array([{"a": "b", "n": 1}] * 40))
    other = with_column(other, "started_at", events["started_at"].cast(pa.timestamp("ns")))
    pairs = with_column(events, "attributes", pa.array([[{"key": "a", "value": "b"}]] * 40))
    maps = pa.MapArray.from_arrays(
        pa.array(range(41), pa.int32()), pa.array(["k"] * 40).dictionary_encode(), pa.array(["v"] * 40)
    )
    first = pa.DictionaryArray.from_arrays([0, 1] * 20, ["a", "b"])
    then = pa.DictionaryArray.from_arrays([0, 2] * 20, ["a", "b", "c"])
    grown = pa.concat_tables([with_column(events, "service", first), with_column(events, "service", then)])
    return {
        "plain": ipc(events),
        "zstd": ipc(events, "zstd"),
        "lz4": ipc(views, "lz4"),
        "dictionaries": ipc(words),
        "compressed dictionaries": ipc(words, "zstd"),
        "views": ipc(views),
        "struct": ipc(other),
        "pairs": ipc(pairs),
        "map of dictionaries": ipc(with_column(events, "attributes", maps)),
        "delta dictionaries": ipc(grown, deltas=True),
    }


def with_column(events: pa.Table, name: str, values: Any) -> pa.Table:
    """`events` with other values in one column."""
    return events.set_column(events.schema.get_field_index(name), name, values)


def objects(events: pa.Table) -> list[dict[str, Any]]:
    """Events as an agent would write them in JSON; what is null is left out."""
    made = []
    for event in events.to_pylist():
        event["started_at"] = event["started_at"].isoformat().replace("+00:00", "Z")
        event["attributes"] = dict(event["attributes"])
        made.append({key: _hex(value) for key, value in event.items() if value is not None})
    return made


def one(**changes: Any) -> dict[str, Any]:
    """One good event as JSON says it, with changes."""
    return objects(table(1))[0] | changes


def ndjson(*events: Mapping[str, Any] | bytes) -> bytes:
    """Lines; bytes stand as they are."""
    return b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in events)


def otlp(events: pa.Table) -> ExportTraceServiceRequest:
    """The same events in OpenTelemetry's own classes, a resource for each service."""
    request = ExportTraceServiceRequest()
    scopes: dict[str, Any] = {}
    for event in events.to_pylist():
        if event["service"] not in scopes:
            group = request.resource_spans.add()
            attribute(group.resource, "service.name", event["service"])
            scopes[event["service"]] = group.scope_spans.add()
        span = scopes[event["service"]].spans.add()
        span.trace_id, span.span_id = event["trace_id"], event["event_id"]
        span.parent_span_id, span.name = event["parent_id"] or b"", event["operation"]
        span.kind = ("", "internal", "server", "client", "producer", "consumer").index(event["kind"] or "")
        started_us = round(event["started_at"].timestamp() * 1_000_000)
        span.start_time_unix_nano = started_us * 1_000
        span.end_time_unix_nano = (started_us + event["duration_us"]) * 1_000
        span.status.code = 2 if event["status"] == "error" else 0
        span.status.message = event["status_message"] or ""
        for key, value in event["attributes"]:
            attribute(span, key, value)
    return request


def attribute(owner: Any, key: str, value: str) -> None:
    """Give a span or a resource an attribute."""
    pair = owner.attributes.add()
    pair.key, pair.value.string_value = key, value


def otlp_json(request: ExportTraceServiceRequest) -> bytes:
    """OTLP's own JSON: ids in hexadecimal, enums as numbers."""
    document = json_format.MessageToDict(request, use_integers_for_enums=True)
    for group in document.get("resourceSpans", ()):
        for span in (span for scope in group.get("scopeSpans", ()) for span in scope["spans"]):
            for one in (span, *span.get("links", ())):
                for name in {"traceId", "spanId", "parentSpanId"} & one.keys():
                    one[name] = base64.b64decode(one[name]).hex()
    return json.dumps(document).encode()


def written(events: pa.Table, form: str) -> bytes:
    """`events` in a format, without content encoding."""
    if form == "arrow":
        return ipc(events)
    if form == "ndjson":
        return ndjson(*objects(events))
    if form == "json":
        return json.dumps(objects(events)).encode()
    return otlp(events).SerializeToString() if form == "otlp-protobuf" else otlp_json(otlp(events))


def raw(
    body: bytes | memoryview, form: str = "ndjson", encoding: str = "", accepted_us: int = ACCEPTED_US
) -> RawBatch:
    """A batch as the stream keeps it."""
    return RawBatch(body=body, format=form, content_encoding=encoding, accepted_at_us=accepted_us)


def decode(*batches: RawBatch, **limits: int) -> DecodedBatches:
    """What becomes of a window of `batches`."""
    return decode_batches(batches, DecodeLimits(**limits))


def reasons(decoded: DecodedBatches) -> list[str]:
    """Why its events were rejected, in order."""
    return [reject.reason for reject in decoded.rejects]


def varint(number: int) -> bytes:
    """A whole number as protobuf writes it."""
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])


def became(body: bytes, form: str) -> str:
    """The reason of the first reject or of the unfit batch, or that all was kept."""
    decoded = decode(raw(body, form))
    if decoded.unfit:
        assert len(decoded.unfit[0].detail) <= 200
        return decoded.unfit[0].reason
    assert sum(decoded.counts) + len(decoded.rejects) > 0
    return reasons(decoded)[0] if decoded.rejects else KEPT


def same(left: pa.Table, right: pa.Table) -> bool:
    """Whether two tables hold the same events in whatever order."""
    return sorted(map(repr, _plain(left))) == sorted(map(repr, _plain(right)))


def _plain(events: pa.Table) -> list[dict[str, Any]]:
    return [event | {"attributes": sorted(event["attributes"])} for event in events.to_pylist()]


def _hex(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
