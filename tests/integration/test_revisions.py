"""Each process looks at the schema's revision before it works, and says what to run."""

import sqlite3
from pathlib import Path

import pytest

from db.revision import HEAD
from deploy.local.rabbitmq import RabbitNode
from tests.receiver import bare_environment
from tests.whole import Whole, until
from webapp.terminal.exits import Exit

LATER = "0999_from_0998"


def stamp(url: str, revision: str) -> None:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))


@pytest.mark.timeout(600)
def test_no_process_works_on_a_schema_that_is_not_its_own(
    tmp_path: Path, rabbitmq: RabbitNode, sqlite_url: str, slug: str
) -> None:
    environment = bare_environment()
    urls = {"DATABASE_URL": sqlite_url, "BROKER_URL": rabbitmq.amqp_url, "STREAM_URL": rabbitmq.stream_url}
    whole = Whole(folder=tmp_path, environment=environment | urls)
    try:
        key = whole.add_customer(slug)
        assert whole.flask("lag").returncode == Exit.OK
        stamp(sqlite_url, "0999")
        assert whole.flask("lag").returncode == Exit.OK, "beside a later schema that allows it"
        stamp(sqlite_url, LATER)
        for name in ("receiver", "dispatcher"):
            whole.start(name)
        whole.start("worker", "-n", f"{slug}@%h")
        lag = whole.flask("lag", check=False)
        assert (lag.returncode, "install a release of 0998 or later" in lag.stderr) == (6, True), lag.stderr
        assert "install a release of 0998 or later" in whole.flask("doctor", check=False).stdout
        for name in ("receiver", "dispatcher", "worker"):
            assert whole.processes[name].wait(120) == 6
            assert "install a release of 0998 or later" in whole.log(name)
            assert "Traceback" not in whole.log(name)

        # One that meets the schema only later goes on, as it does without a database.
        stamp(sqlite_url, HEAD)
        before = whole.log("receiver").count("Listening")
        whole.start("receiver")
        until(lambda: whole.log("receiver").count("Listening") > before, "the receiver to listen")
        stamp(sqlite_url, LATER)
        until(lambda: whole.get("/readyz").status == 503, "it to say that it is not ready")
        assert whole.post_batch(key, b"{}").status == 503, "the agent keeps its batch"
        until(lambda: "database_misconfigured" in whole.log("receiver"), "it to say why")
        stamp(sqlite_url, HEAD)
        until(whole.ready, "the receiver to find the schema that it needs")
    finally:
        whole.stop()
