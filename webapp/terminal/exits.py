"""How a command ends: its exit codes, and which error leads to which."""

import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from types import TracebackType
from typing import IO, Any

import click
from flask.cli import AppGroup

import db.reachable
import streams.reachable
from db.errors import DatabaseUnavailable, Refusal
from db.settings import DatabaseSettings
from environment.errors import MISCONFIGURED, UNAVAILABLE, Misconfigured
from environment.urls import without_passwords
from streams import StreamSettings
from streams.errors import BrokerUnavailable
from webapp.settings import CommandSettings
from webapp.terminal import output

MOST_NUMBER = 2**63 - 1
"""The largest whole number that a database keeps."""


class Exit(IntEnum):
    """A command's exit codes; scripts may rely on them."""

    OK = 0
    DIFFERS = 1  # the books do not balance, or the stream and the ledger differ; never anything else
    USAGE = 2  # click's own, for words that the command does not know
    REFUSED = 3  # asked for what the rules forbid
    NOT_FOUND = 4  # no such customer, batch or row
    UNAVAILABLE = UNAVAILABLE  # broker or database is away; the same command may work later
    MISCONFIGURED = MISCONFIGURED  # a setting or an existing stream contradicts what is asked
    UNFORESEEN = 7  # a fault of Sluice's
    UNWRITABLE = output.UNWRITABLE  # standard output is full or closed
    INTERRUPTED = 130  # as shells say it of SIGINT


class Ended(click.ClickException):
    """Ends the command with a message for people on stderr."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.exit_code = int(code)  # type: ignore[misc] # click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message; a full or closed stderr changes nothing."""
        with output.escaping():
            super().show(file)


class _Ending:
    """What commands and their groups share: what they print is escaped, and errors have exit codes."""

    def make_context(self, *words: Any, **others: Any) -> click.Context:
        """Read the command's words."""
        with ending():
            context: click.Context = super().make_context(*words, **others)  # type: ignore[misc] # click's
            for param in context.command.params:
                _check_values(context, param)
            return context

    def invoke(self, ctx: click.Context) -> Any:
        """Run it. Raises Ended in place of the rooms' errors."""
        with ending():
            return super().invoke(ctx)  # type: ignore[misc] # click's


class Command(_Ending, click.Command):
    """A command that ends with one line and an exit code, whatever happens."""


class CommandGroup(_Ending, AppGroup):
    """A group of such commands, run in the application's context."""

    command_class = Command


def check_environment() -> None:
    """For a command that finds a server away. Raises Misconfigured when a setting is the reason."""
    db.reachable.check(DatabaseSettings())
    streams.reachable.check(StreamSettings())


def unforeseen(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """For `sys.excepthook`: an error outside of our own commands. Raises SystemExit."""
    interrupted = issubclass(kind, KeyboardInterrupt)
    ended = Ended(Exit.INTERRUPTED, "interrupted") if interrupted else _fault(error)
    ended.show()
    raise SystemExit(ended.exit_code)


@contextmanager
def ending() -> Iterator[None]:
    """Whatever leaves the block ends the command with one line. Raises Ended, OutputLost."""
    with output.escaping():
        try:
            yield
        except click.UsageError as error:
            error.message = output.in_a_line(error.message)  # type: ignore[misc] # final for subclasses
            raise
        except (click.ClickException, click.exceptions.Exit):
            raise
        except (KeyboardInterrupt, click.Abort):
            raise Ended(Exit.INTERRUPTED, "interrupted") from None
        except Refusal as error:
            raise Ended(Exit.REFUSED, str(error)) from error
        except Misconfigured as error:
            raise Ended(Exit.MISCONFIGURED, str(error)) from error
        except DatabaseUnavailable as error:
            raise _away("the database", error) from error
        except BrokerUnavailable as error:
            raise _away("the broker", error) from error
        except Exception as error:
            raise _fault(error) from error


def _away(what: str, error: Exception) -> Ended:
    try:
        check_environment()
    except Misconfigured as cause:
        return Ended(Exit.MISCONFIGURED, str(cause))
    return Ended(Exit.UNAVAILABLE, f"{what} is away: {_one_line(error)}")


def _fault(error: BaseException) -> Ended:
    try:
        if CommandSettings().traceback:
            shown = "".join(traceback.format_exception(error))
            click.echo(without_passwords(output.escaped(shown)), file=sys.stderr)
    except Misconfigured as cause:
        return Ended(Exit.MISCONFIGURED, str(cause))
    return Ended(
        Exit.UNFORESEEN,
        f"unforeseen {type(error).__name__}: {_one_line(error)}"
        " (SLUICE_COMMAND_TRACEBACK=1 shows where; please report it)",
    )


def _one_line(error: BaseException) -> str:
    return without_passwords(" ".join(str(error).split()))[:500]


def _check_values(context: click.Context, param: click.Parameter) -> None:
    """Raises BadParameter for what neither a database nor a broker can be asked about."""
    if isinstance(param.type, click.Path | click.File):  # the names of files are any bytes
        return
    value = context.params.get(param.name or "")
    for one in value if isinstance(value, Iterable) and not isinstance(value, str) else (value,):
        if isinstance(one, int) and abs(one) > MOST_NUMBER:
            raise click.BadParameter(f"{one} is beyond {MOST_NUMBER}", context, param)
        if isinstance(one, str) and not _is_utf8(one):
            raise click.BadParameter(f"{one!r} is no UTF-8 text", context, param)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
