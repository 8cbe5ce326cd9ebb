"""Which queues the customers' routes lead to, which they have left, and windows rung by hand."""

from collections.abc import Mapping
from typing import get_args

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from db.clock import now_us
from db.customers.rows import ROUTE_FORM, TAKEN, Customer, Stage, everyone, own_queue, set_route
from db.tables import customers, left_queues


def route(conn: Connection, customer: Customer, stage: Stage, queue: str | None) -> None:
    """`db.customers.rows.set_route`, which also remembers the queue that is left, so that it can be found and
    removed once nobody uses it. Raises Refusal.
    """
    before = set_route(conn, customer.id, stage, queue)
    if before is not None and before != queue:
        _remember(conn, customer.id, before)


def queue_name(slug: str, stage: Stage, routes: Mapping[Stage, str]) -> str:
    """The queue of `stage` for the customer `slug`: its own route, else `customer-<slug>`."""
    return routes.get(stage) or own_queue(slug)


def leading_to(customer: Customer) -> set[str]:
    """The queues that the customer's stages are sent to."""
    return {queue_name(customer.slug, stage, customer.routes) for stage in get_args(Stage)}


def unused(conn: Connection) -> Mapping[str, list[Customer]]:
    """Queues that Sluice may have made and no customer uses now, with the customers whose doorbells may lie
    there: left by a route, or a customer's own while all of its stages go elsewhere.
    """
    by_id = {customer.id: customer for customer in everyone(conn)}
    used = set[str]().union(*map(leading_to, by_id.values()))
    found: dict[str, list[Customer]] = {}
    for name, of in conn.execute(select(left_queues.c.name, left_queues.c.customer_id)):
        found.setdefault(name, []).append(by_id[of])
    for customer in by_id.values():
        found.setdefault(own_queue(customer.slug), []).append(customer)
    # Routes of before names were looked at may have led to streams, or to queues of Celery's own.
    fit = {name for name in found if ROUTE_FORM.fullmatch(name)} - TAKEN
    return {name: found[name] for name in sorted(fit - used)}


def queues_of(conn: Connection, customer: Customer) -> list[str]:
    """The queues that are the customer's alone: nothing of others comes there, and nothing came there that
    `unused` would name as theirs.
    """
    left = conn.execute(select(left_queues.c.name, left_queues.c.customer_id)).all()
    others = [one for one in everyone(conn) if one.id != customer.id]
    theirs = set[str]().union(*map(leading_to, others)) | {own_queue(one.slug) for one in others}
    theirs |= {row.name for row in left if row.customer_id != customer.id}
    mine = {row.name for row in left} | leading_to(customer) | {own_queue(customer.slug)}
    return sorted({name for name in mine - theirs if ROUTE_FORM.fullmatch(name)} - TAKEN)


def ask_ring(conn: Connection, customer_id: int) -> None:
    """Have the dispatcher ring all open windows of the customer, where its routes lead, at its next tick."""
    asked = customers.c.rings_asked + 1
    conn.execute(update(customers).where(customers.c.id == customer_id).values(rings_asked=asked))


def _remember(conn: Connection, customer_id: int, name: str) -> None:
    values = {"customer_id": customer_id, "name": name, "left_at": now_us(conn)}
    insert = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    conn.execute(insert(left_queues).values(values).on_conflict_do_nothing())
