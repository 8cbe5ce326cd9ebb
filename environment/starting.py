"""How a process begins: its environment is checked, and a mistake in it ends it with one sentence."""

import difflib
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NoReturn

from environment.errors import MISCONFIGURED, Misconfigured
from environment.names import NAMES, PREFIX
from environment.urls import without_passwords

# What Kubernetes tells each container of a Service that is called sluice or sluice-something.
_OF_A_SERVICE = re.compile(
    r"SLUICE(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?"
    r"|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
APART_S = 60
_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def misspelt(environment: Mapping[str, str]) -> dict[str, str | None]:
    """The variables that begin with SLUICE_ and are no settings, each with the nearest name that is one."""
    return {
        name: _nearest(name)
        for name, value in sorted(environment.items())
        if name.upper().startswith(PREFIX) and name.upper() not in NAMES and not _of_a_service(name, value)
    }


def check() -> None:
    """Raises Misconfigured when the environment has a name that nothing reads."""
    found = misspelt(os.environ)
    if found:
        said = (
            f"{name!r} is no setting"
            + (f", did you mean {nearest}?" if nearest else " (docs/settings.md lists them)")
            for name, nearest in found.items()
        )
        raise Misconfigured(f"change or unset these variables: {'; '.join(said)}")


def check_apart(check: Callable[[], None]) -> None:
    """Run a check in a process of its own, which leaves nothing behind in this one: no connection, no thread
    and no import. Raises SystemExit when it has found a misconfiguration, and said so.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # a full disk below the log stops no process
            stream.flush()
    child = os.fork()
    if child == 0:
        _run_and_exit(check)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) == MISCONFIGURED:
        raise SystemExit(MISCONFIGURED)


def _run_and_exit(check: Callable[[], None]) -> NoReturn:
    code = 1
    try:
        signal.alarm(APART_S)
        with stopping():
            check()
        code = 0
    except SystemExit as error:
        code = MISCONFIGURED if error.code == MISCONFIGURED else 1
    finally:
        # Without the parent's `finally` and `atexit`. An unexpected error is met again, and told, by what
        # was to be checked.
        os._exit(code)


@contextmanager
def stopping() -> Iterator[None]:
    """A misconfiguration that is found in the block ends the process, with a sentence and its exit code."""
    try:
        yield
    except Misconfigured as error:
        stop(error)


def stop(error: Misconfigured) -> NoReturn:
    """End the process. Raises SystemExit."""
    with suppress(OSError):
        print(f"Error: {without_passwords(' '.join(str(error).split()))}", file=sys.stderr, flush=True)
    raise SystemExit(MISCONFIGURED) from None


def _of_a_service(name: str, value: str) -> bool:
    return bool(_OF_A_SERVICE.fullmatch(name)) or (
        name.endswith("_PORT") and _ADDRESS.match(value) is not None
    )


def _nearest(name: str) -> str | None:
    # What all names begin with says nothing about their likeness.
    ends = [one.removeprefix(PREFIX) for one in NAMES]
    found = difflib.get_close_matches(name.upper().removeprefix(PREFIX), ends, n=1)
    return PREFIX + found[0] if found else None
