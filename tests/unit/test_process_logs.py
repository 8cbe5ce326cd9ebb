"""What a pipeline makes of log records: counts, rows without secrets, and their share of interactions."""

import json
from typing import Any

import pyarrow as pa
import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from pipelines import DEFAULT, parse
from pipelines.steps import Redact
from tasks.events import detail_runs
from tasks.handover import DecodedWindow, Header, peek, unpack
from tasks.processors import INTERACTIONS, merge_interactions, process_logs
from tasks.processors.schemas import LOG_ROLLUPS
from tasks.processors.steps import redact_logs
from tasks.settings import TaskSettings
from tasks.stages.process import process
from tests.unit import decode_samples as samples
from tests.unit.log_exports import NOW_US, PROTOBUF, decoded, records, some

MINUTE_US = 60_000_000


def table(count: int = 12, **changes: Any) -> pa.Table:
    """Records of one minute with the severities 0, 1, 2, … in turn; every third has no trace."""
    request = some(count)
    for number, record in enumerate(records(request)):
        record.severity_number = number * 3 % 25
        if number % 3 == 2:
            record.trace_id = b""
        for name, value in changes.items():
            record.attributes.add(key=name, value=value)
    found = decoded((request.SerializeToString(), PROTOBUF)).logs
    assert found is not None
    return found.table


def steps(*given: dict[str, Any]) -> Any:
    return parse(json.dumps({"steps": [{"step": "rollup"}, *given]}))


def test_severities_are_counted_by_minute_and_service() -> None:
    left = process_logs(table(), steps({"step": "rollup_logs"}))
    assert left.rollups.schema == LOG_ROLLUPS
    counts = {row["severity"]: row["count"] for row in left.rollups.to_pylist()}
    # 0, 3, 6, 9, 12, 15, 18, 21, 24, 2, 5, 8
    assert counts == {"unspecified": 1, "trace": 2, "debug": 3, "info": 2, "warn": 1, "error": 1, "fatal": 2}
    assert left.rollups["service"].unique().to_pylist() == ["shop"]
    (minute,) = left.rollups["minute"].unique().cast(pa.int64()).to_pylist()
    assert minute == (NOW_US - 1) // MINUTE_US * MINUTE_US
    assert (left.interactions, len(left.logs)) == (None, 0)


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ({}, []),
        ({"min_severity": "error"}, [18, 21, 24]),
        ({"min_severity": 21}, [21, 24]),
        ({"percent": 100}, [0, 3, 6, 9, 12, 15, 18, 21, 24, 2, 5, 8]),
        ({"attributes": {"code": ["7"]}}, [0, 3, 6, 9, 12, 15, 18, 21, 24, 2, 5, 8]),
        ({"attributes": {"code": {"regex": "^8"}}, "min_severity": "fatal"}, [21, 24]),
        ({"attributes": {"code": ["7"], "nowhere": ["7"]}}, []),
    ],
)
def test_what_is_severe_chosen_or_has_the_attributes_is_kept(rule: dict[str, Any], kept: list[int]) -> None:
    left = process_logs(table(code=AnyValue(int_value=7)), steps({"step": "keep_logs", **rule}))
    assert left.logs["severity_number"].to_pylist() == kept


def test_a_share_of_the_traces_and_of_the_records_without_one_is_kept_the_same_each_time() -> None:
    whole = table(600)
    half = process_logs(whole, steps({"step": "keep_logs", "percent": 50})).logs
    assert half.equals(process_logs(whole, steps({"step": "keep_logs", "percent": 50})).logs)
    without = [row["time_ns"] for row in half.to_pylist() if row["trace_id"] is None]
    assert 60 < len(without) < 140  # of 200
    for trace_id in set(whole["trace_id"].to_pylist()) - {None}:
        of_trace = [row for row in half.to_pylist() if row["trace_id"] == trace_id]
        assert len(of_trace) in (0, sum(one == trace_id for one in whole["trace_id"].to_pylist()))


def test_few_documents_are_redacted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = pa.concat_tables(
        [table(request=AnyValue(string_value=f"Bearer abcdefgh{number}")) for number in range(9)]
    )
    whole = redact_logs.redact_logs(logs, Redact())
    monkeypatch.setattr(detail_runs, "RUN_BYTES", 3 * detail_runs.LEAST_BYTES)
    at_once: list[int] = []
    change = redact_logs._changed

    def watched(texts: pa.StringArray, step: Redact) -> pa.StringArray:
        at_once.append(len(texts))
        return change(texts, step)

    monkeypatch.setattr(redact_logs, "_changed", watched)
    assert redact_logs.redact_logs(logs, Redact()) == whole
    assert "Bearer" not in str(whole["attributes"].to_pylist())
    assert max(at_once) <= 3


