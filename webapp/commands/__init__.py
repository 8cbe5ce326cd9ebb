"""The operator's `flask` commands."""

from flask import Flask

from webapp.commands import (
    books,
    customers,
    doctor,
    lag,
    pipeline,
    quarantine,
    query,
    queues,
    receipt,
    ring,
    trace,
    verify,
    watch,
)


def register(app: Flask) -> None:
    """Add every command to `flask`."""
    for group in (customers.group, pipeline.group, quarantine.group, queues.group):
        app.cli.add_command(group)
    for module in (books, doctor, lag, query, receipt, ring, trace, verify, watch):
        app.cli.add_command(module.command)
