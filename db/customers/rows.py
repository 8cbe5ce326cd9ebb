"""Customers: rows that an operator makes and every process reads."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Row, Select, Text, Update, cast, insert, select, update

from db.clock import now_us
from db.errors import BadSlug, Refusal, SlugTaken
from db.tables import customers, deposits, dispatch, folded

CustomerState = Literal["active", "paused", "dropping", "blocked", "deleting"]
Stage = Literal["decode", "process", "deposit"]
Limit = Literal[
    "bytes_per_second",
    "batches_per_second",
    "concurrent_requests",
    "daily_bytes",
    "events_per_second",
    "quarantine_daily_bytes",
]

DELETING: CustomerState = "deleting"
"""From the beginning of a deletion to its end: nothing of the customer is served or changed any more."""
# Ten years: agents may send events as old as they like, so what is kept shorter is the operator's choice.
DEFAULT_RETENTION_DAYS = 3650
MOST = 10**15
"""The largest limit: a float still tells it from its neighbours."""
ROUTE_FORM = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,98}[a-z0-9])?")
"""Queues of routes: no stream of ours and no queue of RabbitMQ's or Celery's own has such a name."""
OWN_QUEUE = "customer-"
"""What a customer's own queue begins with; the slug follows."""
TAKEN = frozenset({"shared"})
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """`events_per_second` bounds dispatch, `quarantine_daily_bytes` what is kept in quarantine, the other
    limits reception. None is unlimited, and for quarantine the budget that all have.

    Bytes are those of bodies as sent; `daily_bytes` are those accepted from midnight to midnight UTC.
    `pipeline_version` 0 means that no pipeline was put yet. `routes` maps a stage to another queue. The
    breaker is open while `breaker_reason` is not None (`db.ledger.breaker`). `rings_asked` counts how often
    somebody asked that its open windows be rung again (`db.customers.routes`). `retention_days` are those of
    its results; the other days are None where it has those of the settings (`db.customers.own_retention`).
    """

    id: int
    slug: str
    state: CustomerState
    events_per_second: int | None
    bytes_per_second: int | None
    batches_per_second: int | None
    concurrent_requests: int | None
    daily_bytes: int | None
    pipeline_version: int
    routes: Mapping[Stage, str] = field(hash=False)
    retention_days: int
    created_at: int
    updated_at: int
    breaker_reason: str | None = None
    breaker_opened_at: int | None = None
    failures_accepted_upto: int | None = None
    quarantine_daily_bytes: int | None = None
    rings_asked: int = 0
    quarantine_days: int | None = None
    remember_days: int | None = None

    @property
    def shown_state(self) -> str:
        """The state, or that the breaker is open: for people."""
        return self.state if self.breaker_reason is None or self.state == DELETING else "breaker open"


# JSON as text, so that rows can be compared.
_COLUMNS = dict(customers.c) | {"routes": cast(customers.c.routes, Text)}
_SERVED = (
    select(*(_COLUMNS[name] for name in Customer.__slots__))
    .where(customers.c.state != DELETING, customers.c.breaker_reason.is_(None))
    .order_by(customers.c.slug)
)
_served: WeakKeyDictionary[Engine, dict[tuple[Any, ...], Customer]] = WeakKeyDictionary()


def being_deleted(slug: str) -> str:
    """Why nothing can be done with the customer, and what can: for people."""
    return f"customer {slug} is being deleted; `flask customers delete {slug}` completes that"


def own_queue(slug: str) -> str:
    """Where those stages of the customer are sent that have no route."""
    return OWN_QUEUE + slug


def add(
    conn: Connection,
    slug: str,
    *,
    events_per_second: int | None = None,
    bytes_per_second: int | None = None,
    retention_days: int = DEFAULT_RETENTION_DAYS,
    routes: Mapping[Stage, str] | None = None,
) -> Customer:
    """A new active customer with its cursors at 0. Raises BadSlug, SlugTaken."""
    check_slug(slug)
    if get(conn, slug) is not None:
        raise SlugTaken(f"customer {slug} exists already")
    now = now_us(conn)
    made = conn.execute(
        insert(customers)
        .values(
            slug=slug,
            state="active",
            events_per_second=_limit(events_per_second),
            bytes_per_second=_limit(bytes_per_second),
            retention_days=checked_days(retention_days),
            routes=_routes(slug, routes or {}),
            created_at=now,
            updated_at=now,
        )
        .returning(*customers.c)
    ).one()
    for table in (dispatch, deposits, folded):
        conn.execute(insert(table).values(customer_id=made.id))
    return customer(made)


def check_slug(slug: str) -> None:
    """Raises BadSlug for what can be no customer's name."""
    if not _SLUG.fullmatch(slug):
        raise BadSlug(f"{slug!r} is no slug: use 1 to 40 of a-z, 0-9 and inner hyphens")


def get(conn: Connection, slug: str) -> Customer | None:
    row = conn.execute(select(*customers.c).where(customers.c.slug == slug)).one_or_none()
    return None if row is None else customer(row)


