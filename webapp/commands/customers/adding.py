"""`flask customers add`."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import click
from flask.cli import with_appcontext

from streams.errors import BrokerMisconfigured, BrokerUnavailable
from webapp.commands.customers.options import key_file_option, key_kept
from webapp.settings import retention_settings
from webapp.terminal import command_context, documents
from webapp.terminal.documents import json_option
from webapp.terminal.exits import Command, Ended, Exit
from webapp.terminal.key_file import KeyFile, KeyFolder, KeyHolders, KeysFile
from webapp.terminal.many_customers import MOST, Addition, add_many, existing, slugs_of
from webapp.terminal.new_customer import create
from webapp.terminal.output import progress_bar

NAMED = 20
"""So many of what is wrong are named; the others are counted."""


@click.command("add", cls=Command)
@click.argument("slugs", metavar="[SLUG]...", nargs=-1)
@click.option("--file", type=click.File("rb"), help="Take the slugs from FILE, one a line; - is stdin.")
@key_file_option
@click.option(
    "--key-folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write each key to SLUG.key in this folder (0600).",
)
@click.option(
    "--keys-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Add a line of slug, tab and key to this file (0600) for each customer.",
)
@click.option("--exist-ok", is_flag=True, help="An existing customer is fine; complete what it lacks.")
@json_option
@with_appcontext
def add(
    slugs: tuple[str, ...],
    file: BinaryIO | None,
    key_file: Path | None,
    key_folder: Path | None,
    keys_file: Path | None,
    exist_ok: bool,
    as_json: bool,
) -> None:
    """Add customers: streams, a key that is shown this once, the default pipeline.

    Several customers need --key-folder or --keys-file. Safe to repeat after an interruption, with --exist-ok.
    Retention is set by SLUICE_RETENTION_… and fixed from then on.
    """
    if file is None and len(slugs) == 1 and key_folder is None and keys_file is None:
        _add_one(slugs[0], key_file, exist_ok, as_json)
        return
    if file is None and not slugs:
        raise click.UsageError("name a customer, or a file of slugs with --file")
    if key_file is not None or (key_folder is None) == (keys_file is None):
        raise click.UsageError("for several customers say where their keys go: --key-folder or --keys-file")
    wanted = _wanted(slugs, file)
    if not exist_ok and (there := existing(command_context.parts().engine, wanted)):
        raise Ended(
            Exit.REFUSED,
            f"{_some(there)} exist already; nothing was added. --exist-ok completes what they lack",
        )
    if keys_file is not None:
        _add_all(wanted, _opened(keys_file), exist_ok, as_json)
    elif key_folder is not None:
        _add_all(wanted, KeyFolder(key_folder), exist_ok, as_json)


def _add_one(slug: str, key_file: Path | None, exist_ok: bool, as_json: bool) -> None:
    with command_context.broker() as broker, key_kept(key_file):
        added = create(
            command_context.parts().engine,
            broker,
            retention_settings(),
            slug,
            key_file=KeyFile(key_file) if key_file else None,
            exist_ok=exist_ok,
        )
    click.echo(f"customer {slug} {'added' if added.new else 'exists'}", err=True)
    if as_json:
        documents.echo({"customers": [{"customer": slug, "added": added.new, "key": added.key}]})
    elif added.key is not None:
        click.echo(added.key)


def _wanted(slugs: Sequence[str], file: BinaryIO | None) -> list[str]:
    """All slugs, checked. Raises Ended that names those that are wrong, before anything is made."""
    lines = [slug.encode("utf-8", "surrogateescape") for slug in slugs]
    if file is not None:
        lines = file.readlines(MOST * 100)
        if slugs or file.read(1):
            raise Ended(Exit.USAGE, f"give slugs or a file of them, and at most {MOST:,}")
    wanted, wrong = slugs_of(lines)
    if wrong:
        what = "\n".join(wrong[:NAMED]) + (f"\nand {len(wrong) - NAMED:,} more" if wrong[NAMED:] else "")
        raise Ended(Exit.REFUSED, f"nothing was added:\n{what}")
    if not wanted or len(wanted) > MOST:
        raise Ended(Exit.USAGE, f"there are {len(wanted):,} slugs; name 1 to {MOST:,}")
    return wanted


def _opened(path: Path) -> KeysFile:
    try:
        return KeysFile(path)
    except ValueError as error:
        raise Ended(Exit.REFUSED, f"{error}; nothing was added") from error
    except OSError as error:
        raise Ended(Exit.REFUSED, f"{path} cannot be read: {error.strerror}; nothing was added") from error


def _add_all(slugs: Sequence[str], keys: KeyHolders, exist_ok: bool, as_json: bool) -> None:
    done: list[Addition] = []
    try:
        with (
            command_context.broker() as broker,
            progress_bar(len(slugs), "added") as bar,
        ):
            engine = command_context.parts().engine
            for one in add_many(engine, broker, retention_settings(), slugs, keys, exist_ok=exist_ok):
                done.append(one)
                bar.update(1)
    except OSError as error:
        raise Ended(Exit.REFUSED, f"a key cannot be written: {error}") from error
    finally:
        _tell(slugs, done, as_json)
    failed = [one for one in done if one.failure]
    if failed:
        raise Ended(_exit(failed[0]), f"{len(failed):,} of {len(slugs):,} customers were not added")


def _tell(slugs: Sequence[str], done: Sequence[Addition], as_json: bool) -> None:
    new = sum(one.new for one in done)
    there = sum(not one.new and one.failure is None for one in done)
    click.echo(f"customers added: {new:,}; there already: {there:,}", err=True)
    failed = [one for one in done if one.failure]
    for one in failed[:NAMED]:
        click.echo(f"{one.slug}: {one.failure}", err=True)
    if len(failed) > NAMED:
        click.echo(f"and {len(failed) - NAMED:,} more; --json names all", err=True)
    if len(done) < len(slugs) or failed:
        click.echo("repeat the command with --exist-ok to add what is missing", err=True)
    if as_json:
        documents.echo({"customers": [_document(one) for one in done]})


def _document(one: Addition) -> dict[str, object]:
    return {
        "customer": one.slug,
        "added": one.new,
        "failure": None if one.failure is None else str(one.failure),
    }


def _exit(one: Addition) -> Exit:
    if isinstance(one.failure, BrokerMisconfigured):
        return Exit.MISCONFIGURED
    return Exit.UNAVAILABLE if isinstance(one.failure, BrokerUnavailable) else Exit.REFUSED


def _some(slugs: Sequence[str]) -> str:
    more = len(slugs) - NAMED
    return ", ".join(slugs[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
