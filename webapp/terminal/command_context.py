"""What a command works on: the application's parts, and the customer that it names."""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import current_app

from db.customers.rows import Customer, get
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


def customer(slug: str) -> Customer:
    """Raises Ended when there is none."""
    with read(parts().engine) as connection:
        found = get(connection, slug)
    if found is None:
        raise Ended(Exit.NOT_FOUND, f"there is no customer {slug}; see `flask customers list`")
    return found
