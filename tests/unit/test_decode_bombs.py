"""Small bodies that would become large ones: refused before, in bounded memory.

Each is decoded in a process of its own, whose memory is looked at from outside: that of native code counts.
"""

import gzip
import json
import struct
from collections.abc import Callable
from typing import Any

import brotli  # type: ignore[import-untyped]
import numpy as np
import pyarrow as pa
import pytest
import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tasks.events import EVENTS
from tests.unit import decode_samples as samples
from tests.unit.decode_apart import Decoder
from tests.unit.decode_samples import ipc

MIB = 1024 * 1024
LIMIT = 64 * MIB - 100


def answered(answer: dict[str, Any]) -> str:
    """The reason of an unfit batch, "" for one that is not; an exception is a failure."""
    assert answer["error"] is None, answer["error"]
    return answer["unfit"] or ""


def claiming(size: int) -> bytes:
    """A stream one of whose compressed buffers says that it unpacks to `size` bytes."""
    body = bytearray(samples.streams()["zstd"])
    place = body.index(b"\x28\xb5\x2f\xfd") - 8  # the first zstd frame; its length stands before it
    body[place : place + 8] = struct.pack("<q", size)
    return bytes(body)


def rows_of_nothing(rows: int) -> bytes:
    """A stream of so many rows without a byte for each: null columns take none."""
    return ipc(pa.table({name: pa.nulls(rows) for name in EVENTS.names}))


def repeated(rows: int, **columns: Any) -> pa.Table:
    """The same event over and over, but for some columns."""
    same = samples.table(1).take(pa.array([0] * rows))
    for name, values in columns.items():
        same = samples.with_column(same, name, values)
    return same


def wide_words() -> bytes:
    """Many rows that share one word of a megabyte."""
    return ipc(repeated(200_000, service=pa.DictionaryArray.from_arrays([0] * 200_000, ["x" * MIB])))


def inner_bomb() -> bytes:
    """A long text over and over, compressed inside the stream."""
    return ipc(repeated(1_000, operation=pa.array(["\x01" * 300_000] * 1_000, pa.large_string())), "zstd")


