"""Figures of `docs/benchmarks.md` and `README.md` are those of the JSON in `bench/results/`.

What `bench.suite.page` writes is compared as a whole. Sections with sentences of their own are given as
pieces: a number of the section that is in none of them fails as well. The others describe the method.
"""

import pytest

from bench.places import ROOT
from bench.suite import page, plan
from tests.unit.figures import Section, result

RUN, NEIGHBOUR = result("latest"), result("neighbour")


def isolation() -> list[str]:
    quiet, beside = (
        NEIGHBOUR.victim[when].way.accepted_to_committed.p999 / 1000 for when in ("quiet", "beside")
    )
    let_through = NEIGHBOUR.neighbour.accepted_events_per_s / NEIGHBOUR.machine_takes_events_per_s
    return [
        f"Isolation was measured on {NEIGHBOUR.machine.cores} cores",
        f"a customer that offered {NEIGHBOUR.offered_times:.0f} times what the machine can process",
        f"let through {let_through:.1f} times what the machine can process",
        f"Its p99.9 from acceptance to commit rose {beside / quiet:.2f} times,"
        f" from {quiet:.2f} s to {beside:.2f} s;",
    ]


SECTIONS = [
    Section(
        page=page.README,
        heading="## What is guaranteed, and the limits",
        measured=[*isolation(), page.promise(RUN)],
        stated=[
            "answers 202",
            "get 202",
            "is 503",
            "for 7 days",
            "the target of 1.5 times was missed",
        ],
    ),
    Section(
        page=page.PAGE,
        heading="## On paper",
        measured=[
            f"{plan.EVENTS_PER_S / 1e6:.2f} million spans/s, {plan.AGENTS / 1e6:.0f} million agents",
            f"for {plan.EVENTS_PER_S * 86_400 / 1e9:.0f} billion spans a day",
            f"A machine has {plan.CORES} cores, which are {plan.BUSY * 100:.0f} % busy."
            f" Streams have {plan.REPLICAS} replicas.",
            f"machines = cores ÷ ({plan.CORES} × {plan.BUSY})",
            f"written a span × spans/s × {plan.REPLICAS},",
        ],
    ),
]


@pytest.mark.parametrize("name", [page.PAGE, page.README])
def test_a_page_has_the_figures_that_the_run_gives_it(name: str) -> None:
    """`python -m bench.suite.page` writes them."""
    assert (ROOT / name).read_text() == page.pages(RUN)[name]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.heading)
def test_a_section_states_the_figures_of_its_result(section: Section) -> None:
    assert section.missing() == [], f"{section.page} differs from bench/results"


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.heading)
def test_a_section_states_no_other_figures(section: Section) -> None:
    assert section.unchecked() == []
