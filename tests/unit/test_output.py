"""What commands print: signs that act on a terminal are written out, and every command is one of ours."""

import io
import json
import unicodedata
from collections.abc import Iterator
from typing import TextIO, cast

import click
import pytest
from flask import Flask
from hypothesis import given, strategies as st

from tests.unit.test_webapp_surface import FLASKS_OWN
from webapp import create_app
from webapp.terminal.exits import Command, CommandGroup
from webapp.terminal.output import EscapedText, OutputLost, escaped, in_a_line
from webapp.terminal.tables import show

HOSTILE = "\x1b]0;title\x07\x9b31m\x7f\u202e\u2066\u200b\ufeff\r\udcff\U000e0041"


@pytest.fixture
def app(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/none.db")
    return create_app()


@given(st.text())
def test_nothing_acts_on_a_terminal_and_json_stays_what_it_was(text: str) -> None:
    hidden = {sign for sign in escaped(text) if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert hidden <= {"\n", "\t"}
    assert not set(in_a_line(text)) & set("\n\t\r\x0b\x0c\x1b\x85\u2028\u2029")
    document = json.dumps({"text": text}) + "\n"
    assert json.loads(escaped(document)) == {"text": text}
    assert json.loads(escaped(json.dumps({"text": "\x7f"}))) == {"text": "\x7f"}


def test_hostile_signs_are_shown_as_json_writes_them() -> None:
    assert escaped(HOSTILE).isascii()
    assert escaped("\x1b[31m") == "\\u001b[31m"
    assert escaped("one\n\ttwo") == "one\n\ttwo"
    assert escaped("é日本語　→") == "é日本語　→"
    assert in_a_line("one\n\u2028two") == "one\\u000a\\u2028two"


def test_a_cell_stays_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    show(["customer", "detail"], [["acme", "first\nsecond" + HOSTILE], ["other", "\u2028"]])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "\\u000a" in lines[1]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_stream_takes_every_text_in_its_encoding(encoding: str) -> None:
    raw = io.BytesIO()
    below = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    stream = EscapedText(below, needed=True)
    click.echo(f"→{HOSTILE}", file=cast("TextIO", stream))
    stream.flush()
    data = raw.getvalue()
    assert b"\x1b" not in data
    assert b"\\u001b]0;title" in data


def test_a_stream_that_was_closed_before_the_process_began_is_lost() -> None:
    stream, others = EscapedText(None, needed=True), EscapedText(None, needed=False)
    stream.flush()
    for write in (lambda: stream.write("one"), lambda: stream.write_bytes(b"one")):
        with pytest.raises(OutputLost):
            write()
    assert others.write("one") == 3
    others.flush()
    assert not others.isatty()


def commands(group: click.Group) -> Iterator[click.Command]:
    for name, command in group.commands.items():
        if name not in FLASKS_OWN:
            yield command
        if isinstance(command, click.Group):
            yield from commands(command)


def test_every_command_ends_as_commands_end(app: Flask) -> None:
    found = list(commands(app.cli))
    assert len(found) > 20
    assert not [one.name for one in found if not isinstance(one, Command | CommandGroup)]
