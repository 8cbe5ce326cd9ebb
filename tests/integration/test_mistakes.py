"""Mistakes of operators: each is answered by one sentence that says what to do, and by its exit code.

Processes are started as an operator starts them, on a real broker and database.
"""

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from flask.cli import FlaskGroup

from deploy.local.postgres import PostgresServer
from deploy.local.rabbitmq import RabbitNode
from tests.mistakes import LIST, MISTAKES, PART, SECRET, Mistake
from tests.receiver import ROOT, bare_environment
from webapp import create_app
from webapp.terminal.exits import Exit

DEADLINE_S = 150.0
UNKNOWN_HOST = "nowhere.invalid"


@pytest.fixture(scope="module")
def places(
    rabbitmq: RabbitNode,
    postgres: PostgresServer,
    sqlite_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Mapping[str, str]:
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "text").write_text("this is no database, and long enough to be looked at as one " * 20)
    for name in ("sluice.db", "changed.db"):
        (folder / name).write_bytes(sqlite_template.read_bytes())
    with sqlite3.connect(folder / "changed.db") as changed:
        changed.execute("ALTER TABLE customers RENAME COLUMN state TO condition")
    changed.close()
    amqp, stream, server = map(urlsplit, (rabbitmq.amqp_url, rabbitmq.stream_url, postgres.url))
    return {
        "folder": str(folder),
        "amqp": amqp.netloc.rpartition("@")[2],
        "stream": stream.netloc.rpartition("@")[2],
        "stream_login": rabbitmq.stream_url.rpartition("/")[0],
        "postgres": server.netloc.rpartition("@")[2],
        "postgres_login": postgres.url.rpartition("/")[0],
        "DATABASE_URL": f"sqlite:///{folder / 'sluice.db'}",
        "BROKER_URL": rabbitmq.amqp_url,
        "STREAM_URL": rabbitmq.stream_url,
    }


def environment(mistake: Mistake, places: Mapping[str, str]) -> dict[str, str]:
    own = {name: value for name, value in places.items() if name.isupper()}
    # A server that answers slowly, on a busy machine, is not one that is away.
    deadlines = {"SLUICE_DB_CONNECT_TIMEOUT_S": "60", "SLUICE_STREAM_CONNECT_TIMEOUT_S": "60"}
    return own | deadlines | {name: value.format_map(places) for name, value in mistake.variables.items()}


def made(mistake: Mistake, places: Mapping[str, str]) -> tuple[int, str]:
    """The exit code, and all that was said."""
    if mistake.words[0] == "flask" and not mistake.full:
        return made_here(mistake, places)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", *mistake.words],
            cwd=ROOT,
            env=bare_environment() | environment(mistake, places),
            stdin=subprocess.DEVNULL,
            stdout=full if mistake.full else subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=DEADLINE_S,
            check=False,
        )
    return done.returncode, (done.stdout or b"").decode() + done.stderr.decode()


def made_here(mistake: Mistake, places: Mapping[str, str]) -> tuple[int, str]:
    """The same for a `flask` command, by all that the program itself does, in this process."""
    hook, group = sys.excepthook, FlaskGroup(create_app=create_app, load_dotenv=False, set_debug_flag=False)
    words = [os.fsdecode(word) for word in mistake.words[1:]]
    try:
        done = CliRunner().invoke(group, words, prog_name="flask", env=environment(mistake, places))
    finally:
        sys.excepthook = hook
    return done.exit_code, done.output


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_by_one_sentence_and_its_exit_code(
    name: str, places: Mapping[str, str]
) -> None:
    mistake = MISTAKES[name]
    code, said = made(mistake, places)
    errors = [line for line in said.splitlines() if line.startswith("Error: ")]
    assert (code, len(errors)) == (mistake.code, 1), said
    assert mistake.says in errors[0]
    assert "Traceback" not in said
    assert SECRET not in said
    assert PART not in said
    assert not (Path(places["folder"]) / "none.db").exists()


def test_an_unknown_host_is_a_mistake_when_the_name_server_says_so(places: Mapping[str, str]) -> None:
    try:
        socket.getaddrinfo(UNKNOWN_HOST, 5432)
    except socket.gaierror as error:
        known_to_be_unknown = error.errno in (socket.EAI_NONAME, socket.EAI_NODATA)
    else:
        pytest.skip("the name server of this machine knows every name")
    expected = Exit.MISCONFIGURED if known_to_be_unknown else Exit.UNAVAILABLE
    variables = {"DATABASE_URL": f"postgresql://u:{SECRET}@{UNKNOWN_HOST}/x"}
    code, said = made(Mistake(words=LIST, variables=variables, code=expected, says=""), places)
    assert code == expected, said
    assert SECRET not in said


def test_a_reader_that_has_gone_is_told_nothing(places: Mapping[str, str]) -> None:
    mistake = Mistake(words=LIST, code=Exit.UNWRITABLE, says="")
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", *map(str, LIST)],
            cwd=ROOT,
            env=bare_environment() | environment(mistake, places),
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=DEADLINE_S,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (Exit.UNWRITABLE, b"")
