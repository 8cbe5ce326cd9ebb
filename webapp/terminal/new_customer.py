"""Adding a customer: streams first, so that whoever sees the row finds them."""

from dataclasses import dataclass

from sqlalchemy import Connection, Engine

import db.customers.pipeline_versions
from db.customers import keys
from db.customers.rows import DELETING, Customer, add, being_deleted, check_slug, get
from db.engine import begin, read
from db.errors import SlugTaken
from pipelines import DEFAULT
from streams import Broker, WantedStream, processed, raw
from streams.settings import RetentionSettings
from webapp.terminal.key_file import KeyHolder


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCustomer:
    """`key` is None when it went into a file, or when the customer and its key were there already."""

    customer: Customer
    key: str | None
    new: bool


def create(
    engine: Engine,
    broker: Broker,
    retention: RetentionSettings,
    slug: str,
    *,
    key_file: KeyHolder | None = None,
    exist_ok: bool = False,
) -> NewCustomer:
    """Add a customer with its streams, first key and default pipeline; safe to repeat after a crash anywhere.

    With `exist_ok` an existing customer is left as it is, but for what is missing: a stream, or the key that
    `key_file` should hold. Raises db.errors.BadSlug, SlugTaken, DatabaseUnavailable,
    streams.errors.BrokerUnavailable, BrokerMisconfigured (a stream of that name exists with other retention).
    """
    with read(engine) as connection:
        there = get(connection, slug)
        if there is not None and there.state == DELETING:
            raise SlugTaken(being_deleted(slug))
        if there is not None and not exist_ok:
            raise SlugTaken(f"customer {slug} exists already")
    check_slug(slug)
    for wanted in wanted_streams(retention, slug):
        broker.declare(
            wanted.name,
            max_bytes=wanted.max_bytes,
            max_age_s=wanted.max_age_s,
            segment_bytes=wanted.segment_bytes,
        )
    # If we die here, streams without a customer are left: nobody reads them, and the next try finds them fit.
    return record(engine, slug, key_file=key_file, exist_ok=exist_ok)


def record(engine: Engine, slug: str, *, key_file: KeyHolder | None, exist_ok: bool) -> NewCustomer:
    """The second half of `create`, for a customer whose streams are declared; raises as it does, and OSError
    when the key cannot be written: then the customer is not added.
    """
    with begin(engine) as connection:
        there = get(connection, slug)
        if there is None:
            return _insert(connection, slug, key_file)
        if not exist_ok:
            raise SlugTaken(f"customer {slug} exists already")
        return _complete(connection, there, key_file)


def wanted_streams(retention: RetentionSettings, slug: str) -> list[WantedStream]:
    """The customer's two streams."""
    return [
        WantedStream(
            name=raw(slug),
            max_bytes=retention.raw_bytes,
            max_age_s=retention.raw_age_s,
            segment_bytes=retention.raw_segment_bytes,
        ),
        WantedStream(
            name=processed(slug),
            max_bytes=retention.processed_bytes,
            max_age_s=retention.processed_age_s,
            segment_bytes=retention.processed_segment_bytes,
        ),
    ]


def _insert(connection: Connection, slug: str, key_file: KeyHolder | None) -> NewCustomer:
    customer = add(connection, slug)
    db.customers.pipeline_versions.put(connection, customer.id, DEFAULT)
    key = keys.issue(connection, customer.id)
    if key_file is not None:
        # Before the commit: a file whose key is not valid yet is written over by the next try, a key that was
        # committed and written nowhere is lost.
        key_file.write(key)
    return NewCustomer(customer=customer, key=None if key_file else key, new=True)


def _complete(connection: Connection, customer: Customer, key_file: KeyHolder | None) -> NewCustomer:
    held = key_file.read() if key_file is not None else None
    if key_file is not None and not _is_of(connection, customer, held):
        key_file.write(keys.rotate(connection, customer.id))
    return NewCustomer(customer=customer, key=None, new=False)


def _is_of(connection: Connection, customer: Customer, key: str | None) -> bool:
    owner = keys.find(connection, keys.digest(key)) if key else None
    return owner is not None and owner.id == customer.id
