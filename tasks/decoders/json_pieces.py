"""JSON told apart: by a parser, or where that refuses it, by its brackets and quotes alone.

What can't be parsed as a whole may have sound parts. Of what can be parsed, both ways give the same.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

SPACE: Final = b" \t\r\n"
STRING: Final = rb'"(?:[^"\\]++|\\.)*+"'
FLAT: Final = rb'[^"\[\]{}]++|' + STRING
DEPTH: Final = 7  # of the arrays and objects that are passed over at once; a span of OTLP has five


def _inside(depth: int) -> bytes:
    nested = rb"|[\[{]" + _inside(depth - 1) + rb"[\]}]" if depth else b""
    return rb"(?:" + FLAT + nested + rb")*+"


# A quote alone is one that nothing ends. No part is given back once it matched, so that no text costs more
# than a few looks at each of its bytes.
TOKEN: Final = re.compile(STRING + rb"|[\[{]" + _inside(DEPTH) + rb'[\]}]|[\[\]{},"]', re.DOTALL)
NAME: Final = re.compile(rb"[ \t\r\n]*(" + STRING + rb")[ \t\r\n]*:", re.DOTALL)
JSON_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_array = msgspec.json.Decoder(list[msgspec.Raw])
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_name = msgspec.json.Decoder(str)


class Torn(ValueError):
    """It is not an array, or not an object, or nobody can tell where its parts begin and end."""


class Member(NamedTuple):
    """One member of an object: its name, its value as it stands there, and both as text."""

    name: str
    value: bytes
    text: bytes


def elements(text: bytes) -> list[bytes]:
    """The elements of a JSON array, each as its text, which need not be JSON; where there is none between two
    commas, there is none. Raises `Torn`.
    """
    try:
        return list(map(bytes, _array.decode(text)))
    except JSON_ERRORS:
        pass
    parts = (part.strip(SPACE) for part in _parts(text.strip(SPACE), b"[", b"]"))
    return [part for part in parts if part]


def members(text: bytes) -> list[Member]:
    """The members of a JSON object, whose values need not be JSON; of a name that is there twice, the last.

    Raises `Torn`.
    """
    try:
        return [_member(name, bytes(raw)) for name, raw in _object.decode(text).items()]
    except JSON_ERRORS:
        pass
    found: dict[str, Member] = {}
    for part in _parts(text.strip(SPACE), b"{", b"}"):
        name = NAME.match(part)
        if name is None:
            if part.strip(SPACE):
                raise Torn("an object's member has no name")
            continue
        member = _named(name[1], part[name.end() :].strip(SPACE))
        found[member.name] = member
    return list(found.values())


def _member(name: str, value: bytes) -> Member:
    return Member(name, value, msgspec.json.encode(name) + b":" + value)


def _named(name: bytes, value: bytes) -> Member:
    try:
        return _member(_name.decode(name), value)
    except JSON_ERRORS:  # a name that nobody looks for
        return Member(name.decode(errors="replace"), value, name + b":" + value)


def _parts(text: bytes, opening: bytes, closing: bytes) -> Iterator[bytes]:
    if text[:1] != opening or text[-1:] != closing or len(text) < 2:
        raise Torn(f"not {opening.decode()}…{closing.decode()}")
    depth, start, end = 0, 1, len(text) - 1
    for token in TOKEN.finditer(text, 1, end):
        sign = token[0][:1] if token.end() - token.start() == 1 else b""
        if sign == b'"':
            raise Torn("a quote that nothing ends")
        if sign in (b"[", b"{"):
            depth += 1
        elif sign in (b"]", b"}"):
            depth -= 1
            if depth < 0:
                raise Torn("more brackets close than open")
        elif sign == b"," and depth == 0:
            yield text[start : token.start()]
            start = token.end()
    if depth:
        raise Torn("more brackets open than close")
    yield text[start:end]
