"""Spans by the OpenTelemetry SDK for Python, whichever release of it: `python spans.py PLAN`.

The plan is JSON: `mark`, `batches` (spans of each), `pause_s`. For each batch, a line of JSON is printed.
Where the spans go to, and with what key, is in OpenTelemetry's own variables.
"""

import json
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

MOST_SPANS = 5000
FLUSH_MS = 60_000


class ToldExporter(SpanExporter):
    """The SDK's own exporter; `acknowledged` says what the last export came to."""

    def __init__(self) -> None:
        self._exporter = OTLPSpanExporter()
        self.acknowledged = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.acknowledged = False
        result = self._exporter.export(spans)
        self.acknowledged = result is SpanExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call] # it has no types


def main() -> None:
    plan = json.loads(sys.argv[1])
    exporter = ToldExporter()
    provider = TracerProvider()
    provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=2 * MOST_SPANS, max_export_batch_size=MOST_SPANS)
    )
    tracer = provider.get_tracer("sender", "1.0")
    for number, spans in enumerate(plan["batches"]):
        time.sleep(plan["pause_s"])
        exporter.acknowledged = False
        for _ in range(spans):
            tracer.start_span(f"{plan['mark']} {number}").end()
        provider.force_flush(FLUSH_MS)
        line = {"batch": number, "events": spans, "acknowledged": exporter.acknowledged}
        print(json.dumps(line | {"version": version("opentelemetry-sdk")}), flush=True)
    provider.shutdown()


if __name__ == "__main__":
    main()
