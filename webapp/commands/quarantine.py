"""`flask quarantine …`: what was not taken, and why."""

import dataclasses
from typing import get_args

import click

import db.customers.rows
import db.quarantine.acts
import db.quarantine.rows
from db.customers.rows import Customer
from db.engine import read
from db.quarantine.rows import Quarantined, RowState
from webapp.commands import quarantine_acts
from webapp.quarantine.withheld import Withheld
from webapp.terminal import command_context, documents
from webapp.terminal.dates import iso
from webapp.terminal.documents import json_option
from webapp.terminal.exits import CommandGroup, Ended, Exit
from webapp.terminal.output import in_a_line, write_bytes
from webapp.terminal.tables import Cell, show as show_table, show_fields

group = CommandGroup("quarantine", help="Batches and events that could not be taken.")
for command in (quarantine_acts.replay, quarantine_acts.export, quarantine_acts.discard):
    group.add_command(command)


@group.command("list")
@click.option("--customer", "slug", help="Only this one.")
@click.option("--reason", help="Only this one; docs/quarantine.md lists them.")
@click.option("--state", type=click.Choice(get_args(RowState)), help="Only rows of which this became.")
@click.option("--before", type=click.IntRange(min=1), help="Only ids below this one, to page on.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, help="At most so many a customer.")
@json_option
def list_(
    slug: str | None,
    reason: str | None,
    state: RowState | None,
    before: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """The newest first."""
    found: list[tuple[str, Quarantined]] = []
    with read(command_context.parts().engine) as connection:
        everyone = [command_context.customer(slug)] if slug else db.customers.rows.everyone(connection)
        for customer in everyone:
            rows = db.quarantine.rows.listing(
                connection, customer.id, reason=reason, state=state, before_id=before, limit=limit
            )
            found.extend((customer.slug, row) for row in rows)
    if as_json:
        documents.echo(
            {"quarantine": [{"customer": owner} | dataclasses.asdict(row) for owner, row in found]}
        )
        return
    headers = ["id", "customer", "reason", "batch", "row", "offset", "bytes", "since", "state"]
    show_table(headers, [_row(owner, row) for owner, row in found])


@group.command("show")
@click.argument("row_id", metavar="ID", type=click.IntRange(min=1))
@click.option("--bytes", "as_bytes", is_flag=True, help="Only the bytes, as they are, to stdout.")
@json_option
def show(row_id: int, as_bytes: bool, as_json: bool) -> None:
    """One row with its detail and the beginning of its bytes."""
    with read(command_context.parts().engine) as connection:
        found = db.quarantine.rows.show(connection, row_id)
        notes = db.quarantine.acts.notes(connection, row_id)
        owner = found and db.customers.rows.by_id(connection, found[0].customer_id)
    if found is None or owner is None:
        raise Ended(Exit.NOT_FOUND, f"there is no row {row_id} in quarantine")
    row, data = found
    if as_bytes:
        write_bytes(data if row.withheld is None else _fetched(owner, row))
        return
    document = {"customer": owner.slug} | dataclasses.asdict(row)
    if as_json:
        told = [{"act": n.act, "who": n.who, "why": n.why, "noted_at": n.noted_at} for n in notes]
        documents.echo(document | {"notes": told})
        return
    show_fields(document, 18)
    begins = "its bytes are in the raw stream only" if row.withheld is not None else repr(data[:200])
    click.echo(f"{'begins with':<18} {begins}")
    for note in notes:
        said = f"{note.who}{note.why and ': '}{note.why}"
        click.echo(f"{note.act:<18} {iso(note.noted_at)} by {in_a_line(said)}")


def _fetched(owner: Customer, row: Quarantined) -> bytes:
    """Bytes that are only in the raw stream. Raises Ended when they cannot be had from it."""
    with command_context.broker() as broker:
        withheld = Withheld(broker, owner.slug, deadline_s=command_context.BROKER_DEADLINE_S)
        data = withheld.fetch_all([row])[row.id]
    if data is None:
        raise Ended(Exit.NOT_FOUND, withheld.why_not(row.id))
    return data


def _row(owner: str, row: Quarantined) -> list[Cell]:
    # Ids are not numbers to be added up: no thousands separators.
    return [
        *(str(row.id), owner, row.reason, row.batch_id),
        *(
            None if row.row is None else str(row.row),
            str(row.stream_offset),
            row.size if row.withheld is None else f"{row.withheld:,} in stream",
            iso(row.created_at)[:19] + "Z",
            row.state,
        ),
    ]
