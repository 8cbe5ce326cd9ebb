"""While `flask` builds the application for a command: its errors end the command as all others do."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from webapp.terminal import output
from webapp.terminal.exits import ending, unforeseen


@contextmanager
def building() -> Iterator[None]:
    """Does nothing when no command asked for the application.

    Flask's own commands (`routes`, `shell`, `--help`) are not ours to end: what they print is escaped from
    here on, and an error that leaves them has an exit code of ours.
    """
    if click.get_current_context(silent=True) is None:
        yield
        return
    output.escape_all()
    sys.excepthook = unforeseen
    with ending():
        yield
