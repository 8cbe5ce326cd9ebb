"""Refusals: their table, their documents, and the pages that describe them."""

import json
import re
from pathlib import Path

import pytest
import yaml

from webapp import problems, public_key_problems
from webapp.problems import PROBLEMS, Problem, ProblemType, later

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_every_problem_type_is_in_the_table() -> None:
    names = [*vars(problems).values(), *vars(public_key_problems).values()]
    defined = {value for value in names if isinstance(value, ProblemType)}
    assert set(PROBLEMS.values()) == defined


def test_slugs_are_unique_and_fit_for_a_path() -> None:
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", slug) for slug in PROBLEMS)
    assert all(PROBLEMS[slug].slug == slug for slug in PROBLEMS)


def test_the_api_page_lists_exactly_the_problems_there_are() -> None:
    rows = re.findall(
        r"^\| `([a-z-]+)` \| (\d{3}) \| (.+?) \| (.+?) \|$", (DOCS / "http-api.md").read_text(), re.M
    )
    documented = {(slug, int(status), title, remedy) for slug, status, title, remedy in rows}
    assert documented == {
        (kind.slug, int(kind.status), kind.title, kind.remedy) for kind in PROBLEMS.values()
    }


def test_the_openapi_document_names_every_status_that_a_batch_can_be_refused_with() -> None:
    answers = yaml.safe_load((DOCS / "openapi.yaml").read_text())["paths"]["/v1/batches"]["post"]["responses"]
    elsewhere = {problems.NOT_FOUND, problems.METHOD_NOT_ALLOWED, problems.METRICS_NOT_KEPT}
    assert set(answers) == {"202"} | {
        str(int(kind.status)) for kind in PROBLEMS.values() if kind not in elsewhere
    }


def test_the_document_has_the_members_of_rfc_9457_and_ours() -> None:
    problem = Problem(problems.BODY_TOO_LARGE, "the limit is 5 bytes as sent", members={"limit_bytes": 5})
    assert json.loads(problem.body()) == {
        "type": "/problems/body-too-large",
        "title": "The body is larger than the limit",
        "status": 413,
        "detail": "the limit is 5 bytes as sent",
        "retry": "never",
        "limit_bytes": 5,
    }


def test_retry_after_is_spread_over_its_range() -> None:
    seconds = {
        later(problems.UNAVAILABLE, "", least_s=1, most_s=5).headers["Retry-After"] for _ in range(500)
    }
    assert seconds == {"1", "2", "3", "4", "5"}


@pytest.mark.parametrize("least_s", [0, 0.2, 1])
def test_retry_after_is_never_zero(least_s: float) -> None:
    assert later(problems.UNAVAILABLE, "", least_s=least_s, most_s=0).headers["Retry-After"] == "1"


def test_an_unexpected_failure_tells_the_agent_nothing_of_itself() -> None:
    body = problems.internal(RuntimeError("secret /etc/path")).body()
    assert b"secret" not in body
    assert b"RuntimeError" not in body
