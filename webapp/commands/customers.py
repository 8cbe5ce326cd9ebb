"""`flask customers …`: who may send, and how."""

import dataclasses
import json
from pathlib import Path
from typing import get_args

import click

import db.customers.quota_use
import db.customers.routes
import db.customers.rows
import db.ledger.breaker
import db.quarantine.budget
from db.clock import today
from db.customers import keys
from db.customers.rows import Customer, CustomerState, Stage
from db.engine import begin, read
from webapp.accounting.books import stream_ends
from webapp.settings import retention_settings
from webapp.terminal import command_context
from webapp.terminal.exits import CommandGroup
from webapp.terminal.key_file import KeyFile
from webapp.terminal.new_customer import create
from webapp.terminal.tables import show as show_table

group = CommandGroup("customers", help="Add customers and say what may come from them.")

key_file_option = click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the key here (0600), not to stdout.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="For scripts.")


@group.command("add")
@click.argument("slug")
@key_file_option
@click.option("--exist-ok", is_flag=True, help="An existing customer is fine; complete what it lacks.")
def add(slug: str, key_file: Path | None, exist_ok: bool) -> None:
    """Add a customer: streams, a key that is shown this once, the default pipeline.

    Safe to repeat after an interruption. Retention is set by SLUICE_RETENTION_… and fixed from then on.
    """
    file = KeyFile(key_file) if key_file else None
    with command_context.broker() as broker:
        added = create(
            command_context.parts().engine,
            broker,
            retention_settings(),
            slug,
            key_file=file,
            exist_ok=exist_ok,
        )
    click.echo(f"customer {slug} {'added' if added.new else 'exists'}", err=True)
    if added.key is not None:
        click.echo(added.key)


@group.command("list")
@json_option
def list_all(as_json: bool) -> None:
    """Every customer with its state."""
    with read(command_context.parts().engine) as connection:
        everyone = db.customers.rows.everyone(connection)
    if as_json:
        click.echo(json.dumps({"customers": [_document(customer) for customer in everyone]}))
        return
    rows = [[one.slug, one.shown_state, one.pipeline_version, _routes(one) or None] for one in everyone]
    show_table(["customer", "state", "pipeline", "routes"], rows)


@group.command("show")
@click.argument("slug")
@json_option
def show(slug: str, as_json: bool) -> None:
    """One customer's state, limits, pipeline and routes, and its breaker."""
    customer = command_context.customer(slug)
    with read(command_context.parts().engine) as connection:
        used = db.customers.quota_use.total(connection, customer.id, today(connection))
        quarantined = db.quarantine.budget.spent(connection, customer.id, day=today(connection))
    document = _document(customer) | {
        "bytes_today": used,
        "quarantine_bytes_today": quarantined.bytes,
        "quarantine_withheld_today": quarantined.withheld,
    }
    if as_json:
        click.echo(json.dumps(document))
        return
    for name, value in document.items():
        click.echo(f"{name.replace('_', ' '):<20} {'-' if value in (None, {}) else value}")


def _state_command(name: str, state: CustomerState, help_text: str) -> None:
    @group.command(name, help=help_text)
    @click.argument("slug")
    def change(slug: str) -> None:
        customer = command_context.customer(slug)
        with begin(command_context.parts().engine) as connection:
            db.customers.rows.set_state(connection, customer.id, state)
        click.echo(f"customer {slug} is {state}, everywhere within 10 s", err=True)


_state_command("pause", "paused", "Accept and keep its batches, but do not dispatch them.")
_state_command("drop", "dropping", "Answer its batches as accepted, count them, discard them.")
_state_command("block", "blocked", "Refuse its batches with 403.")


@group.command("resume")
@click.argument("slug")
@click.option(
    "--accept-failures",
    is_flag=True,
    help="Let what fails of the batches accepted so far go to quarantine; the breaker stays closed for them.",
)
def resume(slug: str, accept_failures: bool) -> None:
    """Back to normal, from whatever state; an open breaker is closed, and what is owed is decoded anew."""
    customer = command_context.customer(slug)
    upto = _last_offset(customer) if accept_failures else None
    with begin(command_context.parts().engine) as connection:
        db.customers.rows.set_state(connection, customer.id, "active")
        owed = db.ledger.breaker.reset(connection, customer.id, accept_upto=upto)
    closed = f"; its breaker is closed, windows decoded anew: {owed}" if customer.breaker_reason else ""
    click.echo(f"customer {slug} is active, everywhere within 10 s{closed}", err=True)


@group.command("rotate-key")
@click.argument("slug")
@key_file_option
def rotate_key(slug: str, key_file: Path | None) -> None:
    """A new key beside the one there is; of two live ones the older stops working within 10 s."""
    customer = command_context.customer(slug)
    with begin(command_context.parts().engine) as connection:
        key = keys.rotate(connection, customer.id)
        if key_file:
            KeyFile(key_file).write(key)
    if not key_file:
        click.echo(key)


@group.command("route")
@click.argument("slug")
@click.argument("stage", type=click.Choice(get_args(Stage)))
@click.argument("queue", required=False)
def route(slug: str, stage: Stage, queue: str | None) -> None:
    """Send one stage's tasks to QUEUE; without QUEUE, back to customer-SLUG."""
    customer = command_context.customer(slug)
    with begin(command_context.parts().engine) as connection:
        db.customers.routes.route(connection, customer, stage, queue)
    click.echo(
        f"{stage} of {slug} goes to {queue or db.customers.rows.own_queue(slug)}, within 10 s", err=True
    )


def _last_offset(customer: Customer) -> int:
    """Of its raw stream now; -1 for an empty one."""
    with command_context.broker() as broker:
        ends = stream_ends(broker, customer.slug, deadline_s=command_context.BROKER_DEADLINE_S)
    return -1 if ends is None or ends.last is None else ends.last


def _document(customer: Customer) -> dict[str, object]:
    return dataclasses.asdict(customer) | {"routes": dict(customer.routes)}


def _routes(customer: Customer) -> str:
    return " ".join(f"{stage}={queue}" for stage, queue in sorted(customer.routes.items()))