def spans_of_nothing(span: bytes, count: int = LIMIT // 3) -> bytes:
    """`count` empty spans; `span` is their tag, in as many bytes as it likes, and a length of 0."""
    spans = span * count
    scope = b"\x12" + samples.varint(len(spans)) + spans
    return b"\x0a" + samples.varint(len(scope)) + scope


def attributes_of_nothing() -> bytes:
    span = b"\x4a\x00" * (LIMIT // 2)
    scope = b"\x12" + samples.varint(len(span)) + span
    group = b"\x12" + samples.varint(len(scope)) + scope
    return b"\x0a" + samples.varint(len(group)) + group


def one_resource_for_many_spans() -> bytes:
    """Every span would get a copy of its resource's attribute: gigabytes."""
    made = samples.otlp(samples.with_column(samples.table(5_000), "service", pa.array(["one"] * 5_000)))
    samples.attribute(made.resource_spans[0].resource, "large", "x" * MIB)
    return made.SerializeToString()


ROWS = 400_000


def hollow(**columns: Any) -> bytes:
    """A stream of hundreds of thousands of rows that takes a few kilobytes, with `columns` of one's own."""
    zeros = pa.array([0], pa.int8()).take(pa.array(np.zeros(ROWS, np.int32)))
    made: dict[str, Any] = {name: pa.nulls(ROWS) for name in EVENTS.names}
    made |= {"started_at": zeros, "duration_us": zeros} | columns
    return ipc(pa.table(made), "zstd")


def fields_of_nothing() -> bytes:
    """Every field of every row would get a place in several columns."""
    return hollow(
        attributes=pa.StructArray.from_arrays([pa.nulls(ROWS)] * 1_000, names=list(map(str, range(1_000))))
    )


def words_over_and_over() -> bytes:
    """One row with millions of attributes, all the same."""
    count = 12_000_000
    codes = pa.array([0], pa.int8()).take(pa.array(np.zeros(count, np.int32)))
    offsets = pa.array([0] * ROWS + [count], pa.int32())
    word = pa.DictionaryArray.from_arrays(codes, ["k" * 15])
    return hollow(attributes=pa.MapArray.from_arrays(offsets, word, word))


def wide_words_in_every_column() -> bytes:
    """Each column alone would fit, all of them together do not."""
    word = pa.DictionaryArray.from_arrays([0] * 250, ["x" * MIB])
    names = ("service", "operation", "kind", "status", "status_message", "user_id")
    return ipc(repeated(250, **dict.fromkeys(names, word)))


def json_in_a_dictionary() -> bytes:
    """One word of JSON, to be parsed for every row."""
    word = '{"a":[' + "[]," * 16_000 + "[]]}"
    return ipc(repeated(4_000, attributes=pa.DictionaryArray.from_arrays([0] * 4_000, [word])))


def json_that_compresses() -> bytes:
    return ipc(repeated(4_000, attributes=pa.array(['{"a":[' + "[]," * 5_000 + "[]]}"] * 4_000)), "zstd")


def one_bad_text(body: bytes) -> bytes:
    """The same stream, but that the operation of its first row is not UTF-8."""
    place = body.index(b"GET /things/0")
    return body[:place] + b"\xff" + body[place + 1 :]


def views_of_one_text() -> bytes:
    """Many rows that look at the same megabyte."""
    view = struct.pack("<i4sii", MIB, b"xxxx", 0, 0) * 200_000
    buffers = [None, pa.py_buffer(view), pa.py_buffer(b"x" * MIB)]
    return ipc(repeated(200_000, status_message=pa.Array.from_buffers(pa.string_view(), 200_000, buffers)))


def dictionaries_without_number() -> bytes:
    """Lists of millions of words, whose dictionaries are more than their indices can number."""
    words = [pa.array([f"{part}-{word}" for word in range(100)]) for part in range(2)]
    codes = pa.array(np.zeros(12_000_000, np.int8))
    lists = [
        pa.ListArray.from_arrays(
            pa.array([0, len(codes)], pa.int32()),
            pa.StructArray.from_arrays(
                [pa.DictionaryArray.from_arrays(codes, each)] * 2, names=["key", "value"]
            ),
        )
        for each in words
    ]
    return ipc(pa.concat_tables(repeated(1, attributes=each) for each in lists))


def many_attributes_for_many_spans() -> bytes:
    """A thousand attributes of a resource, times its spans."""
    made = ExportTraceServiceRequest()
    group = made.resource_spans.add()
    for number in range(1_000):
        samples.attribute(group.resource, str(number), "v")
    spans = group.scope_spans.add().spans
    for _ in range(32_000):
        spans.add()
    return made.SerializeToString()


def many_attributes_for_many_spans_in_json() -> bytes:
    attributes = [{"key": str(number), "value": {"stringValue": "v"}} for number in range(1_000)]
    group = {"resource": {"attributes": attributes}, "scopeSpans": [{"spans": [{}] * 32_000}]}
    return json.dumps({"resourceSpans": [group]}).encode()


BOMBS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "a buffer that claims petabytes": ("arrow", lambda: claiming(2**50), "too_large"),
    "a buffer that claims gigabytes": ("arrow", lambda: claiming(2**33), "too_large"),
    "a buffer that claims less than nothing": ("arrow", lambda: claiming(-2), "too_large"),
    "a hundred million rows of nothing": ("arrow", lambda: rows_of_nothing(100_000_000), "too_many_events"),
    "rows of nothing": ("arrow", lambda: rows_of_nothing(400_000), "bad_schema"),
    "one word for all rows": ("arrow", wide_words, "bad_schema"),
    "a bomb inside the stream": ("arrow", inner_bomb, "too_large"),
    "an array of zeros": ("json", lambda: b"[" + b"0," * (LIMIT // 2 - 1) + b"0]", "too_many_values"),
    "an array of objects": ("json", lambda: b"[" + b"{}," * (LIMIT // 3 - 1) + b"{}]", "too_many_values"),
    "empty lines": ("ndjson", lambda: b"\n" * LIMIT, "too_many_events"),
    "lines that are no objects": ("ndjson", lambda: b"0\n" * 400_000, "too_many_rejects"),
    "an attribute of arrays": (
        "ndjson",
        lambda: samples.ndjson(samples.one())[:-3] + b',"x":[' + b"[]," * (LIMIT // 4) + b"[]]}}",
        "too_many_values",
    ),
    "deep arrays": ("json", lambda: b"[" * LIMIT, "too_many_values"),
    "spans in JSON": (
        "otlp-json",
        lambda: b'{"resourceSpans":[' + b"{}," * (LIMIT // 4) + b"{}]}",
        "too_many_values",
    ),
    "spans": ("otlp-protobuf", lambda: spans_of_nothing(b"\x12\x00"), "too_many_values"),
    "spans with long tags": ("otlp-protobuf", lambda: spans_of_nothing(b"\x92\x00\x00"), "too_many_values"),
    "one resource for many spans": ("otlp-protobuf", one_resource_for_many_spans, "too_large"),
    "attributes": ("otlp-protobuf", attributes_of_nothing, "too_many_values"),
    "fields of nothing": ("arrow", fields_of_nothing, "too_many_values"),
    "words over and over": ("arrow", words_over_and_over, "too_many_values"),
    "wide words in every column": ("arrow", wide_words_in_every_column, "bad_schema"),
    "JSON in a dictionary": ("arrow", json_in_a_dictionary, "too_many_values"),
    "one word for all rows, and one bad text": ("arrow", lambda: one_bad_text(wide_words()), "bad_schema"),
    "views of one text": ("arrow", views_of_one_text, "bad_schema"),
    "views of one text, and one bad text": ("arrow", lambda: one_bad_text(views_of_one_text()), "bad_schema"),
    "dictionaries without number": ("arrow", dictionaries_without_number, "too_many_values"),
    "an array of strings that nothing parts": (
        "json",
        lambda: b"[" + b'""' * (LIMIT // 2) + b"]",
        "too_many_values",
    ),
    "JSON that compresses": ("arrow", json_that_compresses, "too_many_values"),
    "many attributes for many spans": ("otlp-protobuf", many_attributes_for_many_spans, "too_many_values"),
    "the same in JSON": ("otlp-json", many_attributes_for_many_spans_in_json, "too_many_values"),
}


@pytest.mark.parametrize(("form", "make", "reason"), BOMBS.values(), ids=BOMBS.keys())
def test_what_would_blow_up_when_read_is_refused_before(
    form: str, make: Callable[[], bytes], reason: str
) -> None:
    decoder = Decoder()
    body = make()
    answer = decoder(body, form)
    decoder.close()
    assert answered(answer) == reason
    assert answer["grown_bytes"] < 2 * len(body) + 300 * MIB


def dense_objects() -> bytes:
    """Attributes as many and as small as they may be."""
    attributes = ",".join(f'"{number:x}":0' for number in range(990_000))
    return samples.ndjson(samples.one())[:-3] + b"," + attributes.encode() + b"}}"


def scopes_of_one_resource() -> bytes:
    """A resource with many attributes, and many scopes of one span; the last is none."""
    attributes = ",".join(f'{{"key":"{number}"}}' for number in range(5_000))
    scopes = '{"spans":[{}]},' * 90_000 + "none"
    group = f'{{"resource":{{"attributes":[{attributes}]}},"scopeSpans":[{scopes}]}}'
    return f'{{"resourceSpans":[{group}]}}'.encode()


def dense_spans() -> bytes:
    return b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"{}," * 490_000 + b"{}]}]}]}"


@pytest.mark.parametrize(
    ("form", "make"),
    [
        ("ndjson", dense_objects),
        ("otlp-json", dense_spans),
        ("otlp-json", scopes_of_one_resource),
        ("otlp-protobuf", lambda: spans_of_nothing(b"\x12\x00", 99_000)),
    ],
)
def test_what_is_just_within_the_bounds_stays_within_memory(form: str, make: Callable[[], bytes]) -> None:
    decoder = Decoder()
    answer = decoder(make(), form, values=1_000_000, events=500_000)
    decoder.close()
    assert answered(answer)
    assert answer["grown_bytes"] < 350 * MIB


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("br", lambda data: brotli.compress(data, quality=5)),
        ("zstd", zstandard.compress),
    ],
)
def test_a_compressed_bomb_costs_no_more_than_the_bound(
    encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    decoder = Decoder()
    answer = decoder(pack(bytes(200 * MIB)), "ndjson", encoding, ratio=10**6)
    decoder.close()
    assert answered(answer) == "too_large"
    assert answer["grown_bytes"] < 3 * LIMIT
