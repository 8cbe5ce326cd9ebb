"""`flask customers keys|rotate-key|revoke-key`."""

from pathlib import Path

import click
from flask.cli import with_appcontext

import db.customers.keys
import db.customers.notes
from db.engine import begin, read
from webapp.commands.customers.options import key_file_option, key_kept
from webapp.terminal import command_context, documents
from webapp.terminal.dates import iso
from webapp.terminal.documents import json_option
from webapp.terminal.exits import Command, Ended, Exit
from webapp.terminal.key_file import KeyFile
from webapp.terminal.tables import show as show_table
from webapp.terminal.who import by_default, confirmed, why_optional, yes_option


@click.command("keys", cls=Command)
@click.argument("slug")
@json_option
@with_appcontext
def keys(slug: str, as_json: bool) -> None:
    """A customer's live keys: the beginning of the SHA-256 of each, and when it was made."""
    customer = command_context.customer(slug)
    with read(command_context.parts().engine) as connection:
        live = db.customers.keys.live(connection, customer.id)
    if as_json:
        rows = [{"key_id": key.id, "created_at": key.created_at} for key in live]
        documents.echo({"customer": slug, "keys": rows})
        return
    show_table(["key", "created at"], [[key.id, iso(key.created_at)] for key in live])


@click.command("revoke-key", cls=Command)
@click.argument("slug")
@click.argument("key_id", metavar="KEY-ID")
@by_default
@why_optional
@yes_option
@json_option
@with_appcontext
def revoke_key(slug: str, key_id: str, by: str, why: str, yes: bool, as_json: bool) -> None:
    """End one key, which `flask customers keys` names. Asks when it is the last one.

    Agents that use it are refused with 401 within 10 s.
    """
    customer = command_context.customer(slug)
    with read(command_context.parts().engine) as connection:
        live = [key.id for key in db.customers.keys.live(connection, customer.id)]
    question = f"It is the last key of {slug}: end it, and refuse all that its agents send?"
    if live == [key_id] and not yes and not confirmed(question):
        raise Ended(Exit.REFUSED, "nothing was changed")
    with begin(command_context.parts().engine) as connection:
        left = db.customers.keys.revoke(connection, customer.id, key_id)
        if left is None:
            raise Ended(
                Exit.NOT_FOUND, f"{slug} has no live key {key_id[:20]}; see `flask customers keys {slug}`"
            )
        # Another may have been ended since we looked.
        if left == 0 and live != [key_id] and not yes:
            raise Ended(Exit.REFUSED, f"{key_id} has become the last key of {slug}; nothing was changed")
        db.customers.notes.add(
            connection, customer, "revoke-key", who=by, why=why, detail={"key": key_id, "keys_left": left}
        )
    click.echo(f"key {key_id} of {slug} is refused everywhere within 10 s; live keys left: {left}", err=True)
    if as_json:
        documents.echo({"customer": slug, "key_id": key_id, "keys_left": left})


@click.command("rotate-key", cls=Command)
@click.argument("slug")
@key_file_option
@json_option
@with_appcontext
def rotate_key(slug: str, key_file: Path | None, as_json: bool) -> None:
    """A new key beside the one there is; of two live ones the older stops working within 10 s."""
    customer = command_context.customer(slug)
    with key_kept(key_file), begin(command_context.parts().engine) as connection:
        key = db.customers.keys.rotate(connection, customer.id)
        if key_file:
            KeyFile(key_file).write(key)
    if as_json:
        documents.echo({"customer": slug, "key": None if key_file else key})
    elif not key_file:
        click.echo(key)
