"""Exceptions of one kind, told by where they came from: docs/pipeline.md gives the rules, step by step."""

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Final

FRAMES: Final = 5
LONGEST: Final = 512  # characters of a line, or of a message, that are looked at
LINES: Final = 200  # from the end where the newest frame may be

_PYTHON = re.compile(r'[\s|+]*File "([^"]*)", line [0-9]+(?:, in (.*))?')
_RUBY = re.compile(r"(?:from )?([^:]+):[0-9]+:in [`']([^']*)'")
_PHP = re.compile(r"#[0-9]+ ([^:]+)\([0-9]+\): ([^(]*)")
_GECKO = re.compile(r"([^@]*)@(\S+):[0-9]+:[0-9]+$")
_GO_PLACE = re.compile(r"\t\S.*\.go:[0-9]+")
# Of V8's `at function (file:1:2)` and `at file:1:2`. Other lines with `at` have a name and arguments.
_V8_PLACE = re.compile(r"(\S+):[0-9]+:[0-9]+\)?$")
# Go's SDK puts the frames in which it notes the stack before those of the program.
_OF_NOTING = ("runtime/debug.", "go.opentelemetry.io/otel", "panic")

_SCHEME = re.compile(r"^[a-z]+://[^/]*")
_MODULE = re.compile(r"^[^\s(<]*/(?=[^/\s(<]+$)")
_HIDDEN_CLASS = re.compile(r"/0x[0-9a-fA-F]+")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
_HEX = re.compile(r"(?<![g-zG-Z])[0-9a-fA-F]{8,}")
_NUMBER = re.compile(r"[0-9]+")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_QUOTED = re.compile(r"\"[^\"]*\"|(?<!\w)'[^']*'(?!\w)|`[^`]*`")


def fingerprint(of_type: str, message: str, stacktrace: str) -> str:
    """16 hexadecimal digits, the same for exceptions of one type out of one place.

    The place is the newest frames of the stack trace; the message's words where it has none that are known.
    """
    place = frames(stacktrace) or [_plain(_QUOTED.sub("", _UUID.sub("", message[:LONGEST])))]
    return hashlib.sha256("\n".join([of_type, *place]).encode("utf-8", "replace")).hexdigest()[:16]


def frames(stacktrace: str) -> list[str]:
    """The newest frames, at most `FRAMES`, the newest first, each without what differs between runs and
    builds; empty when no line of the stack trace looks like a frame.
    """
    lines = stacktrace.splitlines()
    last = [line[:LONGEST] for line in reversed(lines[-LINES:])]
    newest = islice(_of_python(last), FRAMES)  # which writes it last
    return list(newest) or list(islice(_of_others([line[:LONGEST] for line in lines[:LINES]]), FRAMES))


def _of_python(lines: list[str]) -> Iterator[str]:
    for line in lines:
        found = _PYTHON.match(line) if 'File "' in line else None
        if found:
            yield _frame(found[2] or "", found[1])


def _of_others(lines: list[str]) -> Iterator[str]:
    before = ""
    for line in lines:
        found = _other(line, before)
        before = line
        if found is not None and not found.startswith(_OF_NOTING):
            yield found


def _other(line: str, before: str) -> str | None:
    """The frame that a line tells of, of a program that is not in Python. Most lines tell of none: an
    expression is tried where the text has what it is about.
    """
    if ".go:" in line and _GO_PLACE.match(line):
        function = before.removeprefix("created by ").partition(" in goroutine ")[0]
        return _plain(function.rpartition("(")[0] if function.endswith(")") else function)
    line = line.strip()
    if line.startswith("at "):
        return _after_at(line[3:].removeprefix("async "))
    found = _PHP.match(line) if line.startswith("#") else None
    if found is None and ":in " in line:
        found = _RUBY.match(line)
    if found:
        return _frame(found[2], found[1])
    found = _GECKO.match(line) if "@" in line else None
    return _frame(found[1], found[2]) if found else None


def _after_at(text: str) -> str:
    function, _, place = text.rpartition(" (")
    found = _V8_PLACE.match(place)
    if found:
        return _frame(function, found[1])
    # The JVM's and .NET's: a qualified name, and in brackets its arguments or its place.
    name = _HIDDEN_CLASS.sub("", text.partition("(")[0])
    return _plain(_MODULE.sub("", name))


@lru_cache(4_096)
def _frame(function: str, file: str) -> str:
    """Of a path only the name, since each host and each build may have it elsewhere."""
    name = re.split(r"[/\\]", _SCHEME.sub("", file).partition("?")[0])[-1]
    return f"{_plain(name)}:{_plain(function)}"


def _plain(text: str) -> str:
    """Without addresses, digests and numbers: of lines, of generated classes, of lambdas."""
    return " ".join(_NUMBER.sub("", _HEX.sub(_digestless, _ADDRESS.sub("", text))).split())


def _digestless(run: re.Match[str]) -> str:
    """A run of hexadecimal digits, unless a decimal one is among them: a word of letters may be one, too."""
    return "" if _NUMBER.search(run[0]) else run[0]
