"""The operator's `flask` commands."""

from __future__ import annotations

from flask import Flask

from webapp.commands import books, customers, lag, limits, pipeline, quarantine, receipt, verify, watch


def register(app: Flask) -> None:
    """Add every command to `flask`."""
    customers.group.add_command(limits.command)
    for group in (customers.group, pipeline.group, quarantine.group):
        app.cli.add_command(group)
    for command in (books.command, lag.command, receipt.command, verify.command, watch.command):
        app.cli.add_command(command)
