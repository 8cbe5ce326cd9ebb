"""`flask customers delete`."""

import click
from flask.cli import with_appcontext

import db.customers.deletion
import db.customers.rows
from db.customers.deletion import Deletion
from db.customers.rows import DELETING
from db.engine import read
from webapp.commands.customers.history import note_document
from webapp.terminal import command_context, documents
from webapp.terminal.dates import iso
from webapp.terminal.deleted_customer import Deleting
from webapp.terminal.documents import json_option
from webapp.terminal.exits import Command, Ended, Exit
from webapp.terminal.output import in_a_line
from webapp.terminal.who import by_required, typed, why_required, yes_option


@click.command("delete", cls=Command)
@click.argument("slug")
@by_required
@why_required
@yes_option
@json_option
@with_appcontext
def delete(slug: str, by: str, why: str, yes: bool, as_json: bool) -> None:
    """Delete a customer for good: streams, queues, keys and all rows. Asks first.

    Safe to interrupt: the same command goes on. A note of who, why, when and how much stays.
    """
    with read(command_context.parts().engine) as connection:
        there = db.customers.rows.get(connection, slug)
        earlier = db.customers.deletion.latest(connection, slug)
    if there is None and earlier is not None:
        click.echo(f"customer {slug} was deleted already, by {in_a_line(earlier.note.who)}", err=True)
        _tell(earlier, as_json)
        return
    customer = command_context.customer(slug, or_deleting=True)
    if customer.state != DELETING and not yes:
        question = f"This deletes all that was ever received of {slug}. Type {slug} to go on"
        if not typed(question, slug):
            raise Ended(Exit.REFUSED, "nothing was deleted")
    with command_context.broker() as broker:
        deletion = Deleting(
            engine=command_context.parts().engine,
            broker=broker,
            customer=customer,
            say=lambda words: click.echo(words, err=True),
        ).run(who=by, why=why)
    click.echo(f"customer {slug} is deleted", err=True)
    _tell(deletion, as_json)


def _tell(deletion: Deletion, as_json: bool) -> None:
    note = deletion.note
    if as_json:
        documents.echo(note_document(note))
        return
    click.echo(f"begun {iso(note.noted_at)} by {in_a_line(f'{note.who}: {note.why}')}")
    for table, rows in sorted(deletion.rows.items()):
        click.echo(f"{table:<20} {rows:>15,}")
