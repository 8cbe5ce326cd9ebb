"""Adding many customers: the streams of a hundred at once, then each customer in its own transaction."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import Engine

from db.customers.rows import DELETING, being_deleted, check_slug, everyone
from db.engine import read
from db.errors import BadSlug, Refusal, SlugTaken
from streams import Broker, processed, raw
from streams.errors import BrokerMisconfigured, BrokerUnavailable
from streams.settings import RetentionSettings
from webapp.terminal.key_file import KeyHolders
from webapp.terminal.new_customer import record, wanted_streams

MOST = 10_000
"""Customers that one command adds."""
DECLARED_AT_ONCE = 100
ANSWER_S = 10.0

Failure: TypeAlias = BrokerUnavailable | BrokerMisconfigured | Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """What became of one of many: `new` when it was added; neither that nor a failure when it was there."""

    slug: str
    new: bool = False
    failure: Failure | None = None


def slugs_of(lines: Iterable[bytes]) -> tuple[list[str], list[str]]:
    """The slugs in a file of one a line, and a sentence for each line that is wrong.

    Empty lines and lines that begin with # are passed over.
    """
    places: dict[str, int] = {}
    wrong = []
    for number, line in enumerate(lines, 1):
        slug = line.decode("ascii", "backslashreplace").strip()
        if not slug or slug.startswith("#"):
            continue
        try:
            check_slug(slug)
        except BadSlug as error:
            wrong.append(f"line {number}: {error}")
            continue
        if slug in places:
            wrong.append(f"line {number}: {slug} is in line {places[slug]}, too")
        places.setdefault(slug, number)
    return list(places), wrong


def existing(engine: Engine, slugs: Sequence[str]) -> list[str]:
    """Those of the slugs that are customers already. Raises db.errors.DatabaseUnavailable."""
    with read(engine) as connection:
        there = {one.slug for one in everyone(connection)}
    return [slug for slug in slugs if slug in there]


def add_many(
    engine: Engine,
    broker: Broker,
    retention: RetentionSettings,
    slugs: Sequence[str],
    keys: KeyHolders,
    *,
    exist_ok: bool,
) -> Iterator[Addition]:
    """Add the customers as `new_customer.create` does, and say of each what became of it, in their order.

    One that fails stops no other. Each key is where `keys` puts it before its customer is committed, so that
    whatever interrupts this loses none; repeat it with `exist_ok`. Raises db.errors.DatabaseUnavailable,
    BrokerUnavailable when the broker answers nothing at all, OSError when a key cannot be written.
    """
    for first in range(0, len(slugs), DECLARED_AT_ONCE):
        leaving = _deleting(engine)
        yield from (_refused(slug) for slug in slugs[first : first + DECLARED_AT_ONCE] if slug in leaving)
        some = [slug for slug in slugs[first : first + DECLARED_AT_ONCE] if slug not in leaving]
        failed = broker.declare_all([one for slug in some for one in wanted_streams(retention, slug)])
        if any(isinstance(error, BrokerUnavailable) for error in failed.values()):
            _need(broker)
        for slug in some:
            failure = failed.get(raw(slug)) or failed.get(processed(slug))
            yield Addition(slug=slug, failure=failure) if failure else _add(engine, slug, keys, exist_ok)


def _add(engine: Engine, slug: str, keys: KeyHolders, exist_ok: bool) -> Addition:
    try:
        made = record(engine, slug, key_file=keys.of(slug), exist_ok=exist_ok)
    except Refusal as refusal:  # added by another in the meantime
        return Addition(slug=slug, failure=refusal)
    return Addition(slug=slug, new=made.new)


def _deleting(engine: Engine) -> set[str]:
    """Whose streams must not be made again. Raises db.errors.DatabaseUnavailable."""
    with read(engine) as connection:
        return {one.slug for one in everyone(connection) if one.state == DELETING}


def _refused(slug: str) -> Addition:
    return Addition(slug=slug, failure=SlugTaken(being_deleted(slug)))


def _need(broker: Broker) -> None:
    if not broker.ready(ANSWER_S):
        raise BrokerUnavailable(f"no answer within {ANSWER_S:g} s")
