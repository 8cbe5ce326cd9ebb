"""The bound on customers with metrics of their own."""

from prometheus_client import REGISTRY

from operators.names import PROMOTED_AFTER
from webapp.metrics import OTHER, CustomerCounts, Outcome


def counted(label: str) -> float:
    return (
        REGISTRY.get_sample_value("sluice_http_batches_total", {"customer": label, "outcome": "accepted"})
        or 0.0
    )


def test_the_first_customers_get_names_and_the_rest_are_other() -> None:
    counts, before = CustomerCounts(4), counted(OTHER)
    for number in range(10):
        counts.count(f"first-{number}", Outcome.ACCEPTED, 10)
    assert [counted(f"first-{number}") for number in range(10)] == [1, 1] + [0] * 8
    assert counted(OTHER) - before == 8


def test_a_busy_customer_that_comes_late_gets_a_name() -> None:
    counts = CustomerCounts(4)
    for number in range(10):
        counts.count(f"quiet-{number}", Outcome.ACCEPTED, 10)
    for _ in range(PROMOTED_AFTER + 5):
        counts.count("busy", Outcome.ACCEPTED, 10)
    assert counted("busy") > 0


def test_no_flood_of_customers_makes_more_labels_than_names() -> None:
    counts = CustomerCounts(2)
    for number in range(PROMOTED_AFTER * 3):
        counts.count(f"crowd-{number % 3}", Outcome.ACCEPTED, 10)
    assert sum(counted(f"crowd-{number}") > 0 for number in range(3)) == 2


def test_a_customer_that_is_called_other_is_not_mixed_with_the_rest() -> None:
    counts, before = CustomerCounts(2), counted(OTHER)
    counts.count(OTHER, Outcome.ACCEPTED, 10)
    assert (counted(OTHER) - before, counted("other:")) == (0, 1)
