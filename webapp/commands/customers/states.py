"""`flask customers pause|drop|block|resume`."""

import click
from flask.cli import with_appcontext

import db.customers.notes
import db.customers.rows
import db.ledger.breaker
from db.customers.notes import CustomerAct
from db.customers.rows import Customer, CustomerState
from db.engine import begin
from webapp.accounting.books import stream_ends
from webapp.terminal import command_context, documents
from webapp.terminal.documents import json_option
from webapp.terminal.exits import Command, Ended, Exit
from webapp.terminal.who import by_default, by_required, confirmed, why_optional, why_required, yes_option


def _set_state(
    customer: Customer, act: CustomerAct, state: CustomerState, by: str, why: str, as_json: bool
) -> None:
    with begin(command_context.parts().engine) as connection:
        db.customers.rows.set_state(connection, customer.id, state)
        db.customers.notes.add(connection, customer, act, who=by, why=why, detail={"was": customer.state})
    click.echo(f"customer {customer.slug} is {state}, everywhere within 10 s", err=True)
    if as_json:
        documents.echo({"customer": customer.slug, "state": state})


@click.command("pause", cls=Command)
@click.argument("slug")
@by_default
@why_optional
@json_option
@with_appcontext
def pause(slug: str, by: str, why: str, as_json: bool) -> None:
    """Accept and keep its batches, but do not dispatch them."""
    _set_state(command_context.customer(slug), "pause", "paused", by, why, as_json)


@click.command("block", cls=Command)
@click.argument("slug")
@by_default
@why_optional
@json_option
@with_appcontext
def block(slug: str, by: str, why: str, as_json: bool) -> None:
    """Refuse its batches with 403."""
    _set_state(command_context.customer(slug), "block", "blocked", by, why, as_json)


@click.command("drop", cls=Command)
@click.argument("slug")
@by_required
@why_required
@yes_option
@json_option
@with_appcontext
def drop(slug: str, by: str, why: str, yes: bool, as_json: bool) -> None:
    """Answer its batches as accepted, count them, and discard them. Asks first."""
    customer = command_context.customer(slug)
    question = f"Discard all batches that agents of {slug} send from now on?"
    if not yes and not confirmed(question):
        raise Ended(Exit.REFUSED, f"nothing was changed: customer {slug} is {customer.state}")
    _set_state(customer, "drop", "dropping", by, why, as_json)


@click.command("resume", cls=Command)
@click.argument("slug")
@click.option(
    "--accept-failures",
    is_flag=True,
    help="Let what fails of the batches accepted so far go to quarantine; the breaker stays closed for them.",
)
@by_default
@why_optional
@json_option
@with_appcontext
def resume(slug: str, accept_failures: bool, by: str, why: str, as_json: bool) -> None:
    """Back to normal, from whatever state; an open breaker is closed, and what is owed is decoded anew."""
    customer = command_context.customer(slug)
    upto = _last_offset(customer) if accept_failures else None
    with begin(command_context.parts().engine) as connection:
        db.customers.rows.set_state(connection, customer.id, "active")
        owed = db.ledger.breaker.reset(connection, customer.id, accept_upto=upto)
        was = {"was": customer.shown_state, "accept_failures": accept_failures}
        db.customers.notes.add(connection, customer, "resume", who=by, why=why, detail=was)
    closed = f"; its breaker is closed, windows decoded anew: {owed}" if customer.breaker_reason else ""
    click.echo(f"customer {slug} is active, everywhere within 10 s{closed}", err=True)
    if as_json:
        documents.echo({"customer": slug, "state": "active", "windows_decoded_anew": owed})


def _last_offset(customer: Customer) -> int:
    """Of its raw stream now; -1 for an empty one."""
    with command_context.broker() as broker:
        ends = stream_ends(broker, customer.slug, deadline_s=command_context.BROKER_DEADLINE_S)
    return -1 if ends is None or ends.last is None else ends.last
