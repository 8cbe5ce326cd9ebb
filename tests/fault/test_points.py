"""Processes that die at each named point of our code."""

import importlib
from signal import SIGKILL, SIGTERM, Signals

import pytest

from tests.fault.attempt import attempt
from tests.fault.installation import Installation, wait_gone
from tests.fault.points import POINTS, Point
from tests.whole import ROOT


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_a_point_is_a_function_of_the_code(point: Point) -> None:
    module, _, name = point.target.partition(":")
    found = importlib.import_module(module)
    for each in name.split("."):
        found = getattr(found, each)
    assert callable(found)


def test_every_point_is_described_as_it_is() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    rows = "\n".join(f"| `{point.name}` | {point.role} | {point.says} |" for point in POINTS)
    assert rows in page, f"docs/reliability.md lacks\n{rows}"


@pytest.mark.fault
@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", [SIGKILL, SIGTERM], ids=lambda how: how.name)
@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_an_end_at_a_point_costs_nothing(installation: Installation, point: Point, how: Signals) -> None:
    def fault(installation: Installation) -> None:
        installation.arm(point.name, how)
        wait_gone(installation.fired(point.name), f"the process at {point.name}")

    attempt(installation, f"{point.name} × {how.name}", fault, customers=point.customers)
