"""A customer's lag as the commands show it, and the order in which they do: the worst first."""

from collections.abc import Callable, Iterable
from typing import Any

import click

from webapp.accounting.lag import US, CustomerLag
from webapp.terminal.tables import Cell

HEADERS = (
    *("customer", "state", "owed", "oldest s", "batches/s", "events/s"),
    *("p50 s", "p99 s", "p99.9 s", "balanced"),
)
OLDEST = "oldest_owed_seconds"
_FIGURES: dict[str, Callable[[CustomerLag], float]] = {
    OLDEST: lambda one: one.oldest_s or 0.0,
    "owed_batches": lambda one: one.batches,
    "windows_in_flight": lambda one: one.windows,
    "deposited_batches_per_second": lambda one: one.batches_per_s,
    "deposited_events_per_second": lambda one: one.events_per_s,
    "p99_seconds": lambda one: one.latency.p99_us / US if one.latency else 0.0,
}
NAME = "customer"

sort_option = click.option(
    "--sort",
    type=click.Choice([*_FIGURES, NAME]),
    default=OLDEST,
    show_default=True,
    help="The largest first; `customer`: by name.",
)


def in_order(found: Iterable[CustomerLag], sort: str) -> list[CustomerLag]:
    """The worst by this field first; what is equal in it, by the oldest owed batch, then by their number."""
    if sort == NAME:
        return sorted(found, key=lambda one: one.customer.slug)
    figure, oldest = _FIGURES[sort], _FIGURES[OLDEST]
    return sorted(found, key=lambda one: (-figure(one), -oldest(one), -one.batches, one.customer.slug))


def document(one: CustomerLag) -> dict[str, Any]:
    """The customer for `documents.echo`."""
    latency = one.latency
    return {
        "customer": one.customer.slug,
        "state": one.customer.state,
        "breaker_reason": one.customer.breaker_reason,
        "oldest_owed_seconds": one.oldest_s,
        "owed_batches": one.batches,
        "windows_in_flight": one.windows,
        "deposited_batches_per_second": one.batches_per_s,
        "deposited_events_per_second": one.events_per_s,
        "p50_seconds": latency.p50_us / US if latency else None,
        "p99_seconds": latency.p99_us / US if latency else None,
        "p999_seconds": latency.p999_us / US if latency else None,
        "max_seconds": latency.max_us / US if latency else None,
        "balanced": one.balanced,
    }


def cells(one: CustomerLag) -> list[Cell]:
    """The customer under `HEADERS`."""
    latency = one.latency
    percentiles = (latency.p50_us, latency.p99_us, latency.p999_us) if latency else (None, None, None)
    return [
        *(one.customer.slug, one.customer.shown_state, one.batches, one.oldest_s),
        *(one.batches_per_s, one.events_per_s),
        *(None if value is None else f"{value / US:.3f}" for value in percentiles),
        one.balanced,
    ]
