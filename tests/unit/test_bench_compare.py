"""The check finds what is planted, nothing else; its calculation agrees with results worked out by hand."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, strategies as st

from bench.check import expected
from bench.check.compare import LISTED, Differences, histograms_differ, rows_differ
from bench.spans.generate import SCHEMA
from pipelines.steps import REDACTED_KEYS

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
T0 = 1_700_000_040_000_000  # the start of a minute


def _span(
    trace: int, span: int, parent: int | None, start: int, duration: int, **other: str
) -> dict[str, Any]:
    return {
        "trace_id": trace.to_bytes(16), "span_id": span.to_bytes(8),
        "parent_id": parent and parent.to_bytes(8), "started_at": EPOCH + timedelta(microseconds=T0 + start),
        "duration_us": duration, "service": "shop", "operation": "GET /orders/17?full=1", "kind": None,
        "status": "ok", "attributes": [],
    } | other  # fmt: skip


def _counted(*spans: dict[str, Any]) -> pl.DataFrame:
    return expected.counted(pa.Table.from_pylist(list(spans), SCHEMA))


SPANS = (
    _span(1, 11, None, 5, 100),
    _span(1, 12, 11, 10, 300, service="stock", operation="SELECT orders", status="error"),
    _span(1, 13, None, 4, 1, operation="/ping"),
    _span(2, 21, 99, 59_999_999, 2_000_000, operation="/a/550e8400-e29b-41d4-a716-446655440000/b"),
    _span(2, 21, 99, 59_999_999, 2_000_000, operation="/a/550e8400-e29b-41d4-a716-446655440000/b"),
    _span(2, 22, 99, 60_000_000, 7, operation="/a/cafe/b#c"),
)


def test_an_interaction_is_what_its_trace_says_by_hand() -> None:
    rows = expected.interactions(_counted(*SPANS)).sort("trace_id").to_dicts()
    assert rows[0] == {
        "trace_id": (1).to_bytes(16), "started_at": T0 + 5, "ended_at": T0 + 310, "events": 2, "errors": 1,
        "root_started_at": T0 + 5, "root_event_id": (11).to_bytes(8), "root_service": "shop",
        "root_operation": "GET /orders/{id}", "status": "error", "user_id": None,
    }  # fmt: skip
    assert (rows[1]["events"], rows[1]["root_service"], rows[1]["ended_at"]) == (3, None, T0 + 61_999_999)


def test_of_several_roots_the_smallest_by_start_and_id_is_the_root() -> None:
    first, second = _span(1, 12, None, 5, 1, service="late"), _span(1, 11, None, 5, 1, service="early")
    [row] = expected.interactions(_counted(first, second)).to_dicts()
    assert row["root_service"] == "early"


def test_a_rollup_counts_its_minute_by_hand() -> None:
    rows = expected.rollups(_counted(*SPANS)).sort("minute", "service", "operation")
    assert rows.select(
        "minute", "operation", "status", "count", "duration_sum", "duration_min", "duration_max"
    ).rows() == [
        (T0, "/a/{id}/b", "ok", 2, 4_000_000, 2_000_000, 2_000_000),
        (T0, "GET /orders/{id}", "ok", 1, 100, 100, 100),
        (T0, "SELECT orders", "error", 1, 300, 300, 300),
        (T0 + 60_000_000, "/a/cafe/b", "ok", 1, 7, 7, 7),
    ]


def test_an_otlp_span_says_kind_and_user_in_its_own_way() -> None:
    spans = [
        _span(1, 11, None, 0, 1) | {"kind": "Server", "attributes": [("user.id", "a"), ("user.id", "b")]},
        _span(1, 12, None, 0, 1) | {"kind": "broker", "attributes": [("enduser.id", "c"), ("user.id", "")]},
        _span(1, 13, None, 0, 1) | {"kind": "", "attributes": None},
    ]
    table = pa.Table.from_pylist(spans, SCHEMA)
    as_otlp = expected.counted(table, otlp=True).sort("event_id").select("kind", "user_id")
    assert as_otlp.rows() == [("server", "b"), (None, "c"), (None, None)]
    otherwise = expected.counted(table).sort("event_id").select("kind", "user_id")
    assert otherwise.rows() == [("server", None), ("broker", None), ("", None)]
    [interaction] = expected.interactions(expected.counted(table, otlp=True))["user_id"]
    assert interaction == "c"


def test_kept_events_hide_their_secrets_and_have_each_key_once() -> None:
    pairs = [("b", "1"), ("password", "x"), ("b", "2"), ("a", "Bearer 0123456789")]
    kept = expected.kept(_counted(_span(1, 11, None, 0, 1, status="error") | {"attributes": pairs}))
    assert kept["attributes"].to_list() == ['{"a": "[redacted]", "b": "2", "password": "[redacted]"}']


def test_percentiles_are_of_the_nearest_rank() -> None:
    events = _counted(*(_span(1, at, None, at, at) for at in range(1, 101)))
    assert expected.percentiles(events).select("p50", "p95", "p99").rows() == [(50, 95, 99)]


def test_failed_slow_and_chosen_events_are_kept() -> None:
    kept = expected.kept(
        _counted(*SPANS, _span(2**56 - 1, 31, None, 0, 1), _span(0xFD70A3D70A3D70, 32, None, 0, 1))
    )
    assert sorted((int.from_bytes(row[0]), row[1]) for row in kept.select("event_id", "copies").rows()) == [
        (12, 1),
        (21, 2),
        (31, 1),
    ]


@pytest.mark.parametrize(
    ("operation", "health_check"),
    [("/healthz", True), ("GET /q/health/live/", True), ("/ping?x", True), ("/health2", False),
     ("get /ping", False), ("/api/ping", False), ("/actuator/health/db", False)],
)  # fmt: skip
def test_health_checks_do_not_count(operation: str, health_check: bool) -> None:
    assert _counted(_span(1, 1, None, 0, 1, operation=operation)).is_empty() == health_check


@pytest.mark.parametrize(
    ("operation", "plain"),
    [("/1/2/3", "/{id}/{id}/{id}"), ("/0123456789abcdef", "/{id}"), ("/0123456789abcde", "/0123456789abcde"),
     ("17", "17"), ("/v1/x17?y=/1", "/v1/x17"), ("/" + "é" * 2000, "/" + "é" * 511),
     ("SELECT /1", "SELECT /{id}"), ("x/1", "x/1")],
)  # fmt: skip
def test_ids_leave_the_paths(operation: str, plain: str) -> None:
    assert expected.normalised(operation) == plain


def _table(**changes: object) -> pl.DataFrame:
    row = {"service": "shop", "operation": "a", "count": 3, "root": None} | changes
    return pl.DataFrame(
        [row], schema={"service": pl.String, "operation": pl.String, "count": pl.Int64, "root": pl.String}
    )


def test_equal_rows_differ_in_nothing() -> None:
    assert rows_differ(_table(), _table(), ("service", "operation")) == []


@pytest.mark.parametrize(
    ("there", "sentence"),
    [
        (_table(count=4), "service='shop' operation='a': count is 4, not 3"),
        (_table(root="x"), "service='shop' operation='a': root is 'x', not None"),
        (_table().clear(), "service='shop' operation='a' is missing"),
        (
            pl.concat([_table(), _table(operation="b")]),
            "service='shop' operation='b' is there and should not be",
        ),
    ],
)
def test_a_planted_difference_is_named(there: pl.DataFrame, sentence: str) -> None:
    assert rows_differ(_table(), there, ("service", "operation")) == [sentence]


def test_rows_whose_key_holds_a_null_are_the_same_row() -> None:
    assert rows_differ(_table(), _table(), ("service", "root")) == []


def test_many_differences_are_all_counted_and_some_are_named() -> None:
    found = Differences()
    found.add("rollups", [str(at) for at in range(1_000)])
    found.add("interactions", [])
    assert found.counts == {"rollups": 1_000}
    assert len(found.named) == LISTED


def _rollup(histogram: dict[str, int], count: int, status: str = "ok") -> pl.DataFrame:
    row = {"minute": T0, "service": "shop", "operation": "a", "status": status, "count": count}
    return pl.DataFrame([row | {"histogram": json.dumps(histogram)}])


EXACT = pl.DataFrame(
    [{"minute": T0, "service": "shop", "operation": "a", "p50": 1_000, "p95": 1_000, "p99": 2_000}]
)
# ceil(ln 1000 / ln 1.1) = 73 and ceil(ln 2000 / ln 1.1) = 80
RIGHT = pl.concat([_rollup({"73": 97}, 97), _rollup({"80": 3}, 3, "error")])


def test_percentiles_from_merged_histograms_are_within_five_percent() -> None:
    assert histograms_differ(EXACT, RIGHT) == []


def test_a_percentile_that_is_a_bucket_off_is_named() -> None:
    [first, second] = histograms_differ(EXACT, _rollup({"74": 97, "80": 3}, 100))
    assert "p50 is 1101.2 µs, not within 5 % of 1000 µs" in first
    assert "p95" in second


def test_a_histogram_that_lost_an_event_is_named() -> None:
    [sentence] = histograms_differ(EXACT, _rollup({"73": 97, "80": 3}, 101))
    assert sentence.endswith("the histogram holds 100 events, not 101")


# Letters beyond ASCII that fold to s and k, too.
WORDS = [
    "secret",
    "\N{LATIN SMALL LETTER LONG S}ecret",
    "token",
    "to\N{KELVIN SIGN}en",
    "to\N{KELVIN SIGN}ens",
]
WORDS += [
    "cookies",
    "access",
    "api",
    "key",
    "keys",
    "hash",
    "value",
    "usage",
    "input",
    "banner",
    "1",
    "é",
    "s",
]
WORDS += ["izer", "-", "_", ".", ":", " ", "\n"]
NAMES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map("".join)


@given(names=st.lists(NAMES, min_size=20, max_size=20))
def test_the_second_opinion_hides_the_names_that_redact_hides(names: list[str]) -> None:
    keys = [name + number for name in names for number in ("", ".x")]
    hidden = pc.match_substring_regex(pa.array(keys), pattern=REDACTED_KEYS).to_pylist()
    found = [expected.redacted([(key, "x")])[key] == "[redacted]" for key in keys]
    assert found == hidden