def test_secrets_are_hidden_wherever_they_lie() -> None:
    request = some(2)
    for record in records(request):
        pairs = record.body.kvlist_value.values
        pairs.add(key="password", value=AnyValue(int_value=5))
        listed = pairs.add(key="headers").value.array_value.values
        listed.add(string_value="Bearer abcdefghijkl")
        listed.add(string_value="plain")
        record.attributes.add(key="api_key", value=AnyValue(string_value="k-1"))
    group = request.resource_logs[0]
    group.resource.attributes.add(key="auth.token", value=AnyValue(string_value="t-1"))
    group.scope_logs[0].scope.attributes.add(key="cookie", value=AnyValue(string_value="c-1"))
    found = decoded((request.SerializeToString(), PROTOBUF)).logs
    assert found is not None
    kept = process_logs(found.table, steps_redacting({"step": "keep_logs", "percent": 100})).logs
    for row in kept.to_pylist():
        text = "".join(row[name] for name in ("body", "attributes", "scope", "resource"))
        assert not any(secret in text for secret in ('"5"', "abcdefghijkl", "k-1", "t-1", "c-1"))
        assert text.count("[redacted]") == 5
        assert "plain" in text
        assert "shop" in text
    assert kept.schema == found.table.schema


def steps_redacting(*given: dict[str, Any]) -> Any:
    return parse(json.dumps({"steps": [{"step": "redact"}, {"step": "rollup"}, *given]}))


def test_log_records_join_their_interaction_and_leave_its_times_alone() -> None:
    left = process_logs(table(), steps({"step": "compose"}))
    assert left.interactions is not None
    merged = merge_interactions([left.interactions]).to_pylist()
    assert [(row["events"], row["logs"], row["log_errors"]) for row in merged] == [(0, 4, 1), (0, 4, 1)]
    event = merged[0] | {"events": 1, "errors": 0, "logs": 0, "log_errors": 0}
    early = event["started_at"].replace(year=2022)
    event |= {"started_at": early, "ended_at": early}
    of_event = pa.Table.from_pylist([event], INTERACTIONS)
    for order in ([left.interactions, of_event], [of_event, left.interactions]):
        both = merge_interactions(order).to_pylist()
        assert (both[0]["started_at"], both[0]["ended_at"]) == (early, early)
        assert (both[0]["events"], both[0]["logs"], both[0]["log_errors"]) == (1, 4, 1)
    earlier = of_event.drop_columns(["logs", "log_errors"])  # a result of a release that knew none
    assert merge_interactions([earlier]).to_pylist() == [event]


def window(*bodies: tuple[bytes, str], pipeline: str = DEFAULT) -> DecodedWindow:
    found = decoded(*bodies)
    header = Header(
        window_id=1,
        customer_id=1,
        customer="acme",
        token=1,
        batches=len(bodies),
        pipeline=pipeline,
        decoded=found.found,
    )
    return DecodedWindow(header, found.good, None if found.logs is None else found.logs.table)


def test_a_window_of_events_and_logs_goes_the_whole_way_as_bytes() -> None:
    events = samples.written(samples.table(3), "ndjson")
    handed = window((some(5).SerializeToString(), PROTOBUF), (events, "ndjson"))
    again = DecodedWindow.of(*peek(handed.packed()))
    header, tables = unpack(process(again, TaskSettings()))
    assert (header.decoded, header.kept, header.kept_logs) == (
        len(handed.events) + 5 + 3 - len(handed.events),
    ) * 2 + (5,)
    assert sum(tables["interactions"]["logs"].to_pylist()) == 5
    assert sum(tables["log_rollups"]["count"].to_pylist()) == 5
    assert "logs" in tables


def test_a_window_without_logs_hands_on_no_table_of_them() -> None:
    handed = window((samples.written(samples.table(3), "ndjson"), "ndjson"))
    assert "logs" not in peek(handed.packed())[1]
    assert not {"logs", "log_rollups"} & set(unpack(process(handed, TaskSettings())).tables)


def test_a_pipeline_of_before_counts_log_records_and_keeps_none() -> None:
    handed = window((some(5).SerializeToString(), PROTOBUF), pipeline='{"steps": [{"step": "compose"}]}')
    header, tables = unpack(process(handed, TaskSettings()))
    assert (header.kept, header.kept_logs) == (5, 5)
    assert (len(tables["logs"]), len(tables["log_rollups"])) == (0, 0)
    assert sum(tables["interactions"]["logs"].to_pylist()) == 5
