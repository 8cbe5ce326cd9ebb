"""`flask customers route`."""

from typing import get_args

import click
from flask.cli import with_appcontext

import db.customers.routes
import db.customers.rows
from db.customers.rows import Stage
from db.engine import begin
from webapp.terminal import command_context, documents
from webapp.terminal.documents import json_option
from webapp.terminal.exits import Command


@click.command("route", cls=Command)
@click.argument("slug")
@click.argument("stage", type=click.Choice(get_args(Stage)))
@click.argument("queue", required=False)
@json_option
@with_appcontext
def route(slug: str, stage: Stage, queue: str | None, as_json: bool) -> None:
    """Send one stage's tasks to QUEUE; without QUEUE, back to customer-SLUG."""
    customer = command_context.customer(slug)
    with begin(command_context.parts().engine) as connection:
        db.customers.routes.route(connection, customer, stage, queue)
    goes_to = queue or db.customers.rows.own_queue(slug)
    click.echo(f"{stage} of {slug} goes to {goes_to}, within 10 s", err=True)
    if as_json:
        documents.echo({"customer": slug, "stage": stage, "queue": goes_to})
