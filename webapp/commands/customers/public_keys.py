"""`flask customers public-keys|add-public-key|revoke-public-key`."""

import click
from flask.cli import with_appcontext

import db.customers.notes
from db.clock import now_us
from db.customers import public_keys as table
from db.customers.public_keys import KeyRules, PublicKey
from db.engine import begin, read
from webapp.commands.customers.limits import LIFTED, Amount
from webapp.terminal import command_context, documents
from webapp.terminal.dates import iso
from webapp.terminal.documents import json_option
from webapp.terminal.exits import Command, Ended, Exit
from webapp.terminal.tables import show as show_table
from webapp.terminal.who import by_default, why_optional

DAY_US = 86_400_000_000
_BOUNDS = ("bytes_a_day", "batches_a_day", "events_a_day", "requests_a_minute")


@click.command("public-keys", cls=Command)
@click.argument("slug")
@json_option
@with_appcontext
def public_keys(slug: str, as_json: bool) -> None:
    """A customer's public keys that were not revoked, and what each lets in."""
    customer = command_context.customer(slug)
    with read(command_context.parts().engine) as connection:
        found = table.live(connection, customer.id)
        now = now_us(connection)
    if as_json:
        documents.echo({"customer": slug, "public_keys": [_document(key) for key in found]})
        return
    show_table(
        ["key", "origins", "apps", *map(_words, _BOUNDS), "expires"],
        [
            [
                key.key,
                " ".join(key.rules.origins),
                " ".join(key.rules.apps),
                *(_shown(getattr(key.rules, name)) for name in _BOUNDS),
                _expiry(key.rules, now),
            ]
            for key in found
        ],
    )


@click.command("add-public-key", cls=Command)
@click.argument("slug")
@click.option("--origin", "origins", multiple=True, help="Pages of it may use the key; `*`: all. Repeatable.")
@click.option("--app", "apps", multiple=True, help="The Sluice-App-Id of an app that may. Repeatable.")
@click.option(
    *("--bytes-a-day", "bytes_a_day"),
    type=Amount(),
    default=str(10**9),
    show_default=True,
    help="Bytes of bodies as sent, from midnight to midnight UTC.",
)
@click.option(
    *("--batches-a-day", "batches_a_day"),
    type=Amount(),
    default="1000000",
    show_default=True,
    help="Batches.",
)
@click.option(
    *("--events-a-day", "events_a_day"),
    type=Amount(),
    default=LIFTED,
    show_default=True,
    help="Events and log records, as they are deposited.",
)
@click.option(
    *("--requests-a-minute", "requests_a_minute"),
    type=Amount(),
    default="120",
    show_default=True,
    help="Of one address.",
)
@click.option("--days", type=click.IntRange(1, 36_500), help="Expires so many days from now.")
@by_default
@why_optional
@json_option
@with_appcontext
def add_public_key(
    slug: str,
    origins: tuple[str, ...],
    apps: tuple[str, ...],
    bytes_a_day: int | str,
    batches_a_day: int | str,
    events_a_day: int | str,
    requests_a_minute: int | str,
    days: int | None,
    by: str,
    why: str,
    as_json: bool,
) -> None:
    """A new key for pages and apps, which can only send, and no more than this. `none` lifts a bound."""
    customer = command_context.customer(slug)
    with begin(command_context.parts().engine) as connection:
        rules = KeyRules(
            origins=origins,
            apps=tuple(dict.fromkeys(apps)),
            bytes_a_day=_amount(bytes_a_day),
            batches_a_day=_amount(batches_a_day),
            events_a_day=_amount(events_a_day),
            requests_a_minute=_amount(requests_a_minute),
            expires_at=None if days is None else now_us(connection) + days * DAY_US,
        )
        key = table.issue(connection, customer.id, rules)
        db.customers.notes.add(connection, customer, "add-public-key", who=by, why=why, detail={"key": key})
    if as_json:
        documents.echo({"customer": slug, "key": key})
    else:
        click.echo(key)


@click.command("revoke-public-key", cls=Command)
@click.argument("slug")
@click.argument("key")
@by_default
@why_optional
@json_option
@with_appcontext
def revoke_public_key(slug: str, key: str, by: str, why: str, as_json: bool) -> None:
    """End one public key. Pages and apps that use it are refused with 401 within 10 s."""
    customer = command_context.customer(slug)
    with begin(command_context.parts().engine) as connection:
        if not table.revoke(connection, customer.id, key):
            raise Ended(
                Exit.NOT_FOUND, f"{slug} has no such public key; see `flask customers public-keys {slug}`"
            )
        db.customers.notes.add(
            connection, customer, "revoke-public-key", who=by, why=why, detail={"key": key}
        )
    click.echo(f"{key} is refused everywhere within 10 s", err=True)
    if as_json:
        documents.echo({"customer": slug, "key": key})


def _document(key: PublicKey) -> dict[str, object]:
    return {
        "key": key.key,
        "created_at": key.created_at,
        "origins": list(key.rules.origins),
        "apps": list(key.rules.apps),
        **{name: getattr(key.rules, name) for name in _BOUNDS},
        "expires_at": key.rules.expires_at,
    }


def _words(name: str) -> str:
    return name.replace("_", " ")


def _amount(value: int | str) -> int | None:
    return value if isinstance(value, int) else None


def _shown(amount: int | None) -> int | str:
    return LIFTED if amount is None else amount


def _expiry(rules: KeyRules, now: int) -> str:
    if rules.expires_at is None:
        return "never"
    return f"{iso(rules.expires_at)}{' (is over)' if rules.expires_at <= now else ''}"
