"""Sluice traces its own work, and posts the spans to itself: to a customer that is not traced."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import structlog
from sqlalchemy import text
from structlog.testing import LogCapture

from deploy.local import ports
from deploy.local.rabbitmq import RabbitNode
from streams import raw
from tests import receiver
from tests.commands import RETENTION, flask
from tests.integration.test_whole import event, ndjson
from tests.live import MINE
from tests.receiver import Home
from tests.whole import ROOT, Whole, until
from tracing import Tracer, claimed_customer, recording
from tracing.recording import MOST_WAITING
from webapp.terminal.exits import Exit

OWN = "sluice-itself"
FOREIGN = "4bf92f3577b34da6a3ce929d0e0e4736"
"""A trace of an agent's."""
# All is traced, and told soon.
SOON = {"OTEL_TRACES_SAMPLER": "parentbased_always_on", "OTEL_BSP_SCHEDULE_DELAY": "300"}


@pytest.fixture(scope="module")
def home(
    rabbitmq: RabbitNode, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Home]:
    path = tmp_path_factory.mktemp("traces") / "sluice.db"
    path.write_bytes(sqlite_template.read_bytes())
    with receiver.home(f"sqlite:///{path}", rabbitmq) as found:
        yield found


@pytest.fixture(scope="module")
def traced(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """All processes, which post their spans to their own receiver."""
    key = home.add(OWN)
    keep_all = tmp_path_factory.mktemp("pipeline") / "keep.json"
    keep_all.write_text('{"steps": [{"step": "keep", "percent": 100}]}')
    assert flask(home, "pipeline", "set", OWN, str(keep_all)).exit_code == Exit.OK
    headers = keep_all.with_name("headers")
    headers.write_text(f"Authorization=Bearer%20{key}\n")
    environment = receiver.bare_environment() | dict(home.environment) | RETENTION | SOON
    found = Whole(folder=tmp_path_factory.mktemp("logs"), environment=environment)
    found.environment |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": found.url,
        "OTEL_EXPORTER_OTLP_HEADERS_FILE": str(headers),
    }
    try:
        found.start_all()
        yield found
    finally:
        found.stop()


def spans(home: Home) -> list[dict[str, Any]]:
    """What is stored of our own work, oldest first."""
    columns = "event_id, parent_id, trace_id, service, operation, kind, status, attributes"
    with home.engine.connect() as connection:
        rows = connection.execute(
            text(f"SELECT {columns} FROM events WHERE {MINE} ORDER BY started_at"), {"slug": OWN}
        )
        return [{**row._mapping, "attributes": json.loads(row.attributes)} for row in rows]


def of(found: list[dict[str, Any]], operation: str, **attributes: str) -> list[dict[str, Any]]:
    return [
        one
        for one in found
        if one["operation"] == operation
        and attributes.items()
        <= {name.replace(".", "_"): value for name, value in one["attributes"].items()}.items()
    ]


def test_a_batch_leaves_spans_of_all_processes_in_the_right_order(
    home: Home, traced: Whole, slug: str
) -> None:
    key = home.add(slug)
    body = ndjson(event("one"), event("two"))
    sent = traced.post_batch(key, body, traceparent=f"00-{FOREIGN}-00f067aa0ba902b7-01")
    assert sent.status == 202

    def whole_trace() -> dict[str, dict[str, Any]] | None:
        stored = spans(home)
        dispatched = of(stored, "dispatch", sluice_customer=slug)
        if not dispatched:
            return None
        below = [one for one in stored if one["trace_id"] == dispatched[0]["trace_id"]]
        named = {one["operation"]: one for one in below}
        return named if {"run/deposit", "deposit", "process"} <= named.keys() else None

    named: dict[str, dict[str, Any]] = until(whole_trace, "the window's trace to be stored")
    ids = {name: one["event_id"] for name, one in named.items()}
    assert {name: one["parent_id"] for name, one in named.items()} == {
        "dispatch": None,
        "run/decode_process": ids["dispatch"],
        "decode": ids["run/decode_process"],
        "process": ids["run/decode_process"],
        "run/deposit": ids["dispatch"],
        "deposit": ids["run/deposit"],
    }
    assert {one["service"] for one in named.values()} == {"sluice-dispatcher", "sluice-worker"}
    assert named["run/deposit"]["attributes"]["sluice.customer"] == slug
    (accepted,) = until(
        lambda: of(spans(home), "POST /v1/batches", sluice_customer=slug), "the span of the request"
    )
    assert (accepted["service"], accepted["kind"], accepted["parent_id"]) == (
        "sluice-receiver",
        "server",
        None,
    )
    assert accepted["attributes"]["http.response.status_code"] == "202"
    assert accepted["trace_id"].hex() != FOREIGN, "an agent's trace is linked, not continued"


