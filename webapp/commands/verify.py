"""`flask verify`: the books proved against the stream itself."""

import dataclasses

import click
from flask.cli import with_appcontext

from db.settings import DatabaseSettings
from webapp.accounting.proof import Proof
from webapp.accounting.verification import StreamChanged, verify
from webapp.commands.generations import told
from webapp.terminal import command_context, documents
from webapp.terminal.documents import json_option
from webapp.terminal.exits import Command, Exit
from webapp.terminal.output import progress_bar


@click.command("verify", cls=Command)
@click.argument("slug")
@click.option(
    "--from", "from_offset", type=click.IntRange(0), default=0, help="Go on at this offset of the stream."
)
@json_option
@click.pass_context
@with_appcontext
def command(context: click.Context, slug: str, from_offset: int, as_json: bool) -> None:
    """Read the raw stream again and prove that windows and batch ids account for it; exit 1 when not.

    Windows must cover what is retained up to the cursor without gap or overlap, and each batch id must be
    booked once, with the bytes that came first. May run while batches come and go. When it is stopped it says
    where --from goes on.
    """
    customer, proof = command_context.customer(slug), Proof()
    with (
        command_context.broker() as broker,
        progress_bar(1, "verified") as bar,
    ):

        def progress(done: int, due: int) -> None:
            bar.length = due
            bar.update(done - bar.pos)

        try:
            verify(
                command_context.parts().engine,
                broker,
                customer,
                proof,
                remember_days=DatabaseSettings().remember_days,
                deadline_s=command_context.BROKER_DEADLINE_S,
                progress=progress,
                from_offset=from_offset,
            )
        except StreamChanged:
            raise
        except BaseException:  # an interrupt, too; it goes on its way
            _stopped(slug, proof)
            raise
    if as_json:
        documents.echo({"customer": slug} | dataclasses.asdict(proof))
    else:
        _print(slug, proof)
    context.exit(Exit.DIFFERS if proof.differences else Exit.OK)


def _stopped(slug: str, proof: Proof) -> None:
    click.echo(f"\nstopped: go on with `flask verify {slug} --from {proof.reached}`", err=True)
    for sentence in proof.differences:
        click.echo(f"- {sentence}", err=True)


def _print(slug: str, proof: Proof) -> None:
    verdict = "does not agree with the ledger" if proof.differences else "agrees with the ledger"
    click.echo(
        f"raw stream of {slug} {verdict}: offsets {proof.first_offset:,} to {proof.cursor:,} (the cursor),"
        f" {proof.read:,} batches read, {proof.skipped:,} of them skipped, in {proof.windows:,} windows"
    )
    for each in proof.generations:
        click.echo(told(each))
    if proof.unprovable:
        click.echo(f"{proof.unprovable:,} offsets can't be proved: older than what the ledger remembers")
    for sentence in proof.differences:
        click.echo(f"- {sentence}")
    if proof.more_differences:
        click.echo(f"- and {proof.more_differences:,} more")
