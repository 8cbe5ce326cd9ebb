"""`flask doctor`: an installation that is well, and one thing after the other that is not."""

import json
import re
import resource
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from kombu import Connection, Queue
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

import db.retention.partitions
from db.engine import begin, connect
from db.settings import DatabaseSettings
from deploy.local.rabbitmq import RabbitNode
from streams import processed, raw
from tests import whole
from tests.commands import RETENTION, flask
from tests.fault.servers import limit_free_disk
from tests.receiver import Home
from tests.whole import Whole
from webapp.doctor.checks import CHECKS
from webapp.terminal.exits import Exit

VHOST = "doctor"
WELL = {check.name: "ok" for check in CHECKS}


@pytest.fixture(scope="module")
def vhost(rabbitmq: RabbitNode) -> Iterator[dict[str, str]]:
    """A virtual host of this module's own: the broker's other streams and queues are of no customer here."""
    login = urlsplit(rabbitmq.management_url)
    assert login.username
    assert login.password
    with httpx.Client(base_url=rabbitmq.management_url, trust_env=False, timeout=60) as client:
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        client.put(f"/api/vhosts/{VHOST}", json={}).raise_for_status()
        client.put(f"/api/permissions/{VHOST}/{login.username}", json=everything).raise_for_status()
        yield {
            "BROKER_URL": rabbitmq.amqp_url.removesuffix("//") + f"/{VHOST}",
            "STREAM_URL": rabbitmq.stream_url.removesuffix("%2f") + VHOST,
            "MANAGEMENT_URL": rabbitmq.management_url,
        }
        client.delete(f"/api/vhosts/{VHOST}").raise_for_status()


@pytest.fixture(scope="module")
def running(
    vhost: dict[str, str], sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Whole]:
    """All processes on SQLite, with one customer."""
    folder = tmp_path_factory.mktemp("doctor")
    (folder / "sluice.db").write_bytes(sqlite_template.read_bytes())
    with whole.running(
        folder,
        database_url=f"sqlite:///{folder / 'sluice.db'}",
        amqp_url=vhost["BROKER_URL"],
        stream_url=vhost["STREAM_URL"],
        MANAGEMENT_URL=vhost["MANAGEMENT_URL"],
        **RETENTION,
    ) as found:
        found.add_customer("well")
        yield found


@pytest.fixture
def postgresql(vhost: dict[str, str], postgresql_url: str) -> dict[str, str]:
    return vhost | {"DATABASE_URL": postgresql_url}


@pytest.fixture
def engine(postgresql: dict[str, str]) -> Iterator[Engine]:
    engine = connect(DatabaseSettings(url=postgresql["DATABASE_URL"]))
    yield engine
    engine.dispose()


def examined(environment: dict[str, str], *, code: Exit = Exit.MISCONFIGURED) -> dict[str, dict[str, str]]:
    """The checks' findings by name."""
    home = Home(environment=environment, engine=None, broker=None)  # type: ignore[arg-type]
    done = flask(home, "doctor", "--json")
    assert done.exit_code == code, done.stdout
    return {one["check"]: one for one in json.loads(done.stdout)["checks"]}


def bad(found: dict[str, dict[str, str]]) -> dict[str, str]:
    return {name: one["verdict"] for name, one in found.items() if one["verdict"] != "ok"}


def connected(environment: dict[str, str]) -> Connection:
    return Connection(environment["BROKER_URL"])


def test_an_installation_that_is_well_is_told_so(running: Whole) -> None:
    seen: dict[str, dict[str, str]] = {}

    def well() -> bool:
        done = running.flask("doctor", "--json", check=False)
        seen.update({one["check"]: one for one in json.loads(done.stdout)["checks"]})
        verdicts = {name: one["verdict"] for name, one in seen.items()}
        verdicts |= {"disk": "ok", "file_descriptors": "ok"}  # whatever this machine has
        return (verdicts, done.returncode) == (WELL, 0)

    try:
        whole.until(well, "the doctor to find everything well")
    except AssertionError:
        pytest.fail(str(seen))
    lines = running.flask("doctor").stdout.splitlines()
    assert [line.split()[1] for line in lines] == list(WELL)


