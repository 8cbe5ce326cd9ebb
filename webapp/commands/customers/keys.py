"""`flask customers rotate-key`."""

from pathlib import Path

import click
from flask.cli import with_appcontext

from db.customers import keys
from db.engine import begin
from webapp.commands.customers.options import key_file_option
from webapp.terminal import command_context
from webapp.terminal.exits import Command
from webapp.terminal.key_file import KeyFile


@click.command("rotate-key", cls=Command)
@click.argument("slug")
@key_file_option
@with_appcontext
def rotate_key(slug: str, key_file: Path | None) -> None:
    """A new key beside the one there is; of two live ones the older stops working within 10 s."""
    customer = command_context.customer(slug)
    with begin(command_context.parts().engine) as connection:
        key = keys.rotate(connection, customer.id)
        if key_file:
            KeyFile(key_file).write(key)
    if not key_file:
        click.echo(key)
