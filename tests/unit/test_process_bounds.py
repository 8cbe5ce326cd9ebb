"""What agents invent makes no more rows than a step allows, and all of it is counted."""

from collections import Counter
from typing import Any

import pytest

from tests.unit.process_by_hand import Event, listed
from tests.unit.test_process_steps import ROW, run

MINUTE_US = 60_000_000


def thrown(kind: str, **given: Any) -> Event:
    one = {
        "time_ns": 1_675_000_001_000_000_000,
        "name": "exception",
        "exception.type": kind,
        "exception.message": "no",
        "exception.stacktrace": "",
    }
    return ROW | {"exceptions": [one]} | given


def test_fingerprints_beyond_the_bound_of_a_minute_are_others_without_an_example() -> None:
    later = {"started_at": ROW["started_at"] + MINUTE_US}
    kinds = ["A", "B", "B", "C", "C", "C", "D"]
    events = [*map(thrown, kinds), thrown("D", **later), thrown("D", service="a")]
    table = run(events, {"step": "exceptions", "most": 2}).exceptions
    found = Counter[tuple[str, ...]]()
    for row in listed(table):
        kept = "other" if row["fingerprint"] == "other" else "own"
        found[row["service"], row["type"], row["message"], kept] += row["count"]
    assert found == {
        ("cart", "C", "no", "own"): 3,
        ("cart", "B", "no", "own"): 2,
        ("other", "", "", "other"): 3,
        ("cart", "D", "no", "own"): 1,
    }
    assert set(table["most"].to_pylist()) == {2}


def deployed(version: str, environment: str = "production", **given: Any) -> Event:
    said = [("service.version", version), ("deployment.environment", environment)]
    return ROW | {"attributes": said} | given


def split(events: list[Event], **step: Any) -> dict[tuple[str, str], int]:
    found = Counter[tuple[str, str]]()
    for row in listed(run(events, {"step": "rollup", **step}).split_rollups):
        found[row["environment"], row["version"]] += row["count"]
    return found


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (["version"], {("", "2"): 3, ("", "1"): 1, ("other", "other"): 2}),
        (["environment"], {("production", ""): 5, ("", ""): 1}),
        (
            ["environment", "version"],
            {("production", "2"): 3, ("", "3"): 1, ("other", "other"): 2},
        ),
    ],
)
def test_versions_and_environments_beyond_the_bound_are_others(
    by: list[str], expected: dict[tuple[str, str], int]
) -> None:
    events = [deployed(version) for version in ("1", "2", "2", "2", "4")] + [deployed("3", "")]
    assert split(events, by=by, most=2) == expected
    assert split(events) == {}


def test_the_new_name_of_the_environment_counts_before_the_old_one_and_long_values_are_cut() -> None:
    both = [("deployment.environment", "old"), ("deployment.environment.name", "new")]
    events = [ROW | {"attributes": both}, deployed("v" * 65, "x" * 65)]
    assert split(events, by=["environment", "version"]) == {("new", ""): 1, ("x" * 64, "v" * 64): 1}


def test_each_window_and_minute_has_the_bound_for_itself() -> None:
    later = {"started_at": ROW["started_at"] + MINUTE_US}
    events = [deployed("1"), deployed("2"), deployed("2", **later)]
    assert split(events, by=["version"], most=1) == {("", "1"): 1, ("", "2"): 1, ("other", "other"): 1}
