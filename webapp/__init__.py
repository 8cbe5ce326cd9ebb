"""The receiver, its health and metrics, and the `flask` commands."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from webapp.settings import HttpSettings


def create_app(settings: "HttpSettings | None" = None) -> "Flask":
    """The Flask application; settings are read from the environment when none are given.

    Connects to nothing: broker and database connections are opened by the first request, hence after
    gunicorn's fork. Raises `environment.errors.Misconfigured` with the remedy when a setting is absurd.
    """
    # Metrics are made at this import; the gunicorn settings, which live in this package, must have said
    # before which memory they are in.
    from webapp.app import build

    return build(settings)
