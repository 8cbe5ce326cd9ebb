"""`flask receipt`: where is my batch?"""

import dataclasses

import click
from flask.cli import with_appcontext

from webapp.accounting.receipts import find
from webapp.terminal import command_context, documents
from webapp.terminal.documents import json_option
from webapp.terminal.exits import Command, Ended, Exit
from webapp.terminal.tables import show_fields


@click.command("receipt", cls=Command)
@click.argument("slug")
@click.argument("batch_id")
@json_option
@click.option(
    "--look-at", type=click.IntRange(0), default=10_000, help="Waiting batches to look through at most."
)
@with_appcontext
def command(slug: str, batch_id: str, as_json: bool, look_at: int) -> None:
    """What became of one batch: waiting, dispatched, deposited, discarded or quarantined."""
    customer = command_context.customer(slug)
    with command_context.broker() as broker:
        found = find(
            command_context.parts().engine,
            broker,
            customer,
            batch_id,
            deadline_s=command_context.BROKER_DEADLINE_S,
            look_at=look_at,
        )
    if found is None:
        raise Ended(
            Exit.NOT_FOUND,
            f"no batch {batch_id} of {slug}: it never came, its id is forgotten, or it waits further back",
        )
    document = {"customer": slug, "state": "waiting"} | dataclasses.asdict(found)
    if as_json:
        documents.echo(document)
        return
    show_fields(document, 14)
