"""Named nasties in protobuf and Arrow: one by one, what becomes of each."""

import struct
from typing import Any

import pyarrow as pa
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.unit import decode_samples as samples
from tests.unit.decode_samples import KEPT, became, decode, ipc, raw, reasons, with_column

EVENTS = samples.table(2)


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field of protobuf."""
    return bytes([number << 3 | 2]) + samples.varint(len(data)) + data


def nested(levels: int) -> bytes:
    value = b""
    for _ in range(levels):
        value = field(5, field(1, value))
    return value


def with_attribute(pair: bytes) -> bytes:
    span = samples.otlp(samples.table(1)).resource_spans[0].scope_spans[0].spans[0]
    return field(1, field(2, field(2, span.SerializeToString() + field(9, pair))))


PROTOBUF = {
    "bytes that are no message": (b"\xff" * 40, "malformed"),
    "a length beyond the end": (b"\x0a\xff\xff\xff\x7f", "malformed"),
    "a varint of eleven bytes": (b"\x08" + b"\xff" * 11, "malformed"),
    "a huge varint in a span": (
        field(1, field(2, field(2, b"\x30" + b"\xff" * 9 + b"\x01"))),
        "bad_event_id",
    ),
    "a group that never ends": (b"\x0b" * 5_000, "malformed"),
    "a field number of zero": (b"\x02\x00", "malformed"),
    "values within values": (with_attribute(field(1, b"a") + field(2, nested(60))), "bad_attributes"),
    "values within values without end": (
        with_attribute(field(1, b"a") + field(2, nested(3_000))),
        "bad_attributes",
    ),
    "an attribute that is no message": (with_attribute(b"\xff\xff"), "bad_attributes"),
    "text that is not UTF-8": (
        with_attribute(field(1, b"a") + field(2, field(1, b"\xff"))),
        "bad_attributes",
    ),
    "NUL": (with_attribute(field(1, b"a") + field(2, field(1, b"\0"))), "nul_character"),
}


@pytest.mark.parametrize(("body", "outcome"), PROTOBUF.values(), ids=PROTOBUF.keys())
def test_nasty_protobuf_costs_its_span_or_its_batch(body: bytes, outcome: str) -> None:
    assert became(body, "otlp-protobuf") == outcome


def test_ten_thousand_attributes_cost_their_span() -> None:
    request = ExportTraceServiceRequest()
    request.CopyFrom(samples.otlp(samples.table(2)))
    for number in range(10_000):
        samples.attribute(request.resource_spans[0].scope_spans[0].spans[0], str(number), "v")
    decoded = decode(raw(request.SerializeToString(), "otlp-protobuf"))
    assert (decoded.counts, reasons(decoded)) == ([1], ["bad_attributes"])


def column(name: str, values: Any) -> bytes:
    return ipc(with_column(EVENTS, name, values))


def nest(levels: int) -> str:
    return '{"a":' + "[" * levels + "]" * levels + "}"


def a_file() -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, EVENTS.schema) as writer:
        writer.write_table(EVENTS)
    return bytes(sink.getvalue())


def deep_type(levels: int) -> bytes:
    """A stream whose schema has one more column, of lists within lists; pyarrow writes no rows of it."""
    kind = pa.null()
    for _ in range(levels):
        kind = pa.list_(kind)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, EVENTS.schema.append(pa.field("deep", kind))):
        pass
    return bytes(sink.getvalue())


ARROW = {
    "a file, not a stream": (a_file(), "malformed"),
    "a length beyond the end": (b"\xff\xff\xff\xff" + struct.pack("<i", 2**31 - 1), "malformed"),
    "a negative length": (b"\xff\xff\xff\xff" + struct.pack("<i", -8), "malformed"),
    "cut in the schema": (ipc(EVENTS)[:300], "malformed"),
    "cut in the events": (ipc(EVENTS)[:-300], "malformed"),
    "a column of a type that nobody casts": (column("service", pa.array([[[1]], [[2]]])), "bad_schema"),
    "names with NUL in a type": (column("service", pa.array([{"a\0b": 1}] * 2)), "bad_schema"),
    "thousands of names in a type": (
        column("event_id", pa.array([{f"field-{number}": 1 for number in range(3_000)}] * 2)),
        "bad_schema",
    ),
    "an unknown column of a very deep type": (deep_type(2_000), "malformed"),
    "text that is not UTF-8": (column("service", pa.array([b"\xff", b"ok"])), "bad_utf8"),
    "NUL": (column("service", pa.array(["\0", "ok"])), "nul_character"),
    "a time that microseconds can't say": (
        column("started_at", pa.array([2**62, 2**62], pa.timestamp("s"))),
        "bad_time",
    ),
    "JSON attributes just deep enough": (column("attributes", pa.array([nest(100)] * 2)), KEPT),
    "JSON attributes as deep as Python can just read": (
        column("attributes", pa.array([nest(940), "{}"])),
        "bad_attributes",
    ),
}


@pytest.mark.parametrize(("body", "outcome"), ARROW.values(), ids=ARROW.keys())
def test_a_nasty_arrow_stream_costs_its_event_or_its_batch(body: bytes, outcome: str) -> None:
    assert became(body, "arrow") == outcome


@pytest.mark.parametrize("form", samples.FORMATS)
def test_an_event_that_is_there_twice_is_there_twice(form: str) -> None:
    """Ids are the agent's: what it counts twice is counted twice; only batches are known by their id."""
    twice = pa.concat_tables([samples.table(1), samples.table(1)])
    assert decode(raw(samples.written(twice, form), form)).counts == [2]