def test_what_the_traces_themselves_cause_is_not_traced(home: Home, traced: Whole, slug: str) -> None:
    key = home.add(slug)
    assert traced.post_batch(key, ndjson(event("one"))).status == 202
    until(lambda: of(spans(home), "run/deposit", sluice_customer=slug), "its trace to be stored")
    last = -1

    def quiet() -> bool:
        """Nothing has come in three times the delay of a batch of spans."""
        nonlocal last
        before, last = last, home.broker.last_offset(raw(OWN), deadline_s=30) or 0
        time.sleep(1.0)
        return before == last

    until(quiet, "spans to come to an end")
    assert not [one for one in spans(home) if one["attributes"].get("sluice.customer") == OWN]
    assert not of(spans(home), "POST /v1/traces")


def test_a_collector_that_is_away_stops_nothing(home: Home, slug: str, tmp_path: Path) -> None:
    key = home.add(slug)
    (nobody,) = ports.free(1)
    away = SOON | {
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{nobody}/v1/traces",
    }
    with receiver.running(tmp_path, dict(home.environment) | away) as found:
        assert [found.post(key, ndjson(event(str(n)))).status_code for n in range(20)] == [202] * 20
        until(lambda: found.logged("spans_dropped"), "the log to say that spans were dropped")
    assert found.process.returncode == 0
    assert key not in found.log.read_text()


def test_spans_wait_up_to_a_bound_and_the_others_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector takes the first batch and does not answer it until the end."""
    go_on, logged = threading.Event(), LogCapture()
    monkeypatch.setattr(recording, "log", structlog.wrap_logger(None, processors=[logged]))

    class SilentCollector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            go_on.wait(60)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), SilentCollector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}/v1/traces"
        with patch.dict(os.environ, SOON | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint}):
            tracer = Tracer("receiver")
            tracer.start()
            try:
                for _ in range(2 * MOST_WAITING):
                    with tracer.span("test", "internal", {}):
                        pass
                assert [one["reason"] for one in logged.entries] == ["queue_full"]
            finally:
                go_on.set()
                tracer.stop()
                server.shutdown()


def test_the_collectors_own_customer_and_nobody_else_is_left_out() -> None:
    key = f"sl_{OWN}_{'k' * 43}"
    assert claimed_customer(f"Bearer {key}") == OWN
    assert claimed_customer(key) == OWN
    assert claimed_customer("Basic abc") is None
    assert claimed_customer(f"Basic {key}") is None
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": f"x-a=b,authorization=Bearer%20{key}"}
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    with patch.dict(os.environ, headers | endpoint):
        tracer = Tracer("receiver")
        assert not tracer.traces("acme"), "before it is started"
        tracer.start()
        try:
            assert [tracer.traces(one) for one in ("acme", OWN, None)] == [True, False, True]
        finally:
            tracer.stop()
    assert not tracer.traces("acme")


def test_the_sdk_is_imported_by_those_who_trace_only(tmp_path: Path) -> None:
    """`opentelemetry.proto` is the decoders'."""
    script = """
import os, sys
import tasks.dispatcher.loop, tasks.stages.celery_tasks, tracing, webapp, webapp.gunicorn
def loaded():
    sdk = ("opentelemetry.sdk", "opentelemetry.trace", "opentelemetry.exporter", "requests")
    return any(name.startswith(sdk) for name in sys.modules)
webapp.create_app()
found = [loaded()]
for endpoint in ("", "http://127.0.0.1:1"):
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    tracing.Tracer("worker").start()
    found.append(loaded())
print(found)
"""
    environment = receiver.bare_environment() | {"DATABASE_URL": f"sqlite:///{tmp_path / 'none.db'}"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "[False, False, True]", done.stderr
