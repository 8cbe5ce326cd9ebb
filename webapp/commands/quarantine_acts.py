"""`flask quarantine replay|export|discard`: what is done about rows that were not taken, and who did it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

import click
from flask.cli import with_appcontext

import db.quarantine.rows
from db.clock import now_us
from db.customers.rows import Customer
from db.engine import read
from db.quarantine.acts import REPLAYABLE
from db.quarantine.rows import Extent, Quarantined, RowState, Selection
from streams.errors import BrokerUnavailable
from webapp.quarantine.export import export as write_export
from webapp.quarantine.portions import OnProgress, discard as discard_rows
from webapp.quarantine.replay import CONTENT_TYPES, Replay, Said
from webapp.quarantine.withheld import Withheld
from webapp.receiving import heads
from webapp.terminal import command_context, documents
from webapp.terminal.dates import Time
from webapp.terminal.documents import json_option
from webapp.terminal.exits import Command, Ended, Exit
from webapp.terminal.output import progress_bar
from webapp.terminal.who import by_default, by_required, confirmed, why_optional, why_required, yes_option

ENCODINGS = {"identity": ""} | {name: name for name in heads.ENCODINGS.values() if name}
"""What --encoding says to the envelope's word."""
NAMED = 20
"""So many skipped rows are named for people; `--json` has all."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What the words of a command choose. `since` in µs."""

    slug: str
    reason: str | None
    since: int | None
    ids: tuple[int, ...]

    def need_rows(self) -> None:
        """Raises UsageError unless something but the customer is said: this is not for all that there is."""
        if self.reason is None and self.since is None and not self.ids:
            raise click.UsageError("say which rows: --reason, --since or --id")

    def rows(self, *states: RowState) -> tuple[Customer, Selection, Extent]:
        """The rows in these states. Raises Ended for an id of another customer, or in another state."""
        customer = command_context.customer(self.slug)
        selection = Selection(
            customer_id=customer.id, states=states, reason=self.reason, since_us=self.since, ids=self.ids
        )
        with read(command_context.parts().engine) as connection:
            for row_id in self.ids:
                found = db.quarantine.rows.show(connection, row_id)
                if found is None or found[0].customer_id != customer.id:
                    raise Ended(Exit.NOT_FOUND, f"there is no row {row_id} of {self.slug} in quarantine")
                if found[0].state not in states:
                    _already(found[0], states)
            return customer, selection, db.quarantine.rows.extent(connection, selection)


def _choosing(command: Callable[..., None]) -> Callable[..., None]:
    """Give the command its first argument: the rows that it is about."""

    @wraps(command)
    def chosen(
        *, slug: str, reason: str | None, since: int | None, ids: tuple[int, ...], **others: object
    ) -> None:
        command(Chosen(slug=slug, reason=reason, since=since, ids=ids), **others)

    for option in (
        click.option("--id", "ids", multiple=True, type=click.IntRange(1), help="Only this row; repeatable."),
        click.option("--since", type=Time(), help="Only what came since: 2026-01-15 or …T14:03:05Z."),
        click.option("--reason", help="Only this one; docs/quarantine.md lists them."),
        click.option("--customer", "slug", required=True, help="Whose rows."),
    ):
        chosen = option(chosen)
    return chosen


@click.command("replay", cls=Command)
@_choosing
@by_default
@why_optional
@click.option("--as", "form", type=click.Choice(list(CONTENT_TYPES)), help="What the bytes really are.")
@click.option("--encoding", type=click.Choice(list(ENCODINGS)), help="How they are really encoded.")
@json_option
@with_appcontext
def replay(chosen: Chosen, by: str, why: str, form: str | None, encoding: str | None, as_json: bool) -> None:
    """Send quarantined batches and events through again, each once.

    May be interrupted and repeated, and run twice at once. What fails again becomes a new row.
    """
    said = Said(format=form, content_encoding=None if encoding is None else ENCODINGS[encoding])
    if said != Said():
        chosen.need_rows()
    customer, selection, there = chosen.rows(*REPLAYABLE)
    with command_context.broker() as broker:
        # Before any row is marked; and only a connection tells how large a message may be.
        if not broker.ready(command_context.BROKER_DEADLINE_S):
            raise BrokerUnavailable(f"no answer within {command_context.BROKER_DEADLINE_S:g} s")
        work = Replay(
            engine=command_context.parts().engine,
            broker=broker,
            customer=customer,
            by=by,
            why=why,
            deadline_s=command_context.BROKER_DEADLINE_S,
            said=said,
        )
        try:
            with _bar(there.rows, "replayed") as progress:
                work.run(selection, progress)
        finally:
            _tell(work, as_json)
    if chosen.ids and work.skipped:
        raise Ended(Exit.REFUSED, "what was asked for by its id cannot be replayed")


