"""`flask customers list|show`."""

import dataclasses
import json

import click
from flask.cli import with_appcontext

import db.customers.notes
import db.customers.quota_use
import db.customers.rows
import db.quarantine.budget
from db.clock import today
from db.customers.rows import Customer
from db.engine import read
from webapp.commands.customers.history import note_document
from webapp.commands.customers.options import json_option
from webapp.terminal import command_context, documents
from webapp.terminal.dates import iso
from webapp.terminal.exits import Command
from webapp.terminal.tables import show as show_table


@click.command("list", cls=Command)
@json_option
@with_appcontext
def list_all(as_json: bool) -> None:
    """Every customer with its state."""
    with read(command_context.parts().engine) as connection:
        everyone = db.customers.rows.everyone(connection)
    if as_json:
        click.echo(json.dumps({"customers": [_document(customer) for customer in everyone]}))
        return
    rows = [[one.slug, one.shown_state, one.pipeline_version, _routes(one) or None] for one in everyone]
    show_table(["customer", "state", "pipeline", "routes"], rows)


@click.command("show", cls=Command)
@click.argument("slug")
@json_option
@with_appcontext
def show(slug: str, as_json: bool) -> None:
    """One customer's state, limits, pipeline and routes, its breaker, and what was done last about it."""
    customer = command_context.customer(slug)
    with read(command_context.parts().engine) as connection:
        used = db.customers.quota_use.total(connection, customer.id, today(connection))
        quarantined = db.quarantine.budget.spent(connection, customer.id, day=today(connection))
        note = db.customers.notes.last(connection, customer)
    document = _document(customer) | {
        "bytes_today": used,
        "quarantine_bytes_today": quarantined.bytes,
        "quarantine_withheld_today": quarantined.withheld,
        "last_note": None if note is None else note_document(note),
    }
    if as_json:
        documents.echo(document)
        return
    if note is not None:
        why = f": {note.why}" if note.why else ""
        document["last_note"] = f"{note.act} by {note.who}, {iso(note.noted_at)}{why}"
    for name, value in document.items():
        click.echo(f"{name.replace('_', ' '):<20} {'-' if value in (None, {}) else value}")


def _document(customer: Customer) -> dict[str, object]:
    return dataclasses.asdict(customer) | {"routes": dict(customer.routes)}


def _routes(customer: Customer) -> str:
    return " ".join(f"{stage}={queue}" for stage, queue in sorted(customer.routes.items()))