def test_streams_and_queues_that_are_not_as_declared_are_found(running: Whole) -> None:
    environment = running.environment
    running.add_customer("other")
    running.add_customer("gone")
    with connected(environment) as connection:
        channel = connection.channel()
        for name in (raw("other"), processed("gone")):
            channel.queue_delete(name)
        stream = {"x-queue-type": "stream", "x-max-age": "1h", "x-max-length-bytes": 50_000_000}
        Queue(raw("other"), queue_arguments=stream).bind(channel).declare()
        found = examined(environment)
        assert bad(found).items() >= {"streams": "FAIL", "arguments": "warn"}.items()
        assert processed("gone") in found["streams"]["found"]
        assert raw("other") in found["arguments"]["found"]
        channel.queue_delete(raw("other"))
        Queue(raw("other"), queue_arguments={"x-queue-type": "stream"}).bind(channel).declare()
        found = examined(environment)
        assert found["arguments"]["verdict"] == "FAIL"
        assert "without a limit" in found["arguments"]["found"]


def test_queues_of_another_make_are_found(running: Whole) -> None:
    running.add_customer("odd")
    running.flask("customers", "route", "odd", "decode", "odd-queue")
    with connected(running.environment) as connection:
        queue = Queue("odd-queue", queue_arguments={"x-max-length": 7}).bind(connection.channel())
        # A worker may have declared it as it should be in the meantime.
        connection.channel().queue_delete("odd-queue")
        queue.queue_declare()
        found = examined(running.environment)
        assert (found["arguments"]["verdict"], "odd-queue" in found["arguments"]["found"]) == ("FAIL", True)
        running.flask("customers", "route", "odd", "decode")
        queue.delete()


def test_what_belongs_to_no_customer_is_found(running: Whole) -> None:
    with connected(running.environment) as connection:
        channel = connection.channel()
        orphans = ["customer-nobody", raw("nobody")]
        Queue(orphans[0]).bind(channel).queue_declare()
        stream = {"x-queue-type": "stream"}
        Queue(orphans[1], queue_arguments=stream).bind(channel).queue_declare()
        done = running.flask("doctor", "--json", check=False)
        found = {one["check"]: one for one in json.loads(done.stdout)["checks"]}["orphans"]
        assert (found["verdict"], found["found"]) == ("warn", f"of no customer: {', '.join(orphans)}")
        for name in orphans:
            channel.queue_delete(name)


def test_dead_processes_are_found(running: Whole) -> None:
    """Killed, they leave their rows behind."""
    for name in ("worker", "dispatcher"):
        running.kill(name)
    found = examined(running.environment)
    assert bad(found).items() >= {"workers": "FAIL", "dispatchers": "FAIL"}.items()
    assert "well" in found["workers"]["found"]


def test_partitions_and_indexes_of_postgresql_are_looked_at(
    postgresql: dict[str, str], engine: Engine
) -> None:
    assert examined(postgresql)["partitions"]["verdict"] == "FAIL"
    db.retention.partitions.make_ahead(engine)
    found = examined(postgresql)
    assert {found[name]["verdict"] for name in ("schema", "partitions", "indexes", "clocks")} == {"ok"}
    assert "fsync = off" in found["durability"]["found"], "as the tests' server is started"
    assert found["durability"]["verdict"] == "FAIL"
    with begin(engine) as conn:
        month = db.retention.partitions.made(conn)[0]
        conn.execute(text(f"DROP TABLE {month.name}"))
        conn.execute(text("DROP INDEX ix_windows_deposited_at"))
        rows = "INSERT INTO usage (customer_id, day, receiver, bytes) VALUES (1, 1, 'a', 1), (2, 1, 'a', 1)"
        conn.execute(text(rows))
    with (
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn,
        pytest.raises(DBAPIError, match="could not create unique index"),
    ):
        conn.execute(text("CREATE UNIQUE INDEX CONCURRENTLY half_built ON usage (day)"))
    found = examined(postgresql)
    assert {found[name]["verdict"] for name in ("partitions", "indexes")} == {"FAIL"}
    assert month.name in found["partitions"]["found"]
    assert re.search("half_built.*ix_windows_deposited_at", found["indexes"]["found"])
    with begin(engine) as conn:
        conn.execute(text("DROP TABLE left_queues"))
    found = examined(postgresql)
    assert (found["schema"]["verdict"], "left_queues" in found["schema"]["found"]) == ("FAIL", True)
    assert "`schema` failed" in found["streams"]["found"]


