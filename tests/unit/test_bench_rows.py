"""A run goes on after a row that failed, and the peers read what SDKs post."""

import stat
from pathlib import Path
from typing import Any, cast

import pytest

from bench.agents.encode import encode
from bench.installation.servers import Servers
from bench.measuring.figures import Cost, Run
from bench.measuring.measure import NotCounted
from bench.peers import collector, otlp
from bench.spans.sdk import sdk_spans
from bench.suite.laboratory import Laboratory, figures
from bench.suite.ours import ReceiverRun
from bench.suite.sizes import QUICK


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    monkeypatch.setattr("bench.suite.laboratory.ROOT", tmp_path)
    nothing = cast("Any", None)
    (tmp_path / "sluice").mkdir()
    (tmp_path / "sluice" / "worker.log").write_text("it went wrong")
    running = Servers(folder=tmp_path, node=nothing, postgres=nothing)
    return Laboratory(servers=running, sizes=QUICK, say=lambda words: None)


def a_run(**more: Any) -> Run:
    cost = Cost(cpu_s={"receiver": 2.0, "load generator": 9.0}, written_bytes_per_event={})
    plain: dict[str, Any] = {
        "name": "a", "batch": "otlp+gzip, 50 events a batch, 24 attributes an event", "batch_events": 50,
        "attributes": 24, "seconds": 1.0, "events": 50, "events_per_s": 50.0, "requests_per_s": 1.0,
        "cost": cost, "cores_used": 0.1, "ack_ms": {}, "retried": 0, "body_bytes_per_event": 1.0,
        "lag_events": [(100.0, 5), (101.5, 7)],
    }  # fmt: skip
    return Run(**plain, **more)


def test_a_row_that_fails_is_recorded_and_the_next_one_is_measured(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    def fails() -> Run:
        raise NotCounted("the books do not balance")

    assert laboratory.row("one", fails) is None
    assert laboratory.row("two", a_run) is not None
    assert laboratory.failed == {"one": "NotCounted: the books do not balance"}
    assert list(laboratory.rows) == ["two"]
    kept = tmp_path / "var" / "bench-failed" / "sluice-worker.log"
    assert kept.read_text() == "it went wrong"


def test_a_mistake_of_the_benchmark_ends_the_run(laboratory: Laboratory) -> None:
    def wrong() -> Run:
        raise KeyError("cost")

    with pytest.raises(KeyError):
        laboratory.row("one", wrong)


def test_a_run_as_json_has_the_cost_of_the_stack_and_its_lag_from_the_first_second_on() -> None:
    found = figures(a_run())
    assert found["cost"]["stack_cpu_s"] == 2.0
    assert found["lag_events"] == [(0.0, 5), (1.5, 7)]
    assert figures({"receiver worker": 5}) == {"receiver worker": 5}


def test_reception_says_what_a_request_costs_the_receiver() -> None:
    run = a_run()
    reception = ReceiverRun(
        batch=run.batch, batch_events=50, requests_per_s=1.0, events_per_s=50.0, ack_ms={}, cost=run.cost,
        retried=0,
    )  # fmt: skip
    # 2 s for a million spans are 20,000 requests.
    assert figures(reception)["receiver_cpu_ms"] == pytest.approx(0.1)


@pytest.mark.parametrize("encoding", ["gzip", "none"])
def test_the_peers_read_every_span(encoding: str) -> None:
    spans = sdk_spans(100, batch=50, seed=2)
    read = otlp.rows(encode(spans, "otlp", encoding).content, "gzip" if encoding == "gzip" else "")
    wanted = {
        row["span_id"].hex(): (
            row["trace_id"].hex(), row["parent_id"].hex() if row["parent_id"] else None,
            row["started_at"].isoformat(), row["duration_us"], row["service"], row["operation"],
            row["status"], dict(row["attributes"]),
        )
        for row in spans.to_pylist()
    }  # fmt: skip
    names = ("trace_id", "parent_id", "started_at", "duration_us", "service", "operation", "status")
    found = {row["event_id"]: (*(row[name] for name in names), row["attributes"]) for row in read}
    assert found == wanted


def test_the_collector_is_started_from_its_package_and_missed_when_it_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="rotel"):
        collector.command(tmp_path, http="h:1", grpc="h:2")
    binary = tmp_path / "lib" / "python3.11" / "site-packages" / "rotel" / "rotel-agent"
    binary.parent.mkdir(parents=True)
    binary.write_bytes(b"")
    binary.chmod(0o644)
    line = collector.command(tmp_path, http="h:1", grpc="h:2")
    assert line.split()[0] == str(binary)
    assert "--otlp-http-endpoint h:1" in line
    assert binary.stat().st_mode & stat.S_IXUSR
