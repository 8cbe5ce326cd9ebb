"""`flask queues …`: queues that no customer's route leads to any more."""

import dataclasses

import click

import db.customers.routes
from db.engine import begin, read
from webapp.terminal import command_context, documents
from webapp.terminal.documents import json_option
from webapp.terminal.exits import CommandGroup, Ended, Exit
from webapp.terminal.tables import show as show_table

group = CommandGroup("queues", help="Find and remove queues that no customer uses any more.")


@group.command("list")
@json_option
def list_unused(as_json: bool) -> None:
    """Queues left behind by routes: whose doorbells came there, how many wait, and how many consumers."""
    with read(command_context.parts().engine) as connection:
        unused = db.customers.routes.unused(connection)
    with command_context.broker() as broker:
        found = broker.doorbells(list(unused))
    slugs = {name: [customer.slug for customer in unused[name]] for name in found}
    if as_json:
        rows = [{"queue": name, "slugs": slugs[name], **dataclasses.asdict(found[name])} for name in found]
        documents.echo({"queues": rows})
        return
    headers = ["queue", "customers", "messages", "consumers"]
    show_table(
        headers, [[name, " ".join(slugs[name]), one.messages, one.consumers] for name, one in found.items()]
    )


@group.command("remove")
@click.argument("queue")
@json_option
def remove(queue: str, as_json: bool) -> None:
    """Remove a queue that `flask queues list` names; what is owed of it is rung in the queues used now."""
    with begin(command_context.parts().engine) as connection:
        customers = db.customers.routes.unused(connection).get(queue)
        if customers is None:
            raise Ended(Exit.REFUSED, f"{queue} is used, or was never Sluice's; see `flask queues list`")
        # First: if we die here, windows are rung once too often, and the ledger takes each once.
        for customer in customers:
            db.customers.routes.ask_ring(connection, customer.id)
    with command_context.broker() as broker:
        if not broker.remove_doorbells(queue):
            raise Ended(Exit.NOT_FOUND, f"the broker has no queue {queue}")
    click.echo(f"queue {queue} is removed", err=True)
    if as_json:
        documents.echo({"queue": queue, "slugs": [customer.slug for customer in customers]})
