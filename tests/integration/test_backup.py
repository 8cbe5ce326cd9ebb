"""A backup by the very commands of its page, under traffic, and what a new installation makes of it."""

import os
import re
import secrets
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from db.engine import connect, read
from db.settings import DatabaseSettings
from deploy.local.postgres import PostgresServer
from deploy.local.rabbitmq import RabbitNode
from tests.integration.test_whole import event, ndjson, settled
from tests.whole import ROOT, Whole, running, until

pytestmark = pytest.mark.timeout(900)


def command(beginning: str) -> str:
    """The one command of the page that begins so."""
    page = (ROOT / "docs" / "backup.md").read_text()
    found = re.findall(rf"^ *\$ ({re.escape(beginning)}.*)$", page, re.MULTILINE)
    assert len(found) == 1, f"docs/backup.md should have one command that begins with `{beginning}`"
    return str(found[0])


def run(words: str, folder: Path, **environment: str) -> None:
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", words],
        cwd=folder,
        env=os.environ | {"PATH": scripts} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{words}: {done.stderr}"


def libpq(url: str) -> dict[str, str]:
    """What PostgreSQL's own commands read."""
    parts = make_url(url)
    assert parts.host
    assert parts.database
    found = {"PGHOST": parts.host, "PGPORT": str(parts.port), "PGDATABASE": parts.database}
    return found | {"PGUSER": str(parts.username), "PGPASSWORD": str(parts.password)}


class PostingAgent:
    """Posts batches, until it is told to stop; `posted` are the events of accepted ones."""

    def __init__(self, whole: Whole, key: str) -> None:
        self.posted = 0
        self._whole, self._key = whole, key
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on)

    def post(self, events: int) -> None:
        body = ndjson(*(event(secrets.token_hex(16)) for _ in range(events)))
        assert self._whole.post_batch(self._key, body).status == 202
        self.posted += events

    def __enter__(self) -> "PostingAgent":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)

    def _go_on(self) -> None:
        while not self._ended.is_set():
            self.post(3)
            time.sleep(0.05)


def backed_up_and_restored(
    tmp_path: Path, rabbitmq: RabbitNode, slug: str, url: str, commands: tuple[str, str], restored: str
) -> None:
    backup, restore = commands
    urls = {"amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        (folder / "var").mkdir(parents=True, exist_ok=True)
    with running(old, database_url=url, **urls) as whole:
        key = whole.add_customer(slug)
        with PostingAgent(whole, key) as agent:
            until(lambda: whole.books(slug)["customers"][0]["deposited"] > 3, "some deposits")
            run(backup, old, **(libpq(url) if "postgresql" in url else {}))
            backed_up = agent.posted
            until(lambda: agent.posted > backed_up + 30, "batches that the backup does not have")
        until(lambda: settled(whole, slug), "balanced books before the loss")
    for file in old.glob("sluice*"):
        file.rename(new / file.name)
    run(restore, new, **(libpq(restored) if "postgresql" in restored else {}))
    run(command("alembic upgrade"), ROOT, DATABASE_URL=restored)
    engine = connect(DatabaseSettings(url=restored))
    try:
        with read(engine) as conn:
            kept = conn.execute(text("SELECT coalesce(sum(events), 0) FROM interactions")).scalar_one()
        assert kept < agent.posted, "the backup is of before"
        with running(new, database_url=restored, **urls) as whole:
            later = PostingAgent(whole, key)
            later.post(5)
            until(lambda: settled(whole, slug), "balanced books after the restore")
            whole.flask("verify", slug)
        with read(engine) as conn:
            events = conn.execute(text("SELECT sum(events) FROM interactions")).scalar_one()
            counted = conn.execute(text("SELECT sum(count) FROM rollups")).scalar_one()
    finally:
        engine.dispose()
    assert (events, counted) == (agent.posted + 5, agent.posted + 5)


def test_an_sqlite_database_is_backed_up_at_work_and_restored(
    tmp_path: Path, rabbitmq: RabbitNode, sqlite_url: str, slug: str
) -> None:
    var = tmp_path / "old" / "var"
    var.mkdir(parents=True)
    Path(sqlite_url.removeprefix("sqlite:///")).rename(var / "sluice.db")
    commands = (command("python -c"), command("cp sluice-backup.db"))
    assert shlex.split(commands[0])[0] == "python"
    there = tmp_path / "new" / "var" / "sluice.db"
    backed_up_and_restored(
        tmp_path, rabbitmq, slug, f"sqlite:///{var / 'sluice.db'}", commands, f"sqlite:///{there}"
    )


def test_a_postgresql_database_is_backed_up_at_work_and_restored(
    tmp_path: Path, rabbitmq: RabbitNode, postgres: PostgresServer, postgresql_url: str, slug: str
) -> None:
    name = f"restored_{secrets.token_hex(6)}"
    commands = (command("pg_dump"), command("pg_restore"))
    try:
        backed_up_and_restored(
            tmp_path, rabbitmq, slug, postgresql_url, commands, postgres.create_database(name)
        )
    finally:
        postgres.drop_database(name)
