"""Rows of a table of spans as the body that an agent posts; knows the documented formats, no code of ours."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import brotli  # type: ignore[import-untyped]
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import zstandard

from bench.agents.otlp import to_json, to_protobuf


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What is posted, and where: `content_encoding` is "" for none."""

    content: bytes
    path: str
    content_type: str
    content_encoding: str


def encode(spans: pa.Table, form: str, encoding: str = "none") -> Body:
    """The rows of `spans` (columns as in a Parquet file of spans) in one of FORMATS and one of ENCODINGS.

    Deterministic: the same rows give the same bytes. Raises KeyError for an unknown format or encoding.
    """
    _, _, write = FORMATS[form]
    return packed(write(spans), form, encoding)


def packed(content: bytes, form: str, encoding: str) -> Body:
    """What is written in one of FORMATS already, in one of ENCODINGS."""
    path, content_type, _ = FORMATS[form]
    named = "" if encoding == "none" else encoding
    return Body(
        content=ENCODINGS[encoding](content),
        path=path,
        content_type=content_type,
        content_encoding=named,
    )


def _arrow(spans: pa.Table) -> bytes:
    table = spans.rename_columns(["event_id" if name == "span_id" else name for name in spans.column_names])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _ndjson(spans: pa.Table) -> bytes:
    return msgspec.json.Encoder().encode_lines(_objects(spans))


def _json(spans: pa.Table) -> bytes:
    return msgspec.json.encode(_objects(spans))


def _objects(spans: pa.Table) -> list[dict[str, object]]:
    """One object a row: ids in hex, times in RFC 3339 with microseconds; a null is left out."""
    micros = pc.cast(spans["started_at"], pa.int64()).to_numpy()
    started = np.datetime_as_string(micros.astype("datetime64[us]"), unit="us")
    columns = zip(
        spans["span_id"].to_pylist(),
        spans["trace_id"].to_pylist(),
        spans["parent_id"].to_pylist(),
        started.tolist(),
        spans["duration_us"].to_pylist(),
        spans["service"].to_pylist(),
        spans["operation"].to_pylist(),
        spans["kind"].to_pylist(),
        spans["status"].to_pylist(),
        spans["attributes"].to_pylist(),
        strict=True,
    )
    return [
        {
            "event_id": event.hex(),
            "trace_id": trace.hex(),
            **({"parent_id": parent.hex()} if parent else {}),
            "started_at": f"{start}Z",
            "duration_us": duration,
            "service": service,
            "operation": operation,
            **({} if kind is None else {"kind": kind}),
            "status": status,
            "attributes": dict(pairs or ()),
        }
        for event, trace, parent, start, duration, service, operation, kind, status, pairs in columns
    ]


def _gzip(content: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)  # writes no time stamp, unlike the gzip module
    return packer.compress(content) + packer.flush()


FORMATS: dict[str, tuple[str, str, Callable[[pa.Table], bytes]]] = {
    "arrow": ("/v1/batches", "application/vnd.apache.arrow.stream", _arrow),
    "ndjson": ("/v1/batches", "application/x-ndjson", _ndjson),
    "json": ("/v1/batches", "application/json", _json),
    "otlp": ("/v1/traces", "application/x-protobuf", to_protobuf),
    "otlp-json": ("/v1/traces", "application/json", to_json),
}
OTLP_FORMATS = frozenset(name for name, (path, _, _) in FORMATS.items() if path == "/v1/traces")
ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda content: content,
    "gzip": _gzip,
    "deflate": lambda content: zlib.compress(content, 6),
    "zstd": lambda content: zstandard.ZstdCompressor(level=3).compress(content),
    "br": lambda content: bytes(brotli.compress(content, quality=5)),
}
