"""`flask customers retention`: how long what is a customer's is kept."""

from typing import TYPE_CHECKING

import click
from flask.cli import with_appcontext

import db.customers.notes
import db.customers.own_retention
from db.engine import begin
from db.settings import DatabaseSettings
from webapp.terminal import command_context, documents
from webapp.terminal.documents import json_option
from webapp.terminal.exits import Command
from webapp.terminal.who import by_default, why_optional

if TYPE_CHECKING:
    from db.customers.own_retention import Kept

DEFAULT = "none"
WORDS: "dict[Kept, str]" = {
    "results": "interactions, rollups, exceptions, events and logs",
    "quarantine": "quarantined rows",
    "ids": "batch ids",
}


class Days(click.ParamType[int | str]):
    """A whole number of days, or `none`."""

    name = "DAYS|none"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """The number, or the word; fails with what would be right."""
        text = str(value)
        if text == DEFAULT:
            return text
        if not text.isascii() or not text.isdecimal() or len(text) > 6 or int(text) < 1:
            self.fail(f"{text!r} is neither a whole number of days nor `{DEFAULT}`", param, ctx)
        return int(text)


@click.command("retention", cls=Command)
@click.argument("slug")
@click.option(
    "--results",
    type=Days(),
    help="Days of results (interactions, rollups, exceptions, events, logs), by their time.",
)
@click.option("--quarantine", type=Days(), help="Days of quarantined rows.")
@click.option("--ids", type=Days(), help="Days of batch ids, by which repeats are found.")
@by_default
@why_optional
@json_option
@with_appcontext
def retention(
    slug: str,
    results: int | str | None,
    quarantine: int | str | None,
    ids: int | str | None,
    by: str,
    why: str,
    as_json: bool,
) -> None:
    """Show for how many days what is the customer's is kept, or change it; `none`: the default of all."""
    asked: dict[Kept, int | str | None] = {"results": results, "quarantine": quarantine, "ids": ids}
    changes = {
        name: value if isinstance(value, int) else None for name, value in asked.items() if value is not None
    }
    customer, settings = command_context.customer(slug), DatabaseSettings()
    before = after = db.customers.own_retention.days(customer, settings)
    if changes:
        with begin(command_context.parts().engine) as connection:
            after = db.customers.own_retention.set_days(connection, customer, settings, changes)
            changed = {str(name): [before[name], after[name]] for name in changes}
            db.customers.notes.add(connection, customer, "retention", who=by, why=why, detail=changed)
    if as_json:
        documents.echo({"customer": slug, **{f"{name}_days": after[name] for name in WORDS}})
        return
    for name, words in WORDS.items():
        if not changes:
            click.echo(f"{words} of {slug}: {after[name]:,} days")
        elif name in changes:
            click.echo(f"{words} of {slug}: {before[name]:,} → {after[name]:,} days", err=True)
