"""The private servers: what stays, what goes, who may start them."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from deploy.local import install, ports, postgres, processes, rabbitmq, records

DEADLINE_S = 60.0


@pytest.fixture
def folder(server_folder: Path, tmp_path: Path) -> Iterator[Path]:
    # Not under tmp_path: as root, the user postgres could not reach it.
    place = server_folder / tmp_path.name
    yield place
    records.end(place, DEADLINE_S)
    postgres.remove(place)


def rows(server: postgres.PostgresServer, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.url.replace("+psycopg", ""), connect_timeout=60) as connection:
        return connection.execute(query).fetchall()


def start_in_another_process(module: str, folder: Path) -> subprocess.Popen[str]:
    """Start a server from a process that waits for its own end; returns when the server is up."""
    code = (
        f"from pathlib import Path; from deploy.local import {module}; import time;"
        f"print({module}.start(Path({str(folder)!r})).pid, flush=True); time.sleep(600)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    assert starter.stdout.readline().strip().isdigit()
    return starter


@pytest.mark.usefixtures("postgres")
def test_postgres_keeps_its_data_and_its_address_over_a_restart(folder: Path) -> None:
    first = postgres.start(folder)
    with psycopg.connect(first.url.replace("+psycopg", "")) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    first.stop()
    second = postgres.start(folder)
    assert second.url == first.url
    assert rows(second, "SELECT n FROM kept") == [(7,)]


@pytest.mark.usefixtures("postgres")
def test_fsync_stays_on_unless_asked_otherwise(folder: Path) -> None:
    assert rows(postgres.start(folder), "SHOW fsync") == [("on",)]


@pytest.mark.usefixtures("postgres")
def test_a_server_with_a_living_owner_is_not_taken_over(folder: Path) -> None:
    server = postgres.start(folder)
    with pytest.raises(records.Running, match="stop it first"):
        postgres.start(folder)
    assert rows(server, "SELECT 1") == [(1,)]


@pytest.mark.usefixtures("postgres")
def test_a_database_answers_to_its_password_only(folder: Path) -> None:
    server = postgres.start(folder)
    port = int(server.url.rpartition(":")[2].partition("/")[0])
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(
            host=ports.HOST, port=port, user=postgres.USER, dbname=postgres.DATABASE, password="guess"
        )


@pytest.mark.usefixtures("rabbitmq")
def test_a_node_whose_starter_was_killed_is_stopped_at_the_next_start(folder: Path) -> None:
    starter = start_in_another_process("rabbitmq", folder)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    record = records.read(folder)
    assert record is not None
    left = [process for process, _ in record.started]
    assert all(process.alive() for process in left)
    node = rabbitmq.start(folder)
    assert not any(process.alive() for process in left)
    assert node.pid not in {process.pid for process in left}


OWN_RELEASE = pytest.mark.skipif(
    os.environ.get("BROKER", "") == "4", reason="4.x runs as root, inside of a folder"
)


@OWN_RELEASE
@pytest.mark.usefixtures("rabbitmq")
def test_a_stopped_node_leaves_no_process_and_keeps_its_address(folder: Path) -> None:
    node = rabbitmq.start(folder)
    assert mentions(folder)
    node.stop()
    # The node's own small children end when they see it gone.
    deadline = time.monotonic() + DEADLINE_S
    while mentions(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not mentions(folder)
    again = rabbitmq.start(folder)
    assert (again.amqp_url, again.stream_url) == (node.amqp_url, node.stream_url)


@OWN_RELEASE
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
@pytest.mark.usefixtures("rabbitmq")
def test_a_node_starts_for_a_user_without_rights(server_folder: Path) -> None:
    place = server_folder / "of nobody"
    place.mkdir()
    shutil.chown(place, "nobody")
    user = pwd.getpwnam("nobody")
    child = os.fork()
    if child == 0:
        # A fork keeps the modules that a user without rights may be unable to read.
        status = 1
        with suppress(BaseException):
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            rabbitmq.start(place / "node").stop()
            status = 0
        os._exit(status)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        rabbitmq.stop(place / "node")


def test_a_folder_in_which_a_node_would_hang_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="apostrophe"):
        rabbitmq.start(tmp_path / "somebody's")


def test_a_pid_that_was_used_again_is_another_process() -> None:
    me = processes.of(os.getpid())
    assert me is not None
    assert me.alive()
    assert not processes.Process(me.pid, me.started - 1).alive()


def test_a_process_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    deaf = processes.spawn(
        ["/bin/sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"],
        environment={"PATH": os.defpath},
        log=log,
    )
    deadline = time.monotonic() + DEADLINE_S
    while log.read_text() != "deaf\n" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not processes.end(deaf, timeout_s=0.3)
    assert not deaf.alive()


def test_what_is_missing_and_may_not_be_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_RABBITMQ", ())
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(
        install.PackageMissing, match=r"^rabbitmq-server is missing: install it .*apt-get install"
    ):
        install.ensure("rabbitmq-server")


def mentions(folder: Path) -> list[str]:
    """Command lines of living processes that name the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = (entry / "environ").read_bytes().decode(errors="replace")
            if str(folder) in line + environment and int(entry.name) != os.getpid():
                found.append(line)
    return found
