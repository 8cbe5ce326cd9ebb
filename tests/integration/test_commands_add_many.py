"""`flask customers add` of many customers at once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

import db.customers.rows
from db.customers import keys
from db.engine import read
from db.tables import customer_keys
from deploy.local.rabbitmq import RabbitNode
from streams import processed, raw
from tests.commands import flask, flask_json
from tests.receiver import Home, until
from webapp.settings import MIB
from webapp.terminal.exits import Exit
from webapp.terminal.key_file import KeysFile

ROOT = Path(__file__).resolve().parents[2]
MANY = 200
DEADLINE_S = 300


def count(engine: Engine) -> int:
    with read(engine) as connection:
        return len(db.customers.rows.everyone(connection))


def owner(engine: Engine, key: str) -> str | None:
    with read(engine) as connection:
        found = keys.find(connection, keys.digest(key))
    return found.slug if found else None


def test_two_hundred_that_are_killed_in_the_middle_are_all_there_with_their_keys_after_the_next_try(
    engine: Engine, rabbitmq: RabbitNode, slug: str, tmp_path: Path
) -> None:
    slugs = [f"{slug}-{number}" for number in range(MANY)]
    (tmp_path / "slugs").write_text("# everybody\n\n" + "\n".join(slugs))
    command = [sys.executable, "-m", "flask", "--app", "webapp", "customers", "add", "--exist-ok"]
    command += ["--file", str(tmp_path / "slugs"), "--keys-file", str(tmp_path / "keys")]
    urls = {"BROKER_URL": rabbitmq.amqp_url, "STREAM_URL": rabbitmq.stream_url}
    environment = os.environ | urls
    first = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        until(lambda: count(engine) >= 3, "the first customers", deadline_s=DEADLINE_S)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert 3 <= count(engine) < MANY
    with (tmp_path / "keys").open("a") as file:
        file.write(f"{slugs[-1]}\tsl_cut")  # as a kill amid a write may leave it
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=DEADLINE_S)
    assert count(engine) == MANY
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600
    held = KeysFile(tmp_path / "keys")
    found = {each: owner(engine, str(held.of(each).read())) for each in slugs}
    assert found == {each: each for each in slugs}
    with read(engine) as connection:
        assert connection.execute(select(func.count()).select_from(customer_keys)).scalar_one() == MANY


def test_a_customer_whose_key_cannot_be_written_is_not_added(home: Home, slug: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = flask(home, "customers", "add", slug, "--key-folder", str(tmp_path / "file" / "keys"))
    assert said.exit_code == Exit.REFUSED
    assert "cannot be written" in said.stderr
    assert flask(home, "customers", "show", slug).exit_code == Exit.NOT_FOUND


def test_every_bad_line_is_told_before_anything_is_made(home: Home, slug: str, tmp_path: Path) -> None:
    path = tmp_path / "slugs"
    path.write_bytes(f"{slug}\nNot A Slug\n\xff\n{slug}\n".encode("latin-1"))
    said = flask(home, "customers", "add", "--file", str(path), "--key-folder", str(tmp_path / "keys"))
    assert said.exit_code == Exit.REFUSED
    for line in ("line 2:", "line 3:", "line 4:"):
        assert line in said.stderr
    assert not home.broker.exists(raw(slug))
    assert not (tmp_path / "keys").exists()


def test_one_that_fails_stops_no_other_and_the_exit_code_says_so(
    home: Home, slug: str, tmp_path: Path
) -> None:
    slugs = [f"{slug}-{letter}" for letter in "abc"]
    home.broker.declare(processed(slugs[1]), max_bytes=99 * MIB, max_age_s=3600, segment_bytes=16 * MIB)
    command = ("customers", "add", *slugs, "--key-folder", str(tmp_path / "keys"))
    said = flask(home, *command, "--exist-ok", "--json")
    assert said.exit_code == Exit.MISCONFIGURED
    assert f"{slugs[1]}: stream {processed(slugs[1])}" in said.stderr
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == [f"{slug}-a.key", f"{slug}-c.key"]
    assert flask(home, "customers", "show", slugs[1]).exit_code == Exit.NOT_FOUND
    home.broker.delete(processed(slugs[1]))
    again = flask_json(home, *command, "--exist-ok")["customers"]
    assert [(one["customer"], one["added"], one["failure"]) for one in again] == [
        *((slugs[0], False, None), (slugs[1], True, None), (slugs[2], False, None))
    ]
    assert flask(home, *command).exit_code == Exit.REFUSED, "all exist now"


def test_several_keys_need_a_place(home: Home, slug: str, tmp_path: Path) -> None:
    for words in ([slug, f"{slug}-b"], [], [slug, f"{slug}-b", "--key-file", str(tmp_path / "key")]):
        assert flask(home, "customers", "add", *words).exit_code == Exit.USAGE
    assert not home.broker.exists(raw(slug))


@pytest.mark.parametrize("text", ["nonsense\n", "a\t\n"])
def test_a_file_that_holds_no_keys_is_left_alone(home: Home, slug: str, tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    said = flask(home, "customers", "add", slug, "--keys-file", str(path))
    assert (said.exit_code, path.read_text()) == (Exit.REFUSED, text)
    assert not home.broker.exists(raw(slug))
