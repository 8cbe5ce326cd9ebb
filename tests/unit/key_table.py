"""A table of keys to look up in, for tests of the key cache, and caches in front of it."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from db.customers.keys import digest
from db.customers.rows import Customer
from db.errors import DatabaseUnavailable
from webapp.receiving.keys import SECRET_FORM, KeyCache

Make = Callable[..., KeyCache[Customer]]


def customer(slug: str) -> Customer:
    return Customer(
        id=1,
        slug=slug,
        state="active",
        events_per_second=None,
        bytes_per_second=None,
        batches_per_second=None,
        concurrent_requests=None,
        daily_bytes=None,
        pipeline_version=1,
        routes={},
        retention_days=1,
        created_at=0,
        updated_at=0,
    )


def key(slug: str = "acme") -> str:
    return f"sl_{slug}_{secrets.token_urlsafe(32)}"


class KeyTable:
    """Answers look-ups as the database would: knows some keys, can be away, can be slow."""

    def __init__(self) -> None:
        self.owners: dict[bytes, Customer] = {}
        self.asked: list[bytes] = []
        self.queries: list[list[bytes]] = []
        self.broken: set[bytes] = set()
        self.away = False
        self.gate = threading.Event()
        self.gate.set()

    def add(self, slug: str = "acme") -> str:
        new = key(slug)
        self.owners[digest(new)] = customer(slug)
        return new

    def find(self, digests: Sequence[bytes]) -> dict[bytes, Customer]:
        self.queries.append(list(digests))
        self.asked += digests
        self.gate.wait(30)
        if self.away:
            raise DatabaseUnavailable("away")
        if self.broken.intersection(digests):
            raise RuntimeError("bug")
        return {one: self.owners[one] for one in digests if one in self.owners}


@contextmanager
def caches(table: KeyTable) -> Iterator[Make]:
    """Makes caches, and closes them at the end."""
    made: list[KeyCache[Customer]] = []

    def cache(**changes: float) -> KeyCache[Customer]:
        values = {"fresh_s": 10.0, "wait_s": 5.0, "known": 10, "unknown": 10} | changes
        made.append(KeyCache(table.find, form=SECRET_FORM, **values))  # type: ignore[arg-type] # ints and floats mixed
        return made[-1]

    yield cache
    table.gate.set()
    for one in made:
        one.close()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
