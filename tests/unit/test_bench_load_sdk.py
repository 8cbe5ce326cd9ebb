"""Bodies of SDKs as the load generator makes and deals them, and what they have to add to the database."""

from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest

from bench.agents.encode import encode
from bench.check import expected
from bench.check.totals import Totals, of_batches
from bench.load.process import Load
from bench.load.renewing import RenewedBodies
from bench.load.workload import SDK, Kind, Source, dealt
from bench.spans.sdk import sliced

KINDS = (Kind(form="otlp"), SDK, replace(SDK, events=12))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_renewed_bodies_are_those_of_the_renewed_spans_to_the_last_byte(kind: Kind) -> None:
    count = kind.events * kind.group
    spans = Source(kind, pool_events=count).table()
    trace, span = bytes(range(1, 17)), bytes(range(91, 99))
    under = {"trace_id": trace, "span_id": span, "parent_id": span}
    rows = [
        {
            **row,
            **{name: _under(row[name], mask) for name, mask in under.items()},
            "started_at": row["started_at"] + timedelta(seconds=7),
        }
        for row in spans.to_pylist()
    ]
    wanted = pa.Table.from_pylist(rows, schema=spans.schema)
    renewed = RenewedBodies(list(sliced(spans, kind.events))).renewed(trace, span, 7_000_000)
    assert list(renewed) == [encode(one, "otlp").content for one in sliced(wanted, kind.events)]


def _under(value: bytes | None, mask: bytes) -> bytes | None:
    return value and bytes(one ^ other for one, other in zip(value, mask, strict=True))


def _with_a_chosen_trace(spans: pa.Table) -> pa.Table:
    """Ids are random, and one in a hundred is kept whole: the first one here is."""
    ids = spans["trace_id"].to_pylist()
    chosen = [one[:9] + b"\xff" * 7 if one == ids[0] else one for one in ids]
    place = spans.schema.get_field_index("trace_id")
    field = spans.schema.field(place)
    return spans.set_column(place, field, pa.array(chosen, field.type))


@pytest.mark.parametrize("kind", [Kind(), SDK], ids=lambda kind: kind.name)
def test_the_totals_of_batches_are_those_of_the_calculation(kind: Kind) -> None:
    source = Source(kind, pool_events=4_000)
    spans = _with_a_chosen_trace(pa.concat_tables([source.table(), source.table()]))
    total = sum(of_batches(spans, kind.events), Totals())
    events = expected.counted(spans)
    kept, traces = expected.kept(events), expected.interactions(events)
    assert total == Totals(
        events=8_000,
        duration_us=int(expected.rollups(events)["duration_sum"].sum()),
        errors=int(traces["errors"].sum()),
        traces=traces.height,
        in_traces=8_000,
        kept=int(kept["copies"].sum()),
    )
    assert total.errors > 10
    assert total.kept > total.errors


def test_other_sums_are_named_and_unknown_ones_are_not() -> None:
    wanted = Totals(events=5, duration_us=7, errors=1, traces=None, in_traces=5, kept=1)
    there = Totals(events=5, duration_us=8, errors=1, traces=3, in_traces=4, kept=1)
    assert wanted.differences(there) == ["duration_us are 8, not 7", "in_traces are 4, not 5"]
    assert (wanted + Totals(traces=3)).traces is None


def test_each_customer_posts_whole_groups() -> None:
    posted = dealt(list(range(26)), group=4, customers=3)
    assert sorted(posted) == list(range(24))
    assert [one // 4 for one in posted] == [0, 1, 2] * 4 + [3, 4, 5] * 4
    assert dealt(list(range(5)), group=4, customers=1) == list(range(5))


def test_traces_posted_in_part_are_left_out_of_the_next_run() -> None:
    """The totals count a trace where it first comes: a run must not begin in the middle of one."""
    load = Load(pool_events=1_000)
    kind = {"shape": "sdk", "form": "otlp", "encoding": "none", "events": 10}
    group = replace(SDK, events=10).group
    assert load.prepare({"kind": kind, "batches": 2 * group + 7})["ready"] == 2 * group + 7
    load.ready.popleft()
    load.posted += 1
    assert load.prepare({"kind": kind, "batches": 1})["ready"] == group + 7
    assert load.prepare({"kind": {**kind, "encoding": "gzip"}, "batches": 3})["ready"] == 3
