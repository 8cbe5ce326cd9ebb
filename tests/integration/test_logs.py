"""Log records from an unmodified OpenTelemetry exporter to the tables, beside the spans of the same trace."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from sqlalchemy import Engine, select

from db import tables
from db.engine import connect, read
from db.settings import DatabaseSettings
from deploy.local.rabbitmq import RabbitNode
from tests.whole import Whole, running, until

RESOURCE = Resource.create({"service.name": "shop", "replicas": 3})
LOUD, QUIET = 12, 100
"""Records of an error's severity, and of one that the default pipeline keeps one of a hundred of."""


@pytest.fixture
def whole(tmp_path: Path, rabbitmq: RabbitNode, database_url: str) -> Iterator[Whole]:
    urls = {"amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    with running(tmp_path, database_url=database_url, **urls) as whole:
        yield whole


def exported(url: str, key: str) -> str:
    """Log as a program does, within a span, by the SDK's own exporters; returns the trace's id."""
    headers = {"Authorization": f"Bearer {key}"}
    logs, spans = LoggerProvider(resource=RESOURCE), TracerProvider(resource=RESOURCE)
    exporter = OTLPLogExporter(f"{url}/v1/logs", headers=headers, compression=Compression.Gzip)
    logs.add_log_record_processor(BatchLogRecordProcessor(exporter))
    spans.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces", headers=headers)))
    logger = logging.Logger("shop.cart", logging.DEBUG)
    logger.addHandler(LoggingHandler(logger_provider=logs))
    with spans.get_tracer("probe").start_as_current_span("GET /cart") as span:
        for number in range(LOUD):
            logger.error("no stock of %s", number, extra={"item": number, "password": "hunter2"})
        context = span.get_span_context()
    for number in range(QUIET):
        logger.info("looked at %s", number)
    assert logs.force_flush()
    logs.shutdown()
    spans.shutdown()
    return trace.format_trace_id(context.trace_id)


def books(whole: Whole, slug: str) -> Any:
    """The customer's books once nothing is in flight, with the result tables; they have to balance."""

    def settled() -> bool:
        return bool(whole.books(slug)["customers"][0]["owed_batches"] == 0)

    until(settled, "all to be deposited")
    document = json.loads(whole.flask("books", "--customer", slug, "--results", "--json").stdout)
    assert document["balanced"] is True, document
    return document["customers"][0]


def rows(engine: Engine, table: Any) -> list[Any]:
    with read(engine) as connection:
        return list(connection.execute(select(table)).all())


def test_what_the_sdk_logs_is_kept_counted_and_joined_to_its_trace(
    whole: Whole, slug: str, database_url: str
) -> None:
    key, engine = whole.add_customer(slug), connect(DatabaseSettings(url=database_url))
    trace_id = bytes.fromhex(exported(whole.url, key))
    found = books(whole, slug)
    assert (found["decoded"], found["kept"], found["kept_logs"]) == (LOUD + QUIET + 1,) * 2 + (LOUD + QUIET,)
    assert found["results"]["log_rollups"] == LOUD + QUIET

    kept = rows(engine, tables.logs)
    loud = sorted((one for one in kept if one.severity_number == 17), key=lambda one: one.position)
    assert len(loud) == LOUD
    first = loud[0]
    assert first.body == {"stringValue": "no stock of 0"}
    assert {one["key"]: one["value"] for one in first.attributes}.items() >= {
        "item": {"intValue": "0"},
        "password": {"stringValue": "[redacted]"},
    }.items()
    assert (first.service, first.severity_text, first.trace_id) == ("shop", "ERROR", trace_id)
    assert first.scope["name"] == "shop.cart"
    assert {"key": "replicas", "value": {"intValue": "3"}} in first.resource["attributes"]
    assert first.time_ns // 1_000 == round(first.at.timestamp() * 1e6)

    counts: dict[str, int] = {}
    for one in rows(engine, tables.log_rollups):
        counts[one.severity] = counts.get(one.severity, 0) + one.count
    assert counts == {"error": LOUD, "info": QUIET}
    [interaction] = rows(engine, tables.interactions)
    assert (interaction.trace_id, interaction.events, interaction.errors) == (trace_id, 1, 0)
    assert (interaction.logs, interaction.log_errors, interaction.status) == (LOUD, LOUD, "ok")
    assert interaction.root_operation == "GET /cart"
    engine.dispose()

    again = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    for status in (200, 200):  # of the same id: the second is a duplicate
        body = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"no time"}}]}]}]}'
        assert whole.post("/v1/logs", body, again).status == status
    found = books(whole, slug)
    assert (found["duplicates"], found["rejected"], found["kept_logs"]) == (1, 1, LOUD + QUIET)
