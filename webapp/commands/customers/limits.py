"""`flask customers limit`: how much may come from a customer."""

from typing import TYPE_CHECKING

import click
from flask.cli import with_appcontext

import db.customers.rows
from db.customers.rows import MOST
from db.engine import begin
from webapp.terminal import command_context, documents
from webapp.terminal.documents import json_option
from webapp.terminal.exits import Command, Ended, Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from db.customers.rows import Limit

LIFTED = "none"


class Amount(click.ParamType[int | str]):
    """A whole number that is a limit, or `none`."""

    name = "N|none"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """The number, or the word; fails with what would be right."""
        text = str(value)
        if text == LIFTED:
            return text
        if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:20]) <= MOST:
            self.fail(f"{text!r} is neither a whole number from 1 to 10^15 nor `{LIFTED}`", param, ctx)
        return int(text)


def _option(words: str, help_text: str) -> "Callable[[click.decorators.FC], click.decorators.FC]":
    return click.option(f"--{words}", type=Amount(), help=help_text)


@click.command("limit", cls=Command)
@click.argument("slug")
@_option("bytes-per-second", "Bytes of bodies as sent.")
@_option("batches-per-second", "Batches.")
@_option("concurrent", "Requests under way at a time.")
@_option("daily-bytes", "Bytes of bodies as sent, accepted from midnight to midnight UTC.")
@_option("events-per-second", "Events dispatched; what comes faster waits in the stream.")
@_option("quarantine-daily-bytes", "Kept in quarantine; `none`: as many as all have.")
@json_option
@with_appcontext
def command(
    slug: str,
    bytes_per_second: int | str | None,
    batches_per_second: int | str | None,
    concurrent: int | str | None,
    daily_bytes: int | str | None,
    events_per_second: int | str | None,
    quarantine_daily_bytes: int | str | None,
    as_json: bool,
) -> None:
    """Change the limits that are given and leave the others; `none` lifts one."""
    asked: dict[Limit, int | str | None] = {
        "bytes_per_second": bytes_per_second,
        "batches_per_second": batches_per_second,
        "concurrent_requests": concurrent,
        "daily_bytes": daily_bytes,
        "events_per_second": events_per_second,
        "quarantine_daily_bytes": quarantine_daily_bytes,
    }
    changes = {
        name: value if isinstance(value, int) else None for name, value in asked.items() if value is not None
    }
    if not changes:
        raise Ended(Exit.USAGE, "name at least one limit; see `flask customers limit --help`")
    customer = command_context.customer(slug)
    with begin(command_context.parts().engine) as connection:
        db.customers.rows.set_limits(connection, customer.id, changes)
    for name, value in changes.items():
        before = getattr(customer, name)
        click.echo(
            f"{name} of {slug}: {LIFTED if before is None else before} →"
            f" {LIFTED if value is None else value}, everywhere within 10 s",
            err=True,
        )
    if as_json:
        documents.echo({"customer": slug} | {str(name): value for name, value in changes.items()})
