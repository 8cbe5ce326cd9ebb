"""`flask lag`: who is behind, and by how much."""

import json

import click
from flask.cli import with_appcontext

import db.customers.rows
from db.engine import read
from webapp.accounting.lag import US, CustomerLag, lags
from webapp.terminal import command_context
from webapp.terminal.exits import Command
from webapp.terminal.tables import Cell, show


@click.command("lag", cls=Command)
@click.option("--customer", "slug", help="Only this one.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.option(
    "--seconds", type=click.IntRange(1, 86_400), default=60, help="Rates and latencies over so long."
)
@with_appcontext
def command(slug: str | None, as_json: bool, seconds: int) -> None:
    """Batches accepted and not yet deposited, and the age of the oldest, the furthest behind first."""
    engine = command_context.parts().engine
    if slug is not None:
        customers = [command_context.customer(slug)]
    else:
        with read(engine) as connection:
            customers = db.customers.rows.everyone(connection)
    with command_context.broker() as broker:
        found = lags(engine, broker, customers, seconds=seconds, deadline_s=command_context.BROKER_DEADLINE_S)
    found.sort(key=lambda one: (-(one.oldest_s or 0), -one.batches, one.customer.slug))
    if as_json:
        click.echo(json.dumps({"customers": [_document(one) for one in found]}))
        return
    headers = [
        "customer",
        "state",
        "behind",
        "oldest s",
        "batches/s",
        "events/s",
        "p50 s",
        "p99 s",
        "p99.9 s",
    ]
    show(headers, [_row(one) for one in found])


def _document(one: CustomerLag) -> dict[str, object]:
    latency = one.latency
    return {
        "customer": one.customer.slug,
        "state": one.customer.state,
        "breaker": one.customer.breaker_reason,
        "batches": one.batches,
        "windows": one.windows,
        "oldest_s": one.oldest_s,
        "batches_per_s": one.batches_per_s,
        "events_per_s": one.events_per_s,
        "p50_s": latency.p50_us / US if latency else None,
        "p99_s": latency.p99_us / US if latency else None,
        "p999_s": latency.p999_us / US if latency else None,
        "max_s": latency.max_us / US if latency else None,
    }


def _row(one: CustomerLag) -> list[Cell]:
    latency = one.latency
    percentiles = (latency.p50_us, latency.p99_us, latency.p999_us) if latency else (None, None, None)
    return [
        *(one.customer.slug, one.customer.shown_state, one.batches, one.oldest_s),
        *(one.batches_per_s, one.events_per_s),
        *(None if value is None else f"{value / US:.3f}" for value in percentiles),
    ]
