"""Spans of an SDK have the shape that the benchmarks claim for them."""

import gzip
from collections import Counter
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.spans import sdk
from bench.spans.generate import SCHEMA

BATCH, BATCHES = 50, 200


@pytest.fixture(scope="module")
def spans() -> pa.Table:
    return sdk.sdk_spans(BATCH * BATCHES, batch=BATCH, seed=7)


@pytest.fixture(scope="module")
def requests() -> list[ExportTraceServiceRequest]:
    bodies = sdk.sdk_batches(7, BATCHES, BATCH)
    return [ExportTraceServiceRequest.FromString(gzip.decompress(body)) for body in bodies]


def test_the_table_has_the_columns_of_a_file_of_spans_and_the_same_seed_gives_it_again(
    spans: pa.Table,
) -> None:
    spans.validate(full=True)
    assert spans.schema == SCHEMA
    assert spans.equals(sdk.sdk_spans(len(spans), batch=BATCH, seed=7))
    assert not spans.equals(sdk.sdk_spans(len(spans), batch=BATCH, seed=8))


def test_a_batch_is_of_one_process_with_11_attributes_and_its_spans_have_13(
    requests: list[ExportTraceServiceRequest],
) -> None:
    for request in requests:
        [resource] = request.resource_spans
        [scope] = resource.scope_spans
        assert len(resource.resource.attributes) == 11
        assert len(scope.spans) == BATCH
        assert {len(span.attributes) for span in scope.spans} == {13}


def test_about_6_of_the_13_are_new_in_every_span(requests: list[ExportTraceServiceRequest]) -> None:
    spans = [span for one in requests for span in one.resource_spans[0].scope_spans[0].spans]
    pairs = [(pair.key, str(pair.value)) for span in spans for pair in span.attributes]
    seen, values = Counter(key for key, _ in pairs), Counter(key for key, _ in set(pairs))
    new = sum(count for key, count in seen.items() if values[key] > 0.04 * count)
    assert 5 <= new / len(spans) <= 7


def test_a_span_has_500_bytes_before_compression(requests: list[ExportTraceServiceRequest]) -> None:
    size = sum(one.ByteSize() for one in requests) / (BATCH * BATCHES)
    assert size == pytest.approx(520, abs=60)


def test_one_span_in_20_has_an_exception_and_a_fifth_of_these_failed(
    requests: list[ExportTraceServiceRequest],
) -> None:
    spans = [span for one in requests for span in one.resource_spans[0].scope_spans[0].spans]
    raised = [span for span in spans if span.events]
    assert len(raised) / len(spans) == pytest.approx(0.05, abs=0.01)
    assert {event.name for span in raised for event in span.events} == {"exception"}
    failed = [span for span in spans if span.status.code == 2]
    assert len(failed) / len(raised) == pytest.approx(0.2, abs=0.06)
    assert all(span.events for span in failed)


def test_traces_lie_in_several_batches_and_in_one_group_of_them(spans: pa.Table) -> None:
    frame = pl.from_arrow(spans.drop_columns(["attributes"]))
    assert isinstance(frame, pl.DataFrame)
    numbered = frame.with_row_index().with_columns(
        batch=pl.col("index") // BATCH, group=pl.col("index") // (BATCH * sdk.group_batches(BATCH))
    )
    traces = numbered.group_by("trace_id").agg(pl.col("batch").n_unique(), pl.col("group").n_unique())
    assert traces["group"].to_list() == [1] * traces.height
    assert traces["batch"].median() > 3  # type: ignore[operator]
    assert frame["span_id"].n_unique() == frame.height


def test_most_parents_are_there_and_every_kind_of_span(spans: pa.Table) -> None:
    parents, ids = spans["parent_id"].to_pylist(), set(spans["span_id"].to_pylist())
    assert 0 < parents.count(None) / len(parents) < 0.05
    assert sum(parent in ids for parent in parents) > 0.9 * len(parents)
    assert set(spans["kind"].to_pylist()) == {"server", "client", "internal"}


def test_the_command_writes_a_file_for_each_batch(tmp_path: Path) -> None:
    sdk.main([str(tmp_path / "bodies"), "--seed", "7", "--batches", "3", "--spans", "10"])
    written = sorted((tmp_path / "bodies").iterdir())
    assert [path.name for path in written] == ["000000", "000001", "000002"]
    assert [path.read_bytes() for path in written] == sdk.sdk_batches(7, 3, 10)