def by_id(conn: Connection, customer_id: int) -> Customer | None:
    row = conn.execute(select(*customers.c).where(customers.c.id == customer_id)).one_or_none()
    return None if row is None else customer(row)


def everyone(conn: Connection) -> list[Customer]:
    """All customers by slug."""
    query: Select[Any] = select(*customers.c).order_by(customers.c.slug)
    return [customer(row) for row in conn.execute(query)]


def present(conn: Connection) -> list[Customer]:
    """All customers by slug, but those that are being deleted."""
    return [one for one in everyone(conn) if one.state != DELETING]


def served(conn: Connection) -> list[Customer]:
    """Those present whose breaker is closed. A dispatcher gives the others up; whoever takes such a customer
    when its breaker is closed finds the windows that are owed, and rings them.

    Asked every second: a row that is as it was the last time makes no new Customer.
    """
    before = _served.get(conn.engine, {})
    rows = {row: before.get(row) for row in map(tuple, conn.execute(_SERVED))}
    after = {row: known or _customer(row) for row, known in rows.items()}
    _served[conn.engine] = after
    return list(after.values())


def _customer(row: tuple[Any, ...]) -> Customer:
    values = dict(zip(Customer.__slots__, row, strict=True))
    return Customer(**values | {"routes": json.loads(values["routes"])})


def set_state(conn: Connection, customer_id: int, state: CustomerState) -> None:
    """Raises Refusal for another word than the states that can be set, or no such customer. What is being
    deleted is set by `db.customers.deletion`, for good.
    """
    settable = [one for one in get_args(CustomerState) if one != DELETING]
    if state not in settable:
        raise Refusal(f"{state!r} is no state that can be set; use one of {', '.join(settable)}")
    change(conn, customer_id, state=state)


def set_limits(conn: Connection, customer_id: int, limits: Mapping[Limit, int | None]) -> None:
    """Change those limits that are given; None lifts one. Raises Refusal for an unknown limit, or one that
    is not 1 to 10^15.
    """
    for name in limits:
        if name not in get_args(Limit):
            raise Refusal(f"{name!r} is no limit; there are {', '.join(get_args(Limit))}")
    change(conn, customer_id, **{name: _limit(value) for name, value in limits.items()})


def set_retention(conn: Connection, customer_id: int, days: int) -> None:
    """Of results. Raises Refusal for less than a day."""
    change(conn, customer_id, retention_days=checked_days(days))


def set_route(conn: Connection, customer_id: int, stage: Stage, queue: str | None) -> str | None:
    """Send one stage's tasks to another queue; None brings them back. Returns the route of before. Raises
    Refusal.
    """
    query = select(customers.c.slug, customers.c.routes).where(customers.c.id == customer_id)
    row = conn.execute(query.with_for_update()).one_or_none()
    if row is None:
        raise Refusal(f"there is no customer {customer_id}")
    routes: dict[Stage, str] = dict(row.routes)
    before = routes.pop(stage, None)
    if queue is not None:
        routes[stage] = queue
    change(conn, customer_id, routes=_routes(row.slug, routes))
    return before


def customer(row: Row[Any]) -> Customer:
    """A Customer of a row that holds all the columns of `customers`."""
    values = row._mapping
    return Customer(**{name: values[name] for name in Customer.__slots__})


def change(conn: Connection, customer_id: int, **values: object) -> None:
    """Write these columns. Raises Refusal for no such customer, or one that is being deleted."""
    mine: Update = update(customers).where(customers.c.id == customer_id)
    changed = mine.where(customers.c.state != DELETING).values(updated_at=now_us(conn), **values)
    if conn.execute(changed).rowcount != 1:
        there = by_id(conn, customer_id)
        if there is not None:
            raise Refusal(being_deleted(there.slug))
        raise Refusal(f"there is no customer {customer_id}")


def _limit(value: int | None) -> int | None:
    if value is not None and not 1 <= value <= MOST:
        raise Refusal("a limit is 1 to 10^15; to stop a customer, pause or block it")
    return value


def checked_days(value: int) -> int:
    """Raises Refusal for less than a day, or more than a hundred years."""
    if not 1 <= value <= 36_500:
        raise Refusal("retention is 1 to 36,500 days")
    return value


def _routes(slug: str, routes: Mapping[Stage, str]) -> dict[Stage, str]:
    for stage, queue in routes.items():
        if stage not in get_args(Stage) or ROUTE_FORM.fullmatch(queue) is None:
            raise Refusal(
                "a route is decode, process or deposit to a queue of 1 to 100 of a-z, 0-9 and inner hyphens,"
                " like acme-decode"
            )
        if queue in TAKEN or (queue.startswith(OWN_QUEUE) and queue != own_queue(slug)):
            raise Refusal(f"{queue} is, or may become, a queue of others; use one like {slug}-{stage}")
    return dict(routes)
