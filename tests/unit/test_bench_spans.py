"""Generated spans have the statistics that the benchmarks claim for them."""

import numpy as np
import polars as pl
import pytest

from bench.spans.attributes import CREDENTIAL_MARK
from bench.spans.generate import SCHEMA, generate
from bench.spans.oddities import HEALTH_CHECKS, Oddities

COUNT = 300_000


@pytest.fixture(scope="module")
def spans() -> pl.DataFrame:
    frame = pl.from_arrow(generate(COUNT, seed=5).drop_columns(["attributes"]))
    assert isinstance(frame, pl.DataFrame)
    return frame


@pytest.fixture(scope="module")
def odd() -> pl.DataFrame:
    frame = pl.from_arrow(generate(COUNT, seed=5, odd=Oddities()))
    assert isinstance(frame, pl.DataFrame)
    return frame


def _lengths(spans: pl.DataFrame) -> pl.Series:
    # The last trace is cut off where the count is reached.
    return spans.group_by("trace_id", maintain_order=True).len()["len"][:-1]


def test_the_table_has_the_columns_of_a_file_of_spans_and_exactly_so_many_rows() -> None:
    table = generate(10_007, seed=1, odd=Oddities())
    table.validate(full=True)
    assert table.schema == SCHEMA
    assert table.num_rows == 10_007


def test_the_same_seed_gives_the_same_spans_and_another_seed_others() -> None:
    assert generate(5_000, seed=1, odd=Oddities()).equals(generate(5_000, seed=1, odd=Oddities()))
    assert not generate(5_000, seed=1).equals(generate(5_000, seed=2))


def test_nothing_at_all_can_be_asked_for() -> None:
    assert generate(0, seed=1).num_rows == 0


def test_traces_are_as_long_as_recorded(spans: pl.DataFrame) -> None:
    lengths = _lengths(spans)
    assert lengths.median() == 76
    assert lengths.quantile(0.99) == 200
    assert lengths.max() == 408


def test_there_are_28_services_and_about_200_operations(spans: pl.DataFrame) -> None:
    assert spans["service"].n_unique() == 28
    assert 180 <= spans["operation"].n_unique() <= 220


@pytest.mark.parametrize(
    ("quantile", "recorded"),
    [(0.01, 361), (0.1, 657), (0.5, 2_857), (0.9, 58_977), (0.99, 711_015), (0.999, 3_355_460)],
)
def test_durations_are_distributed_as_recorded(spans: pl.DataFrame, quantile: float, recorded: int) -> None:
    found = spans["duration_us"].quantile(quantile)
    assert found == pytest.approx(recorded, rel=0.4)


def test_durations_lie_between_the_recorded_extremes(spans: pl.DataFrame) -> None:
    assert spans["duration_us"].min() == 14
    assert 5_000_000 < spans["duration_us"].to_numpy().max() <= 10_234_862


def test_so_many_spans_fail_as_recorded(spans: pl.DataFrame) -> None:
    assert (spans["status"] == "error").mean() == pytest.approx(0.0037, rel=0.1)
    assert set(spans["status"].unique()) == {"ok", "error"}


def test_every_parent_is_in_the_trace_and_a_trace_is_at_most_16_deep(spans: pl.DataFrame) -> None:
    whole = spans.filter(pl.col("trace_id") != spans["trace_id"][-1])
    level = whole.filter(pl.col("parent_id").is_null()).select("trace_id", "span_id")
    assert level.height == whole["trace_id"].n_unique()
    depths = []
    while level.height:
        depths.append(level.height)
        level = whole.join(level, left_on=["trace_id", "parent_id"], right_on=["trace_id", "span_id"]).select(
            "trace_id", "span_id"
        )
    assert sum(depths) == whole.height
    assert len(depths) == 16


def test_children_run_within_their_parents(spans: pl.DataFrame) -> None:
    ends = (pl.col("started_at").cast(pl.Int64) + pl.col("duration_us")).alias("ends")
    parents = spans.select("trace_id", "span_id", pl.col("started_at").alias("begins"), ends)
    both = spans.with_columns(ends).join(
        parents, left_on=["trace_id", "parent_id"], right_on=["trace_id", "span_id"], suffix="_parent"
    )
    assert (both["started_at"] >= both["begins"]).all()
    assert (both["ends"] <= both["ends_parent"] + 2).all()  # both are cut to whole microseconds


def test_ids_do_not_repeat(spans: pl.DataFrame) -> None:
    assert spans["span_id"].n_unique() == COUNT


def test_traces_start_where_they_are_told_and_at_the_given_rate() -> None:
    start_us = 1_800_000_000_000_000
    started = (
        generate(100_000, seed=3, first_start_us=start_us, spans_per_s=1_000)["started_at"]
        .cast("int64")
        .to_numpy()
    )
    assert started.min() == start_us
    assert np.quantile(started, 0.5) - start_us == pytest.approx(50e6, rel=0.15)


def test_repeated_rows_come_again_whole(odd: pl.DataFrame) -> None:
    repeated = odd.height - odd["span_id"].n_unique()
    assert repeated == pytest.approx(0.017 * COUNT, rel=0.05)
    assert odd.drop("attributes").unique().height == COUNT - repeated


def test_a_fifth_of_the_rows_start_before_the_row_before(odd: pl.DataFrame) -> None:
    assert (odd["started_at"].diff().dt.total_microseconds() < 0).mean() == pytest.approx(0.2, abs=0.05)


def test_some_traces_have_several_roots(odd: pl.DataFrame) -> None:
    roots = odd.unique("span_id").filter(pl.col("parent_id").is_null()).group_by("trace_id").len()
    assert 0.001 < (roots["len"] > 1).mean() < 0.1  # type: ignore[operator]


def test_a_few_spans_are_health_checks(odd: pl.DataFrame) -> None:
    checks = odd.filter(pl.col("operation").is_in(HEALTH_CHECKS))
    assert checks["operation"].n_unique() == len(HEALTH_CHECKS)
    assert checks.height < 0.001 * COUNT


def test_half_of_the_paths_that_name_one_thing_hold_its_id(odd: pl.DataFrame) -> None:
    # A segment like /17, /550e8400-e29b-… or 16 and more hexadecimal digits.
    with_id = odd["operation"].str.contains(
        r"^/.*/([0-9]+|[0-9a-f]{16,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$"
    )
    templated = odd["operation"].str.contains("{id}", literal=True)
    assert with_id.sum() == pytest.approx(templated.sum(), rel=0.1)


def test_a_few_attributes_hold_a_credential() -> None:
    texts = generate(20_000, seed=5, odd=Oddities())["attributes"].combine_chunks().items.to_pylist()
    assert sum(CREDENTIAL_MARK in text for text in texts) == pytest.approx(40, abs=25)
