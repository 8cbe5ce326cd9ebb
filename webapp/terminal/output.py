"""What commands print: nothing in it acts on a terminal, and output that cannot be written ends the command.

Words of agents, of operators and of servers are in it. A sign that is not meant to be seen is written as JSON
would write it (`\\u001b`), so that a JSON document stays one.
"""

import errno
import io
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TextIO

import click

UNWRITABLE = 8
"""The exit code when standard output cannot be written."""
# Controls, format characters (bidirectional ones, too), halves of pairs, and separators of lines.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_OF_TEXT = frozenset("\n\t")


def escaped(text: str) -> str:
    """The text with each sign that is not meant to be seen written out; ends of lines and tabs stay."""
    return text if text.isprintable() else "".join(_shown(sign, _OF_TEXT) for sign in text)


def in_a_line(text: str) -> str:
    """The same, for what belongs into one cell or line."""
    return text if text.isprintable() else "".join(_shown(sign, frozenset()) for sign in text)


def _shown(sign: str, kept: frozenset[str]) -> str:
    if sign in kept or unicodedata.category(sign) not in _HIDDEN:
        return sign
    return f"\\u{ord(sign):04x}" if sign <= "\uffff" else f"\\U{ord(sign):08x}"


class OutputLost(click.ClickException):
    """Standard output is full or closed; of a pipe that is closed nothing is said, as usual."""

    exit_code = UNWRITABLE

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written: {error.strerror}")
        self._quiet = error.errno == errno.EPIPE

    def show(self, file: IO[Any] | None = None) -> None:
        """Say it, unless nobody was listening."""
        if not self._quiet:
            super().show(file)


class EscapedText(io.TextIOBase):
    """A text stream whose signs are escaped. Raises OutputLost when `needed`; else what is lost is lost."""

    # click wraps the bytes below a stream anew when it cannot take every sign; this one can.
    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, stream: TextIO | None, *, needed: bool) -> None:
        """`stream`: None, as Python has it, for one that was closed when the process began."""
        self._needed = needed
        self._lost: OSError | None = None
        if stream is None:
            self._lost = OSError(errno.EBADF, os.strerror(errno.EBADF))
            stream = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process lasts
        self.below = stream

    @property
    def buffer(self) -> IO[bytes]:
        """For bytes as they are."""
        return self.below.buffer

    def write(self, text: str, /) -> int:
        """All of it, in the encoding of the stream below."""
        # click asks with an empty text, and with empty bytes, which of them can be written.
        if not isinstance(text, str):
            raise TypeError("text is written here; `write_bytes` is for bytes")
        if not text:
            return 0
        encoding = getattr(self.below, "encoding", None) or "utf-8"
        plain = escaped(text).encode(encoding, "backslashreplace").decode(encoding)
        self._try(lambda: self.below.write(plain))
        return len(text)

    def write_bytes(self, data: bytes) -> None:
        """Bytes as they are, after all text."""
        self._try(self.below.flush)
        self._try(lambda: self.below.buffer.write(data))
        self._try(self.below.buffer.flush)

    def flush(self) -> None:
        """Write what was held back. That it was lost, is said once."""
        if self._lost is None:
            self._try(self.below.flush)

    def isatty(self) -> bool:
        return self.below.isatty()

    def fileno(self) -> int:
        return self.below.fileno()

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing: the stream below is not ours."""

    def _try(self, do: Callable[[], object]) -> None:
        """What was lost once is lost from then on."""
        if self._lost is None:
            try:
                do()
            except OSError as error:
                self._lost = error
                self._forget()
        if self._lost is not None and self._needed:
            raise OutputLost(self._lost)

    def _forget(self) -> None:
        """What is held back would be tried once more when the process ends, and change its exit code."""
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.below.fileno())
            os.close(null)


def escape_all() -> None:
    """From now on, all that this process prints is escaped."""
    if not isinstance(sys.stdout, EscapedText):
        sys.stdout = EscapedText(sys.stdout, needed=True)
    if not isinstance(sys.stderr, EscapedText):
        sys.stderr = EscapedText(sys.stderr, needed=False)


@contextmanager
def escaping() -> Iterator[None]:
    """In the block, all that this process prints is escaped; at its end it is written."""
    before = sys.stdout, sys.stderr
    escape_all()
    try:
        yield
    finally:
        written = sys.stdout
        sys.stdout, sys.stderr = before
        written.flush()


def write_bytes(data: bytes) -> None:
    """Bytes as they are, to standard output. Raises OutputLost."""
    stream = sys.stdout if isinstance(sys.stdout, EscapedText) else EscapedText(sys.stdout, needed=True)
    stream.write_bytes(data)


def progress_bar(length: int, label: str) -> "click._termui_impl.ProgressBar[int]":
    """Click's bar on standard error, whose own signs reach the terminal; hidden when there is none."""
    stream = _below(sys.stderr)
    label, hidden = in_a_line(label), not stream.isatty()
    return click.progressbar(length=length, label=label, file=stream, hidden=hidden)  # noqa: TID251 - its stream


def _below(stream: TextIO) -> TextIO:
    found: TextIO = getattr(stream, "below", stream)
    return found
