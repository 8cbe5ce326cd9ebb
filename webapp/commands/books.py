"""`flask books`: the equations of every customer, and exit 1 when one does not hold."""

import dataclasses
from collections.abc import Mapping, Sequence

import click
from flask.cli import with_appcontext

import db.customers.rows
from db.accounting.books import QuarantineCounts
from db.customers.public_key_use import KEPT_DAYS
from db.customers.rows import Customer
from db.engine import connect, read
from db.settings import DatabaseSettings
from streams import Broker
from webapp.accounting.books import Books, books, books_with_results
from webapp.commands.generations import told
from webapp.terminal import command_context, documents
from webapp.terminal.documents import json_option
from webapp.terminal.exits import Command, Exit
from webapp.terminal.output import progress_bar
from webapp.terminal.tables import Cell, show


@click.command("books", cls=Command)
@click.option("--customer", "slug", help="Only this one.")
@json_option
@click.option("--results", is_flag=True, help="Add up the result tables too: reads every row, takes minutes.")
@click.option("--from", "from_slug", default="", help="Go on at this customer.")
@click.pass_context
@with_appcontext
def command(context: click.Context, slug: str | None, as_json: bool, results: bool, from_slug: str) -> None:
    """Does every batch and every event add up? Exit 1 when not.

    The database is read at one moment, each stream's end right after it: what came in between is in flight.
    With --results that is a moment for each customer; when it is stopped it says where --from goes on.
    """
    engine = command_context.parts().engine
    if slug is not None:
        customers = [command_context.customer(slug)]
    else:
        with read(engine) as connection:
            customers = [one for one in db.customers.rows.present(connection) if one.slug >= from_slug]
    with command_context.broker() as broker:
        if results:
            found = _with_results(broker, customers)
        else:
            found = books(engine, broker, customers, deadline_s=command_context.BROKER_DEADLINE_S)
    differences = {one.customer.slug: one.differences() for one in found}
    balanced = not any(differences.values())
    if as_json:
        rows = [_document(one, differences[one.customer.slug]) for one in found]
        documents.echo({"balanced": balanced, "customers": rows})
    else:
        _print(found, differences)
    context.exit(Exit.OK if balanced else Exit.DIFFERS)


def _with_results(broker: Broker, customers: Sequence[Customer]) -> list[Books]:
    # It takes two connections at once, which the pool of an application may not have.
    engine, found = connect(DatabaseSettings(), pooled=False), list[Books]()
    bar = progress_bar(len(customers), "added up")
    try:
        with bar:
            for one in books_with_results(
                engine, broker, customers, deadline_s=command_context.BROKER_DEADLINE_S
            ):
                found.append(one)
                bar.update(1)
    except BaseException:  # an interrupt, too; it goes on its way
        if len(found) < len(customers):
            reached = customers[len(found)].slug
            click.echo(f"\nstopped: go on with `flask books --results --from {reached}`", err=True)
        _say(found, {one.customer.slug: one.differences() for one in found}, err=True)
        raise
    return found


def _document(one: Books, differences: list[str]) -> dict[str, object]:
    ledger = dataclasses.asdict(one.ledger)
    del ledger["in_flight"]  # only those that were dispatched
    document = (
        {"customer": one.customer.slug}
        | ledger
        | {
            "balanced": not differences,
            "differences": differences,
            "in_stream": one.in_stream,
            "owed_batches": one.in_flight,
            "undispatched": one.undispatched,
            "gone_undispatched": one.gone_undispatched,
            "cursor_beyond_end": one.cursor_beyond_end,
            "public_key_refused": one.public_key_refused,
            "quarantine_bytes": one.quarantine_days.bytes,
            "quarantine_withheld": one.quarantine_days.withheld,
            "quarantine_withheld_bytes": one.quarantine_days.withheld_bytes,
            "generations": [dataclasses.asdict(each) for each in one.past],
        }
    )
    if one.results is not None:
        document["results"] = {
            "interactions": one.results.interactions,
            "rollups": one.results.rollups,
            "log_rollups": one.results.log_rollups,
            "quarantined_batches": dataclasses.asdict(one.results.quarantined),
            "rejected_events": dataclasses.asdict(one.results.rejected),
        }
    return document


def _print(found: list[Books], differences: dict[str, list[str]]) -> None:
    batches: list[list[Cell]] = []
    events: list[list[Cell]] = []
    for one in found:
        ledger, slug = one.ledger, one.customer.slug
        verdict = "no" if differences[slug] else "yes"
        batches.append(
            [
                *(slug, one.in_stream, ledger.duplicates, ledger.discarded, ledger.expired),
                *(ledger.quarantined, one.in_flight, ledger.deposited, verdict),
            ]
        )
        events.append([slug, ledger.decoded, ledger.kept, ledger.dropped, ledger.rejected])
    names = (
        "in stream",
        "= duplicates",
        "+ discarded",
        "+ expired",
        "+ quarantined",
        "+ in flight",
        "+ deposited",
    )
    show(["batches of", *names, "balanced"], batches)
    click.echo()
    show(["events of", "decoded", "= kept", "+ dropped", "+ rejected"], events)
    if with_results := [(one.customer.slug, one.results) for one in found if one.results is not None]:
        click.echo()
        show(
            ["in quarantine of", "batches", "= kept", "+ replayed", "+ discarded", "+ pruned"],
            [
                [slug, results.quarantined.total, *_parts(results.quarantined)]
                for slug, results in with_results
            ],
        )
        click.echo()
        show(
            ["in quarantine of", "events", "= kept", "+ replayed", "+ discarded", "+ pruned"],
            [[slug, results.rejected.total, *_parts(results.rejected)] for slug, results in with_results],
        )
    _say(found, differences)


def _say(found: Sequence[Books], differences: Mapping[str, Sequence[str]], *, err: bool = False) -> None:
    """What the tables do not show, and what does not add up."""
    for one in found:
        slug = one.customer.slug
        if one.gone_undispatched:
            click.echo(
                f"{slug}: retention removed {one.gone_undispatched:,} batches before they were dispatched",
                err=err,
            )
        if one.public_key_refused:
            click.echo(
                f"{slug}: public key, refused: {one.public_key_refused:,} requests in {KEPT_DAYS} days",
                err=err,
            )
        if (days := one.quarantine_days).withheld:
            click.echo(
                f"{slug}: {days.withheld:,} rows of quarantine were over their days' budgets;"
                f" {days.withheld_bytes:,} bytes are in the raw stream only, while it keeps them",
                err=err,
            )
        for each in one.past:
            click.echo(f"{slug}: {told(each)}", err=err)
        for sentence in differences[slug]:
            click.echo(f"{slug}: {sentence}", err=err)


def _parts(counts: QuarantineCounts) -> list[Cell]:
    return [counts.kept, counts.replayed, counts.discarded, counts.pruned]
