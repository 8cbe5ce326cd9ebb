"""How a command ends: its exit codes, and which error leads to which."""

from enum import IntEnum
from typing import Any

import click
from flask.cli import AppGroup

from db.errors import DatabaseMisconfigured, DatabaseUnavailable, Refusal
from streams.errors import BrokerMisconfigured, BrokerUnavailable
from webapp.errors import ReceiverMisconfigured


class Exit(IntEnum):
    """A command's exit codes; scripts may rely on them."""

    OK = 0
    DIFFERS = 1  # the books do not balance, or the stream and the ledger differ
    USAGE = 2  # click's own, for words that the command does not know
    REFUSED = 3  # asked for what the rules forbid
    NOT_FOUND = 4  # no such customer, batch or row
    UNAVAILABLE = 5  # broker or database is away; the same command may work later
    MISCONFIGURED = 6  # a setting or an existing stream contradicts what is asked


class Ended(click.ClickException):
    """Ends the command with a message for people on stderr."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.exit_code = int(code)  # type: ignore[misc] # click reads it from the instance


class Command(click.Command):
    """A command whose expected errors are one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it. Raises Ended in place of the rooms' errors."""
        try:
            return super().invoke(ctx)
        except Refusal as error:
            raise Ended(Exit.REFUSED, str(error)) from error
        except DatabaseUnavailable as error:
            raise Ended(Exit.UNAVAILABLE, f"the database is away: {error}") from error
        except BrokerUnavailable as error:
            raise Ended(Exit.UNAVAILABLE, f"the broker is away: {error}") from error
        except (ReceiverMisconfigured, DatabaseMisconfigured, BrokerMisconfigured) as error:
            raise Ended(Exit.MISCONFIGURED, str(error)) from error


class CommandGroup(AppGroup):
    """A group of such commands, run in the application's context."""

    command_class = Command