@click.command("export", cls=Command)
@_choosing
@by_default
@why_optional
@click.option("--to", "folder", required=True, type=click.Path(path_type=Path), help="A new folder.")
@json_option
@with_appcontext
def export(chosen: Chosen, by: str, why: str, folder: Path, as_json: bool) -> None:
    """Write rows into a new folder: the bytes of each in a file, and what is known of them in index.jsonl."""
    customer, selection, there = chosen.rows("kept", "replaying", "replayed")
    engine = command_context.parts().engine
    try:
        with command_context.broker() as broker, _bar(there.rows, "exported") as progress:
            withheld = Withheld(broker, customer.slug, deadline_s=command_context.BROKER_DEADLINE_S)
            rows = write_export(
                engine, customer, selection, folder, withheld, by=by, why=why, progress=progress
            )
    except OSError as error:
        raise Ended(Exit.REFUSED, f"{folder} cannot be written: {error.strerror}") from error
    click.echo(f"exported {rows:,} rows of {customer.slug} to {folder}", err=True)
    if as_json:
        documents.echo({"customer": customer.slug, "rows": rows, "folder": str(folder)})


@click.command("discard", cls=Command)
@_choosing
@by_required
@why_required
@yes_option
@json_option
@with_appcontext
def discard(chosen: Chosen, by: str, why: str, yes: bool, as_json: bool) -> None:
    """Delete the bytes of rows for good; the rows stay for the books, with a note of who and why."""
    chosen.need_rows()
    customer, selection, there = chosen.rows("kept")
    question = f"Delete {there.size:,} bytes in {there.rows:,} rows of {customer.slug} for good?"
    if there.rows and not yes and not confirmed(question):
        raise Ended(Exit.REFUSED, "nothing was discarded")
    engine = command_context.parts().engine
    with _bar(there.rows, "discarded") as progress:
        rows = discard_rows(engine, selection, by=by, why=why, at_us=now_us(engine), progress=progress)
    click.echo(f"discarded {rows:,} rows of {customer.slug}", err=True)
    if as_json:
        documents.echo({"customer": customer.slug, "rows": rows})


def _already(row: Quarantined, wanted: tuple[RowState, ...]) -> None:
    """Raises Ended, unless the row is where the command would have brought it."""
    if row.state == "replayed" and wanted == REPLAYABLE:
        click.echo(f"row {row.id} was replayed already, as {row.replayed_as}", err=True)
    elif row.state == "discarded" and wanted == ("kept",):
        click.echo(f"row {row.id} was discarded already", err=True)
    else:
        remedy = ": complete that with `flask quarantine replay`" if row.state == "replaying" else ""
        raise Ended(Exit.REFUSED, f"row {row.id} is {row.state}{remedy}")


@contextmanager
def _bar(rows: int, label: str) -> Iterator[OnProgress]:
    with progress_bar(rows, label) as bar:
        yield bar.update


def _tell(work: Replay, as_json: bool) -> None:
    if as_json:
        skipped = [{"id": one.row_id, "batch_id": one.batch_id, "why": one.why} for one in work.skipped]
        counts = {"batches": work.batches, "events": work.events}
        documents.echo({"customer": work.customer.slug} | counts | {"skipped_rows": skipped})
        return
    click.echo(
        f"replayed {work.batches:,} batches and {work.events:,} events of {work.customer.slug}", err=True
    )
    for one in work.skipped[:NAMED]:
        click.echo(f"skipped row {one.row_id} (batch {one.batch_id or 'unknown'}): {one.why}", err=True)
    if len(work.skipped) > NAMED:
        click.echo(f"and {len(work.skipped) - NAMED:,} more; --json names all that were skipped", err=True)