def test_pools_that_postgresql_cannot_serve_are_found(postgresql: dict[str, str]) -> None:
    many = {"SLUICE_DB_POOL_SIZE": "200", "SLUICE_HTTP_WORKERS": "256"}
    assert examined(postgresql | many)["connections"]["verdict"] == "warn"
    assert examined(postgresql)["connections"]["verdict"] == "ok"


def test_servers_that_are_away_fail_their_checks_and_no_database_is_made(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    found = examined(
        {
            "DATABASE_URL": f"sqlite:///{path}",
            "BROKER_URL": "amqp://u:SECRET@127.0.0.1:1//",
            "STREAM_URL": "rabbitmq-stream://u:SECRET@127.0.0.1:1/%2f",
            "MANAGEMENT_URL": "http://u:SECRET@127.0.0.1:1",
        }
    )
    assert not path.exists()
    assert bad(found).items() >= {"database": "FAIL", "broker": "FAIL", "alarms": "FAIL"}.items()
    assert "SECRET" not in json.dumps(found)


def test_a_wrong_password_is_told_from_a_broker_that_is_away(
    vhost: dict[str, str], sqlite_url: str, rabbitmq: RabbitNode
) -> None:
    password = urlsplit(rabbitmq.management_url).password
    assert password
    wrong = {name: url.replace(password, "WRONG") for name, url in vhost.items()}
    found = examined(wrong | {"DATABASE_URL": sqlite_url})
    assert "refuses the user, password" in found["broker"]["found"]
    assert "needs a user" in found["alarms"]["found"]
    assert "WRONG" not in json.dumps(found)


def test_alarms_of_the_broker_are_found(vhost: dict[str, str], sqlite_url: str, rabbitmq: RabbitNode) -> None:
    def alarmed() -> bool:
        found = examined(vhost | {"DATABASE_URL": sqlite_url})["alarms"]
        return (found["verdict"], "too little disk" in found["found"]) == ("FAIL", True)

    try:
        limit_free_disk(rabbitmq.folder, 10**18)
        whole.until(alarmed, "the alarm of the disk to be told")
    finally:
        limit_free_disk(rabbitmq.folder, 500_000_000)


def test_without_the_management_plugin_nothing_is_claimed(vhost: dict[str, str], sqlite_url: str) -> None:
    given = {"BROKER_URL": vhost["BROKER_URL"], "STREAM_URL": vhost["STREAM_URL"], "DATABASE_URL": sqlite_url}
    found = examined(given)
    assert {found[name]["verdict"] for name in ("arguments", "orphans", "alarms")} == {"warn"}
    assert found["broker"]["verdict"] == "ok"


def test_clocks_disks_and_descriptors_are_looked_at(
    postgresql: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc")  # which has no room at all
    really = time.time
    monkeypatch.setattr(time, "time", lambda: really() - 3600)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 4096))
    found = examined(postgresql)
    assert {name: found[name]["verdict"] for name in ("clocks", "disk", "file_descriptors")} == {
        "clocks": "warn",
        "disk": "FAIL",
        "file_descriptors": "warn",
    }
    told = re.findall(r"(\w+)'s is 3,[56]\d\d s ahead of this host's", found["clocks"]["found"])
    assert told == ["database", "broker"]


def test_a_database_that_is_no_wal_is_found_and_left_as_it_is(vhost: dict[str, str], sqlite_url: str) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    found = examined(vhost | {"DATABASE_URL": sqlite_url})
    assert (found["database"]["verdict"], found["durability"]["verdict"]) == ("ok", "FAIL")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
