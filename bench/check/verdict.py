"""The check after a replay: wait until everything is deposited, then compare."""

import os
import subprocess
import sys
from dataclasses import dataclass

import pyarrow as pa
from sqlalchemy import Engine

from bench.check import lag, stored
from bench.check.compare import compare
from bench.places import ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayCheck:
    """Knows where the customer stood before anything was sent, and whether it is sent as OTLP."""

    engine: Engine
    database_url: str
    slug: str
    customer: int
    passed_before: int
    books: bool
    patience_s: float
    otlp: bool

    @classmethod
    def begin(
        cls, database_url: str, slug: str, *, books: bool, patience_s: float, otlp: bool
    ) -> "ReplayCheck":
        """Raises LookupError when the database has no such customer."""
        engine = stored.engine(database_url)
        with engine.connect() as conn:
            customer = stored.customer_id(conn, slug)
            before = lag.progress(conn, customer).passed
        return cls(
            engine=engine,
            database_url=database_url,
            slug=slug,
            customer=customer,
            passed_before=before,
            books=books,
            patience_s=patience_s,
            otlp=otlp,
        )

    def conclude(self, spans: pa.Table, *, accepted: int) -> bool:
        """Whether the database holds exactly what `spans` have to leave; tells each difference on stdout."""
        try:
            lag.wait_until_deposited(
                self.engine,
                self.customer,
                passed=self.passed_before + accepted,
                patience_s=self.patience_s,
                on_poll=lambda now: print(
                    f"waiting: {now.passed} batches dispatched, {now.windows} windows open"
                ),
            )
        except TimeoutError as problem:
            print(f"never deposited: {problem}")
            return False
        with self.engine.connect() as conn:
            found = compare(spans, conn, self.customer, otlp=self.otlp)
        for sentence in found.named:
            print(sentence)
        for kind, count in found.counts.items():
            print(f"{kind}: {count} differences")
        if not found.counts:
            print("no difference in interactions, rollups, histograms and events")
        agreed = (
            [self._asked("books", "--customer", self.slug), self._asked("verify", self.slug)]
            if self.books
            else []
        )
        return not found.counts and all(agreed)

    def _asked(self, *command: str) -> bool:
        """Whether a `flask` command on the same database agrees; the environment says where the broker is."""
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "webapp", *command],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": self.database_url},
            check=False,
        )
        return done.returncode == 0
