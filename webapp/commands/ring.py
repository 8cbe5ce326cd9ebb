"""`flask ring`: a customer's windows, now."""

import click
from flask.cli import with_appcontext

import db.customers.routes
import db.ledger.windows
from db.engine import begin
from webapp.terminal import command_context, documents
from webapp.terminal.documents import json_option
from webapp.terminal.exits import Command, Ended, Exit


@click.command("ring", cls=Command)
@click.argument("slug")
@json_option
@with_appcontext
def command(slug: str, as_json: bool) -> None:
    """Ring all open windows of a customer again, in the queues where its routes lead now."""
    customer = command_context.customer(slug)
    if customer.breaker_reason is not None:
        raise Ended(Exit.REFUSED, f"the breaker of {slug} is open; `flask customers resume` rings, too")
    with begin(command_context.parts().engine) as connection:
        db.customers.routes.ask_ring(connection, customer.id)
        windows = len(db.ledger.windows.open_ids(connection, [customer.id]).get(customer.id, ()))
    click.echo(f"open windows of {slug}, rung within 10 s: {windows}", err=True)
    if as_json:
        documents.echo({"customer": slug, "windows_in_flight": windows})
