"""What agents of the bench post reads back, with parsers that are not ours, as the rows it was made of."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import brotli  # type: ignore[import-untyped]
import pyarrow as pa
import pytest
import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from bench.agents.encode import ENCODINGS, FORMATS, Body, encode
from bench.spans.generate import generate
from bench.spans.oddities import Oddities
from bench.spans.sdk import sdk_spans

UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda content: content,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "zstd": lambda content: zstandard.ZstdDecompressor().decompressobj().decompress(content),
    "br": lambda content: bytes(brotli.decompress(content)),
}


def _some() -> pa.Table:
    return generate(3_000, seed=9, odd=Oddities()).slice(500, 700)


@pytest.fixture(scope="module")
def spans() -> pa.Table:
    return _some()


def _rows(spans: pa.Table) -> list[tuple[Any, ...]]:
    """Comparable whatever the order: OTLP groups rows by where they come from."""
    return sorted(
        (
            row["trace_id"].hex(), row["span_id"].hex(), (row["parent_id"] or b"").hex(),
            int(row["started_at"].timestamp() * 1e6 + 0.5), row["duration_us"], row["service"],
            row["operation"], row["status"], tuple(sorted(row["attributes"])),
        )
        for row in spans.to_pylist()
    )  # fmt: skip


def _of_arrow(content: bytes) -> list[tuple[Any, ...]]:
    table = pa.ipc.open_stream(content).read_all()
    return _rows(
        table.rename_columns(["span_id" if name == "event_id" else name for name in table.column_names])
    )


def _of_objects(objects: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted(
        (
            row["trace_id"], row["event_id"], row.get("parent_id", ""),
            int(datetime.fromisoformat(row["started_at"]).timestamp() * 1e6 + 0.5), row["duration_us"],
            row["service"], row["operation"], row["status"], tuple(sorted(row["attributes"].items())),
        )
        for row in objects
    )  # fmt: skip


def _texts(pairs: Iterable[KeyValue]) -> dict[str, str]:
    return {pair.key: str(getattr(pair.value, pair.value.WhichOneof("value") or "")) for pair in pairs}


def _of_protobuf(content: bytes) -> list[tuple[Any, ...]]:
    rows = []
    for resource in ExportTraceServiceRequest.FromString(content).resource_spans:
        shared = _texts(resource.resource.attributes)
        service = shared.pop("service.name")
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            own = _texts(span.attributes)
            start, end = span.start_time_unix_nano, span.end_time_unix_nano
            rows.append(
                (
                    span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), start // 1_000,
                    (end - start) // 1_000, service, span.name, "error" if span.status.code == 2 else "ok",
                    tuple(sorted((shared | own).items())),
                )
            )  # fmt: skip
    return sorted(rows)


def _of_otlp_json(content: bytes) -> list[tuple[Any, ...]]:
    def pairs(attributes: list[dict[str, Any]]) -> dict[str, str]:
        return {pair["key"]: text for pair in attributes for text in pair["value"].values()}

    rows = []
    for resource in json.loads(content)["resourceSpans"]:
        shared = pairs(resource["resource"]["attributes"])
        service = shared.pop("service.name")
        for span in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
            start, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
            rows.append(
                (
                    span["traceId"], span["spanId"], span.get("parentSpanId", ""), start // 1_000,
                    (end - start) // 1_000, service, span["name"],
                    "error" if span.get("status", {}).get("code") == 2 else "ok",
                    tuple(sorted((shared | pairs(span["attributes"])).items())),
                )
            )  # fmt: skip
    return sorted(rows)


READ: dict[str, Callable[[bytes], list[tuple[Any, ...]]]] = {
    "arrow": _of_arrow,
    "ndjson": lambda content: _of_objects([json.loads(line) for line in content.splitlines()]),
    "json": lambda content: _of_objects(json.loads(content)),
    "otlp": _of_protobuf,
    "otlp-json": _of_otlp_json,
}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_holds_the_rows_that_it_was_made_of(spans: pa.Table, form: str) -> None:
    assert READ[form](encode(spans, form).content) == _rows(spans)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_holds_the_spans_of_an_sdk(form: str) -> None:
    spans = sdk_spans(600, batch=50, seed=3)
    assert READ[form](encode(spans, form).content) == _rows(spans)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_unpacks_to_the_same_bytes(spans: pa.Table, encoding: str) -> None:
    assert UNPACK[encoding](encode(spans, "ndjson", encoding).content) == encode(spans, "ndjson").content


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_same_rows_give_the_same_bytes(spans: pa.Table, form: str, encoding: str) -> None:
    assert encode(spans, form, encoding) == encode(_some(), form, encoding)


def test_a_body_says_where_it_goes_and_what_it_is(spans: pa.Table) -> None:
    said = {form: (body.path, body.content_type) for form in FORMATS for body in [encode(spans, form)]}
    assert said == {
        "arrow": ("/v1/batches", "application/vnd.apache.arrow.stream"),
        "ndjson": ("/v1/batches", "application/x-ndjson"),
        "json": ("/v1/batches", "application/json"),
        "otlp": ("/v1/traces", "application/x-protobuf"),
        "otlp-json": ("/v1/traces", "application/json"),
    }
    assert isinstance(encode(spans, "arrow", "br"), Body)
    assert encode(spans, "arrow", "br").content_encoding == "br"
    assert encode(spans, "arrow").content_encoding == ""


def test_only_roots_have_no_parent_in_json(spans: pa.Table) -> None:
    lines = [json.loads(line) for line in encode(spans, "ndjson").content.splitlines()]
    assert sum("parent_id" not in line for line in lines) == spans["parent_id"].null_count > 0


def test_a_kind_that_is_known_is_said() -> None:
    spans = generate(3, seed=1)
    spans = spans.set_column(spans.column_names.index("kind"), "kind", pa.array(["server", None, "client"]))
    [kinds] = [
        sorted(
            span.kind
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        )
        for request in [ExportTraceServiceRequest.FromString(encode(spans, "otlp").content)]
    ]
    assert kinds == [0, 2, 3]


def test_what_is_no_number_is_sent_as_text() -> None:
    said = [("thread.id", value) for value in ("7", "07", "", "1e3", "9" * 19)]
    spans = generate(5, seed=1)
    pairs = pa.array([[one] for one in said], spans.schema.field("attributes").type)
    spans = spans.set_column(spans.column_names.index("attributes"), "attributes", pairs)
    assert READ["otlp"](encode(spans, "otlp").content) == _rows(spans)
    assert READ["otlp-json"](encode(spans, "otlp-json").content) == _rows(spans)
