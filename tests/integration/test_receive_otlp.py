"""POST /v1/traces: an unmodified OpenTelemetry SDK is an agent, and refusals speak its language."""

import gzip
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from google.rpc import code_pb2, status_pb2  # type: ignore[import-untyped] # it ships none
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from tests.receiver import Home, Receiver, until

PROTOBUF = "application/x-protobuf"
JSON = "application/json"


def exporter(url: str, key: str, compression: Compression = Compression.NoCompression) -> OTLPSpanExporter:
    return OTLPSpanExporter(
        endpoint=f"{url}/v1/traces", headers={"Authorization": f"Bearer {key}"}, compression=compression
    )


def send_spans(to: SpanExporter, count: int) -> None:
    """Make spans as an application does and wait until the SDK has sent them."""
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    provider.add_span_processor(BatchSpanProcessor(to))
    tracer = provider.get_tracer("probe")
    for number in range(count):
        with tracer.start_as_current_span(f"GET /orders/{number}") as span:
            span.set_attribute("enduser.id", "u-1")
    assert provider.force_flush()
    provider.shutdown()


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_what_the_sdk_exports_lies_in_the_stream(
    receiver: Receiver, home: Home, slug: str, compression: Compression
) -> None:
    send_spans(exporter(receiver.url, home.add(slug), compression), 20)
    [envelope] = home.envelopes(slug)
    assert (envelope.format, envelope.content_type) == ("otlp-protobuf", PROTOBUF)
    assert envelope.agent.startswith("OTel")
    body = bytes(envelope.body)
    if compression is Compression.Gzip:
        assert envelope.content_encoding == "gzip"
        body = gzip.decompress(body)
    if compression is not Compression.Deflate:
        request = ExportTraceServiceRequest.FromString(body)
        spans = request.resource_spans[0].scope_spans[0].spans
        assert sorted(span.name for span in spans) == sorted(f"GET /orders/{n}" for n in range(20))


class Hiccup(BaseHTTPRequestHandler):
    """A proxy that passes a request on and then answers 503 the first time, as if the answer was lost."""

    protocol_version = "HTTP/1.1"
    receiver: Receiver
    lost = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.receiver.client.post(
            self.receiver.url + self.path, content=body, headers=dict(self.headers)
        )
        first, type(self).lost = not self.lost, True
        self.send_response(503 if first else answer.status_code)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        return


def test_the_sdks_own_retry_is_the_same_batch(receiver: Receiver, home: Home, slug: str) -> None:
    handler = type("Bound", (Hiccup,), {"receiver": receiver})
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{proxy.server_address[1]}"
        send_spans(exporter(url, home.add(slug), Compression.Gzip), 5)
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()
    first, second = home.envelopes(slug)
    assert (first.batch_id, first.digest) == (second.batch_id, second.digest)


def test_a_refused_sdk_drops_and_says_so(receiver: Receiver, home: Home, slug: str) -> None:
    home.add(slug)
    failed = []

    class WatchedExporter(OTLPSpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            failed.append(super().export(spans))  # type: ignore[arg-type] # handed through
            return failed[-1]

    send_spans(
        WatchedExporter(endpoint=f"{receiver.url}/v1/traces", headers={"Authorization": "Bearer no"}), 1
    )
    assert failed == [SpanExportResult.FAILURE]
    assert home.envelopes(slug) == []


@pytest.mark.parametrize(("content_type", "body", "said"), [(PROTOBUF, b"\n\0", b""), (JSON, b"{}", b"{}")])
def test_success_is_an_empty_response_in_the_requests_type(
    receiver: Receiver, home: Home, slug: str, content_type: str, body: bytes, said: bytes
) -> None:
    answer = receiver.post(home.add(slug), body, "/v1/traces", content_type=content_type)
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, content_type, said)
    if content_type == PROTOBUF:
        assert ExportTraceServiceResponse.FromString(answer.content) == ExportTraceServiceResponse()
    [envelope] = home.envelopes(slug)
    said = b" otlp-protobuf " if content_type == PROTOBUF else b" otlp-json "
    assert envelope.batch_id == hashlib.sha256(hashlib.sha256(body).digest() + said).hexdigest()


@pytest.mark.parametrize("how", ["a length of none", "chunks"])
def test_an_export_without_spans_is_a_success_of_which_nothing_is_kept(
    receiver: Receiver, home: Home, slug: str, how: str
) -> None:
    key = home.add(slug)
    body = iter([b""]) if how == "chunks" else b""
    answer = receiver.post(key, body, "/v1/traces", content_type=PROTOBUF)
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, PROTOBUF, b"")
    assert receiver.post(None, b"", "/v1/traces", content_type=PROTOBUF).status_code == 401
    assert receiver.post(key, b"", "/v1/traces", content_type=JSON).status_code == 400
    assert home.envelopes(slug) == []
    assert f'customer="{slug}"' not in receiver.metrics()


REFUSED = {
    "no key": (None, b"x", {}, 401, code_pb2.UNAUTHENTICATED),
    "empty": ("key", b"", {"content_encoding": "gzip"}, 400, code_pb2.INVALID_ARGUMENT),
    "encoding": ("key", b"x", {"content_encoding": "lzma"}, 415, code_pb2.INVALID_ARGUMENT),
    "large": ("key", b"x" * (4 * 1024 * 1024 + 1), {}, 413, code_pb2.INVALID_ARGUMENT),
}


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_a_status_in_the_requests_type(
    receiver: Receiver, home: Home, slug: str, case: str, content_type: str
) -> None:
    needs_key, body, headers, status, code = REFUSED[case]
    key = home.add(slug) if needs_key else None
    answer = receiver.post(key, body, "/v1/traces", content_type=content_type, **headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, content_type)
    if content_type == PROTOBUF:
        message = status_pb2.Status.FromString(answer.content)
        assert (message.code, "/problems/" in message.message) == (code, True)
    else:
        document = json.loads(answer.content)
        assert (document["code"], "/problems/" in document["message"]) == (code, True)


def test_another_content_type_is_refused(receiver: Receiver, home: Home, slug: str) -> None:
    answer = receiver.post(home.add(slug), b"x", "/v1/traces", content_type="application/x-ndjson")
    assert (answer.status_code, answer.headers["content-type"]) == (415, JSON)


def test_a_customer_that_has_no_stream_yet_is_unavailable_not_lost(
    receiver: Receiver, home: Home, slug: str
) -> None:
    key = home.add(slug)
    home.broker.delete(f"raw.{slug}")
    until(lambda: not home.broker.exists(f"raw.{slug}"), "the stream to be gone")
    answer = receiver.post(key, b"x", "/v1/traces", content_type=PROTOBUF)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert status_pb2.Status.FromString(answer.content).code == code_pb2.UNAVAILABLE
