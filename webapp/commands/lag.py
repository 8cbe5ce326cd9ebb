"""`flask lag`: who is behind, and by how much."""

import click
from flask.cli import with_appcontext

import db.customers.rows
from db.engine import read
from webapp.accounting.lag import lags, ledger_lags
from webapp.terminal import command_context, documents, lag_rows
from webapp.terminal.documents import json_option
from webapp.terminal.exits import Command
from webapp.terminal.tables import show


@click.command("lag", cls=Command)
@click.option("--customer", "slug", help="Only this one.")
@json_option
@click.option(
    "--seconds", type=click.IntRange(1, 86_400), default=60, help="Rates and latencies over so long."
)
@lag_rows.sort_option
@click.option("--top", type=click.IntRange(1), help="Only so many; all when not given.")
@with_appcontext
def command(slug: str | None, as_json: bool, seconds: int, sort: str, top: int | None) -> None:
    """Batches accepted and not yet deposited, and the age of the oldest, the furthest behind first."""
    engine = command_context.parts().engine
    if slug is not None:
        customers = [command_context.customer(slug)]
    else:
        with read(engine) as connection:
            customers = db.customers.rows.present(connection)
    known = ledger_lags(engine, seconds=seconds)
    with command_context.broker() as broker:
        found = lags(known, broker, customers, deadline_s=command_context.BROKER_DEADLINE_S)
    shown = lag_rows.in_order(found, sort)[:top]
    if as_json:
        rows = [lag_rows.document(one) for one in shown]
        documents.echo({"customers": rows, "more_customers": len(found) - len(shown)})
        return
    show(lag_rows.HEADERS, [lag_rows.cells(one) for one in shown])
    if len(found) > len(shown):
        click.echo(f"and {len(found) - len(shown):,} more")
