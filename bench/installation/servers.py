"""The broker and the database that everything is measured on: private, fresh, gone afterwards."""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from bench.places import ROOT
from deploy.local import leftovers, postgres, rabbitmq
from deploy.local.postgres import PostgresServer
from deploy.local.rabbitmq import RabbitNode

# A production server's; commits wait for the disk. The time of a commit is what ends an event's latency.
POSTGRES_SETTINGS = {
    "track_commit_timestamp": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    folder: Path
    node: RabbitNode
    postgres: PostgresServer

    def roles(self, *, with_database: bool = True) -> dict[str, list[int]]:
        """Root pids."""
        database = {"database": [self.postgres.pid]} if with_database else {}
        return {"broker": [self.node.pid], **database}

    @property
    def mark(self) -> str:
        """In the environment of all that is started beside the servers."""
        return leftovers.every_run(self.folder) + leftovers.PROCESSES

    def new_database(self, name: str) -> str:
        """The URL of an empty PostgreSQL database."""
        return self.postgres.create_database(f"{name}_{secrets.token_hex(3)}")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Servers]:
    """Both servers, started side by side in `folder`, which is emptied before and removed afterwards."""
    _clear(folder)
    folder.mkdir(parents=True)
    # Started before the mark is set, so that it does not find itself.
    guard = _guard(folder)
    os.environ[leftovers.MARK] = leftovers.every_run(folder) + leftovers.NODE
    try:
        with ThreadPoolExecutor(2) as pool:
            broker = pool.submit(rabbitmq.start, folder / "rabbitmq")
            database = pool.submit(_postgres, folder / "postgres")
            yield Servers(folder=folder, node=broker.result(), postgres=database.result())
    finally:
        _clear(folder)
        guard.communicate()


def migrate(url: str) -> None:
    """The schema, as an operator makes it."""
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url},
        check=True,
        timeout=120,
        capture_output=True,
    )


def plain(url: str) -> str:
    """The URL as psycopg itself takes it."""
    return url.replace("+psycopg", "")


def _guard(folder: Path) -> "subprocess.Popen[bytes]":
    """Sleeps on its input until we are gone, killed perhaps, and stops what is then left of our processes."""
    os.environ.pop(leftovers.MARK, None)
    command = [sys.executable, "-m", "deploy.local.leftovers", leftovers.every_run(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True)


def _postgres(folder: Path) -> PostgresServer:
    server = postgres.start(folder)
    with psycopg.connect(plain(server.url), autocommit=True) as connection:
        for name, value in POSTGRES_SETTINGS.items():
            statement = sql.SQL("ALTER SYSTEM SET {} = {}")
            connection.execute(statement.format(sql.Identifier(name), sql.Literal(value)))
    postgres.stop(folder)
    return postgres.start(folder)


def _clear(folder: Path) -> None:
    """Stop what runs in the folder, of this run or of one that was killed, and delete it."""
    leftovers.stop(leftovers.every_run(folder) + leftovers.PROCESSES, within_s=20)
    rabbitmq.stop(folder / "rabbitmq")
    postgres.remove(folder / "postgres")
    for _ in range(3):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.2)
