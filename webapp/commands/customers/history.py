"""`flask customers history`."""

import click
from flask.cli import with_appcontext

import db.customers.notes
from db.customers.notes import CustomerNote
from db.engine import read
from webapp.terminal import command_context, documents
from webapp.terminal.dates import iso
from webapp.terminal.documents import json_option
from webapp.terminal.exits import Command
from webapp.terminal.tables import show as show_table


@click.command("history", cls=Command)
@click.argument("slug")
@json_option
@with_appcontext
def history(slug: str, as_json: bool) -> None:
    """What operators did about a customer, oldest first: who, when, and why. Also of a deleted one."""
    with read(command_context.parts().engine) as connection:
        notes = db.customers.notes.history(connection, slug)
    if not notes:
        command_context.customer(slug)  # ends with NOT_FOUND when nobody ever had the slug
    if as_json:
        documents.echo({"notes": [note_document(one) for one in notes]})
        return
    rows = [[iso(one.noted_at), one.act, one.who, one.why or None, _detail(one)] for one in notes]
    show_table(["when", "act", "by", "why", "detail"], rows)


def note_document(note: CustomerNote) -> dict[str, object]:
    """The note for `documents.echo`."""
    return {
        "customer": note.slug,
        "customer_id": note.customer_id,
        "act": note.act,
        "who": note.who,
        "why": note.why,
        "changes": dict(note.detail),
        "noted_at": note.noted_at,
        "ended_at": note.ended_at,
    }


def _detail(note: CustomerNote) -> str:
    said = [f"{name}={value}" for name, value in note.detail.items()]
    return ", ".join(said if note.ended_at is not None else [*said, "not done yet"])
