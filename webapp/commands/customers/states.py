"""`flask customers pause|drop|block|resume`."""

import click
from flask.cli import with_appcontext

import db.customers.rows
import db.ledger.breaker
from db.customers.rows import Customer, CustomerState
from db.engine import begin
from webapp.accounting.books import stream_ends
from webapp.terminal import command_context
from webapp.terminal.exits import Command


def _state_command(name: str, state: CustomerState, help_text: str) -> click.Command:
    @click.command(name, cls=Command, help=help_text)
    @click.argument("slug")
    @with_appcontext
    def change(slug: str) -> None:
        customer = command_context.customer(slug)
        with begin(command_context.parts().engine) as connection:
            db.customers.rows.set_state(connection, customer.id, state)
        click.echo(f"customer {slug} is {state}, everywhere within 10 s", err=True)

    return change


pause = _state_command("pause", "paused", "Accept and keep its batches, but do not dispatch them.")
drop = _state_command("drop", "dropping", "Answer its batches as accepted, count them, discard them.")
block = _state_command("block", "blocked", "Refuse its batches with 403.")


@click.command("resume", cls=Command)
@click.argument("slug")
@click.option(
    "--accept-failures",
    is_flag=True,
    help="Let what fails of the batches accepted so far go to quarantine; the breaker stays closed for them.",
)
@with_appcontext
def resume(slug: str, accept_failures: bool) -> None:
    """Back to normal, from whatever state; an open breaker is closed, and what is owed is decoded anew."""
    customer = command_context.customer(slug)
    upto = _last_offset(customer) if accept_failures else None
    with begin(command_context.parts().engine) as connection:
        db.customers.rows.set_state(connection, customer.id, "active")
        owed = db.ledger.breaker.reset(connection, customer.id, accept_upto=upto)
    closed = f"; its breaker is closed, windows decoded anew: {owed}" if customer.breaker_reason else ""
    click.echo(f"customer {slug} is active, everywhere within 10 s{closed}", err=True)


def _last_offset(customer: Customer) -> int:
    """Of its raw stream now; -1 for an empty one."""
    with command_context.broker() as broker:
        ends = stream_ends(broker, customer.slug, deadline_s=command_context.BROKER_DEADLINE_S)
    return -1 if ends is None or ends.last is None else ends.last
