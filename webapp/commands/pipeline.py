"""`flask pipeline …`: what becomes of a customer's events."""

import json
from typing import TextIO

import click

import db.customers.pipeline_versions
from db.engine import begin, read
from pipelines import BadPipeline, parse
from webapp.terminal import command_context, documents
from webapp.terminal.documents import json_option
from webapp.terminal.exits import CommandGroup, Ended, Exit

group = CommandGroup("pipeline", help="Show and set what becomes of a customer's events.")


@group.command("show")
@click.argument("slug")
@click.option("--version", type=click.IntRange(min=1), help="Another than the latest.")
@json_option
def show(slug: str, version: int | None, as_json: bool) -> None:
    """Print the definition as it was set; its version goes to stderr."""
    customer = command_context.customer(slug)
    with read(command_context.parts().engine) as connection:
        try:
            if version is None:
                version, text = db.customers.pipeline_versions.latest(connection, customer.id)
            else:
                text = db.customers.pipeline_versions.get(connection, customer.id, version)
        except LookupError:
            raise Ended(Exit.NOT_FOUND, f"customer {slug} has no such pipeline version") from None
    click.echo(f"version {version}", err=True)
    if as_json:
        documents.echo({"customer": slug, "pipeline_version": version, "definition": json.loads(text)})
        return
    click.echo(text.rstrip("\n"))


@group.command("set")
@click.argument("slug")
@click.argument("file", type=click.File(encoding="utf-8"))
@json_option
def set_(slug: str, file: TextIO, as_json: bool) -> None:
    """Check the definition in FILE (- is stdin) and make it the next version, used within 10 s.

    Windows that are cut already keep the version they were cut with.
    """
    customer = command_context.customer(slug)
    try:
        text = file.read()
        parse(text)
    except (BadPipeline, UnicodeDecodeError) as error:
        raise Ended(Exit.REFUSED, f"nothing was changed: {error}") from None
    with begin(command_context.parts().engine) as connection:
        version = db.customers.pipeline_versions.put(connection, customer.id, text)
    click.echo(f"pipeline of {slug} is version {version}, for windows cut from now on", err=True)
    if as_json:
        documents.echo({"customer": slug, "pipeline_version": version})
