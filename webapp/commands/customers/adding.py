"""`flask customers add`."""

from pathlib import Path

import click
from flask.cli import with_appcontext

from webapp.commands.customers.options import key_file_option
from webapp.settings import retention_settings
from webapp.terminal import command_context
from webapp.terminal.exits import Command
from webapp.terminal.key_file import KeyFile
from webapp.terminal.new_customer import create


@click.command("add", cls=Command)
@click.argument("slug")
@key_file_option
@click.option("--exist-ok", is_flag=True, help="An existing customer is fine; complete what it lacks.")
@with_appcontext
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
