"""`flask trace`: what is kept of one trace."""

import json

import click
from flask.cli import with_appcontext

from db.engine import read
from webapp.kept_trace import MOST_EVENTS, find
from webapp.terminal import command_context, documents
from webapp.terminal.documents import json_option
from webapp.terminal.exits import Command, Ended, Exit

_DIGITS = 32


@click.command("trace", cls=Command)
@click.argument("slug")
@click.argument("trace_id")
@json_option
@with_appcontext
def command(slug: str, trace_id: str, as_json: bool) -> None:
    """The kept events of a trace, as an OTLP export in JSON."""
    customer = command_context.customer(slug)
    try:
        octets = bytes.fromhex(trace_id)
    except ValueError:
        octets = b""
    if len(trace_id) != _DIGITS or 2 * len(octets) != _DIGITS:
        raise click.BadParameter(f"a trace id has {_DIGITS} hexadecimal digits", param_hint="TRACE_ID")
    with read(command_context.parts().engine) as connection:
        found = find(connection, customer.id, octets)
    if found is None:
        raise Ended(Exit.NOT_FOUND, f"no event of the trace {trace_id} of {slug} is kept")
    if found.more:
        click.echo(f"the trace has more kept events: these are the first {MOST_EVENTS:,}", err=True)
    if as_json:
        documents.echo({"customer": slug, "otlp": found.export})
        return
    click.echo(json.dumps(found.export, indent=1))
