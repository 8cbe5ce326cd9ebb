"""All processes of Sluice, and a test's own view of their database and broker."""

import secrets
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from tests import receiver
from tests.commands import flask, flask_json
from tests.integration.test_whole import event, ndjson
from tests.receiver import Home
from tests.whole import ROOT, Whole, until
from webapp.terminal.exits import Exit

MINE = "customer_id = (SELECT id FROM customers WHERE slug = :slug)"
EACH = 3
"""Events in a batch."""


@dataclass(frozen=True, kw_only=True)
class Live:
    """All processes, and this process's own view of their database and broker."""

    whole: Whole
    home: Home

    def add(self, slug: str) -> str:
        return self.home.add(slug)

    def books(self, slug: str, *options: str) -> Any:
        """The customer's books, which have to balance."""
        document = flask_json(self.home, "books", "--customer", slug, *options)
        assert document["balanced"] is True, document
        return document["customers"][0]

    def settled(self, slug: str) -> Any:
        """The books once nothing is in flight, with the result tables; the stream proves them."""
        until(lambda: self.books(slug)["owed_batches"] == 0, f"all of {slug} to be deposited")
        proof = flask(self.home, "verify", slug)
        assert proof.exit_code == Exit.OK, proof.stdout
        return self.books(slug, "--results")

    def quarantined(self, slug: str) -> list[dict[str, Any]]:
        """Newest first."""
        rows = flask_json(self.home, "quarantine", "list", "--customer", slug)["quarantine"]
        assert isinstance(rows, list)
        return rows

    def scalar(self, statement: str, **values: Any) -> Any:
        with self.home.engine.connect() as connection:
            return connection.execute(text(statement), values).scalar()

    def events(self, slug: str) -> int:
        """Events that the customer's interactions stand for."""
        return int(self.scalar(f"SELECT coalesce(sum(events), 0) FROM interactions WHERE {MINE}", slug=slug))

    def refused_batches(self, slug: str, count: int) -> None:
        """That many good batches in quarantine, and one deposited: all came under one batch id."""
        key = self.add(slug)
        for _ in range(count + 1):
            body = ndjson(*(event(secrets.token_hex(16)) for _ in range(EACH)))
            assert self.whole.post_batch(key, body, Idempotency_Key="one").status == 202
        books = self.settled(slug)
        assert (books["deposited"], books["quarantined"]) == (1, count)

    def halted(self, place: str, when: str, name: str, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.halted", place, when, name, *words],
            cwd=ROOT,
            env=receiver.bare_environment() | dict(self.home.environment),
        )
