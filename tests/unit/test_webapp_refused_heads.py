"""What agents are told of requests that the application never hears of."""

import pytest
from gunicorn.http import errors  # type: ignore[import-untyped] # ships no types

from webapp import problems
from webapp.serving import refused_heads


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidResponseHeader("X"),
        errors.InvalidResponseHeaderName("X"),
        errors.ConfigurationProblem("x"),
        ValueError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_wrong_on_this_side_is_no_fault_of_the_agents(error: Exception) -> None:
    assert refused_heads.problem_of(error).kind is problems.internal(error).kind


def test_a_head_that_is_none_is_the_agents_fault() -> None:
    assert refused_heads.problem_of(errors.InvalidRequestLine("x")).kind is problems.BAD_REQUEST
