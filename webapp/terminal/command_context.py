"""What a command works on: the application's parts, and the customer that it names."""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import current_app

from db.customers.rows import DELETING, Customer, being_deleted, get
from db.engine import read
from streams import Broker
from webapp.serving.parts import Parts
from webapp.terminal.exits import Ended, Exit

BROKER_DEADLINE_S = 10.0


def parts() -> Parts:
    """The parts of the application that runs the command."""
    found: Parts = current_app.extensions["sluice"]
    return found


@contextmanager
def broker() -> Iterator[Broker]:
    """The broker, closed when the command is done with it."""
    found = parts().broker
    try:
        yield found
    finally:
        found.close()


def customer(slug: str, *, or_deleting: bool = False) -> Customer:
    """Raises Ended when there is none, or when it is being deleted, unless such a one is wanted, too."""
    with read(parts().engine) as connection:
        found = get(connection, slug)
    if found is None:
        raise Ended(Exit.NOT_FOUND, f"there is no customer {slug}; see `flask customers list`")
    if found.state == DELETING and not or_deleting:
        raise Ended(Exit.REFUSED, being_deleted(slug))
    return found
