"""Times that people write, read strictly."""

import re
from datetime import UTC, datetime

import click

_FORM = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?:Z|[+-]\d{2}:\d{2}))?")


class Time(click.ParamType[int]):
    """µs since 1970. A day (midnight, UTC), or a day and a time with its zone: no zone is guessed."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Ends the command with exit code 2 for another form, or a day that no calendar has."""
        if isinstance(value, int):
            return value
        text = str(value)
        if not _FORM.fullmatch(text):
            self.fail(f"{text!r} is neither 2026-01-15 nor 2026-01-15T14:03:05Z (or +02:00)", param, ctx)
        try:
            found = datetime.fromisoformat(text)
        except ValueError as error:
            self.fail(f"{text!r}: {error}", param, ctx)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
        try:
            return round(found.timestamp() * 1e6)
        except OverflowError as error:
            self.fail(f"{text!r}: {error}", param, ctx)
