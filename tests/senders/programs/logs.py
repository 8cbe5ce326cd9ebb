"""Log records by the OpenTelemetry SDK for Python, as spans.py for spans: `python logs.py PLAN`."""

import json
import logging
import sys
import time
from importlib.metadata import version
from typing import Any

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

MOST_RECORDS = 5000
FLUSH_MS = 60_000


class ToldLogExporter:
    """The SDK's own exporter; `acknowledged` says what the last export came to."""

    def __init__(self) -> None:
        self._exporter = OTLPLogExporter()
        self.acknowledged = False

    def export(self, batch: Any) -> Any:
        self.acknowledged = False
        result = self._exporter.export(batch)
        self.acknowledged = result.name == "SUCCESS"
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call] # it has no types


def main() -> None:
    plan = json.loads(sys.argv[1])
    exporter: Any = ToldLogExporter()
    provider = LoggerProvider()
    provider.add_log_record_processor(
        BatchLogRecordProcessor(exporter, max_queue_size=2 * MOST_RECORDS, max_export_batch_size=MOST_RECORDS)
    )
    logger = logging.Logger("sender")
    logger.addHandler(LoggingHandler(logger_provider=provider))
    for number, records in enumerate(plan["batches"]):
        time.sleep(plan["pause_s"])
        exporter.acknowledged = False
        for _ in range(records):
            logger.error(f"{plan['mark']} {number}")
        provider.force_flush(FLUSH_MS)
        line = {"batch": number, "events": records, "acknowledged": exporter.acknowledged}
        print(json.dumps(line | {"version": version("opentelemetry-sdk")}), flush=True)
    provider.shutdown()


if __name__ == "__main__":
    main()
