"""Settings that hold a password may lie in a file: DATABASE_URL_FILE names the one with DATABASE_URL."""

import os
from pathlib import Path

from environment.errors import Misconfigured

SUFFIX = "_FILE"
SECRETS = ("DATABASE_URL", "BROKER_URL", "STREAM_URL", "MANAGEMENT_URL")
"""The variables for which a file may be named."""
_MOST_BYTES = 64 * 1024


def from_file(variable: str) -> str | None:
    """The content of the file that `<variable>_FILE` names, without the end of its line; None when it names
    none. Raises Misconfigured when the variable is set, too, or the file cannot be read.
    """
    named = os.environ.get(variable + SUFFIX)
    if not named:
        return None
    if os.environ.get(variable):
        raise Misconfigured(f"{variable} and {variable}{SUFFIX} are both set: unset one of them")
    try:
        with Path(named).open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise Misconfigured(
            f"{variable}{SUFFIX} names {named!r}, which cannot be read: {error.strerror}"
        ) from None
    except ValueError:
        raise Misconfigured(f"{variable}{SUFFIX} names {named!r}, which is no UTF-8 text") from None
    text = text.rstrip("\r\n")
    if not text or "\n" in text or len(content) > _MOST_BYTES:
        raise Misconfigured(
            f"{variable}{SUFFIX} names {named!r}, which must hold {variable} on one line and nothing else"
        )
    return text


def unfold() -> None:
    """Put what files hold into this process's environment, for those that it starts. Raises Misconfigured."""
    for variable in SECRETS:
        content = from_file(variable)
        if content is not None:
            os.environ[variable] = content
            del os.environ[variable + SUFFIX]
