"""`flask customers list|show`."""

import dataclasses

import click
from flask.cli import with_appcontext

import db.accounting.costs
import db.customers.notes
import db.customers.quota_use
import db.customers.rows
import db.quarantine.budget
from db.clock import now_us, today
from db.customers.rows import Customer
from db.engine import read
from db.ledger.costs import CustomerCost
from webapp.commands.customers.history import note_document
from webapp.terminal import command_context, documents
from webapp.terminal.dates import iso
from webapp.terminal.documents import json_option
from webapp.terminal.exits import Command
from webapp.terminal.tables import Cell, show as show_table, show_fields

NAMES = {
    "id": "customer_id",
    "slug": "customer",
    "retention_days": "results_days",
    "remember_days": "ids_days",
}
"""What scripts call a field of `Customer` that has another name there."""
LIST_S = 60.0
"""How long a statement of the list may take, s: with 10,000 customers it adds up a million rows."""


@click.command("list", cls=Command)
@json_option
@with_appcontext
def list_all(as_json: bool) -> None:
    """Every customer with its state, when it last sent, and what it cost in the last hour and day."""
    with read(command_context.parts().engine, statement_s=LIST_S) as connection:
        now = now_us(connection)
        everyone = db.customers.rows.everyone(connection)
        sent = db.accounting.costs.last_accepted(connection)
        hour = db.accounting.costs.last_hour(connection, now)
        day = db.accounting.costs.last_day(connection, now)
    if as_json:
        costs = {"last_hour": hour, "last_day": day}
        documents.echo(
            {
                "customers": [
                    _document(one)
                    | {"last_accepted_at": sent.get(one.id)}
                    | {name: _cost(found.get(one.id, CustomerCost())) for name, found in costs.items()}
                    for one in everyone
                ]
            }
        )
        return
    headers = ["customer", "state", "pipeline", "routes", "last sent"]
    headers += ["events/h", "bytes/h", "cpu s/h", "events/day", "bytes/day", "cpu s/day"]
    show_table(
        headers,
        [
            [
                *(one.slug, one.shown_state, one.pipeline_version, _routes(one) or None),
                iso(sent[one.id])[:19] + "Z" if one.id in sent else None,
                *_cells(hour.get(one.id, CustomerCost())),
                *_cells(day.get(one.id, CustomerCost())),
            ]
            for one in everyone
        ],
    )


@click.command("show", cls=Command)
@click.argument("slug")
@json_option
@with_appcontext
def show(slug: str, as_json: bool) -> None:
    """One customer's state, limits, pipeline and routes, its breaker, and what was done last about it."""
    customer = command_context.customer(slug, or_deleting=True)
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
    show_fields(document, 26)


def _document(customer: Customer) -> dict[str, object]:
    values = {NAMES.get(name, name): value for name, value in dataclasses.asdict(customer).items()}
    return {"customer": customer.slug} | values | {"routes": dict(customer.routes)}


def _cost(cost: CustomerCost) -> dict[str, object]:
    return {
        "windows": cost.windows,
        "batches": cost.batches,
        "events": cost.events,
        "bytes": cost.bytes,
        "processor_seconds": cost.processor_us / 1e6,
    }


def _cells(cost: CustomerCost) -> list[Cell]:
    return [cost.events, cost.bytes, cost.processor_us / 1e6]


def _routes(customer: Customer) -> str:
    return " ".join(f"{stage}={queue}" for stage, queue in sorted(customer.routes.items()))
