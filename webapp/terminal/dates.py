"""Times that people write, read strictly, and times for scripts."""

import re
from datetime import UTC, datetime, timedelta

import click

_FORM = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?:Z|[+-]\d{2}:\d{2}))?")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_US = 253_402_300_799_999_999  # the end of the year 9999


def iso(at_us: int) -> str:
    """µs since 1970 as `2026-01-15T14:03:05.000000Z`; times after the year 9999 as its end."""
    at = _EPOCH + timedelta(microseconds=min(at_us, _LATEST_US))
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


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
