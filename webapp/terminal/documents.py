"""JSON documents for scripts: one name for one thing, times in ISO 8601."""

import json
from collections.abc import Mapping, Sequence

import click

from webapp.terminal.dates import iso

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document, for scripts.")


def echo(document: Mapping[str, object]) -> None:
    """Print the document on one line.

    In it, µs since 1970 under a name that ends in `_at` become times; 0 means not known, and becomes null.
    """
    click.echo(json.dumps(plain(document)))


def plain(value: object, name: str = "") -> object:
    """The value as `echo` prints it under this name."""
    if isinstance(value, Mapping):
        return {str(key): plain(each, str(key)) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(each) for each in value]
    if name.endswith("_at") and isinstance(value, int):
        return iso(value) if value else None
    return value
