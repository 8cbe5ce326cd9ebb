"""Attributes as OpenTelemetry's instrumentations set them: 13 of a span, about 6 of them new each time.

Names are those of the semantic conventions (https://opentelemetry.io/docs/specs/semconv/).
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bench.spans.columns import words
from bench.spans.topology import SERVICES

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

OWN = 13
OF_RESOURCE = 10  # beside `service.name`, which is a column
INSTANCES_PER_SERVICE = 2
SHAPES = ("server", "client", "database", "internal")
_EXCEPTION_TYPES = ("TimeoutError", "ConnectionResetError", "ValidationError", "StaleDataError")
_USER_AGENTS = tuple(f"Mozilla/5.0 (X11; Linux x86_64; rv:{at}.0) Gecko/20100101" for at in range(100, 140))
_LINES = tuple(str(at) for at in range(12, 900, 7))
_METHODS, _STATUS_CODES = ("GET", "POST", "PUT"), ("200", "200", "200", "201", "204", "302", "404")
_HOSTS = tuple(f"{service}.shop.internal" for service in SERVICES)
_ADDRESSES = tuple(f"10.4.{at // 250}.{at % 250}" for at in range(2 * len(SERVICES)))


class _AttributeTable:
    """Fills a column of attributes: every row has as many, at fixed places."""

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self.rng = rng
        self.keys: dict[str, int] = {}
        self.texts: list[str] = []
        self.key = np.zeros((count, OWN + OF_RESOURCE), dtype=np.int64)
        self.value = np.zeros((count, OWN + OF_RESOURCE), dtype=np.int64)

    def put(self, rows: Ints, place: int, key: str, texts: Sequence[str], chosen: Ints) -> None:
        self.key[rows, place] = self.keys.setdefault(key, len(self.keys))
        self.value[rows, place] = len(self.texts) + chosen
        self.texts.extend(texts)

    def few(self, rows: Ints, place: int, key: str, *texts: str) -> None:
        """One of the texts each."""
        self.put(rows, place, key, texts, self.rng.integers(len(texts), size=len(rows)))

    def new(self, rows: Ints, place: int, key: str, below: int, write: Callable[[int], str] = str) -> None:
        """A text of its own each, written from a number."""
        numbers = self.rng.integers(1, below, size=len(rows)).tolist()
        self.put(rows, place, key, [write(number) for number in numbers], np.arange(len(rows)))


def of(
    shape: Ints, operation: Ints, operations: Sequence[str], instance: Ints, raised: Bools,
    rng: np.random.Generator,
) -> tuple[Ints, pa.Array, pa.Array]:  # fmt: skip
    """Offsets, keys and values of a map column: the resource's first, then the span's own.

    `shape` is a place in SHAPES, `instance` is service × INSTANCES_PER_SERVICE + which of them.
    Where `raised`, the last attribute is `error.type`: an encoder adds the exception as an event of the span.
    """
    count = len(shape)
    made = _AttributeTable(count, rng)
    _resource(made, instance)
    for at, fill in enumerate((_server, _client, _database, _internal)):
        rows = np.flatnonzero(shape == at)
        fill(made, rows, OF_RESOURCE, operation[rows], operations)
    made.few(np.flatnonzero(raised), OF_RESOURCE + OWN - 1, "error.type", *_EXCEPTION_TYPES)
    offsets = np.arange(count + 1, dtype=np.int64) * (OWN + OF_RESOURCE)
    keys = words(made.key.reshape(-1), tuple(made.keys))
    return offsets, keys, words(made.value.reshape(-1), made.texts)


def _resource(made: _AttributeTable, instance: Ints) -> None:
    rows, which = np.arange(len(instance)), instance
    ids = np.random.default_rng(len(SERVICES)).bytes(16 * len(SERVICES) * INSTANCES_PER_SERVICE).hex()
    count = len(SERVICES) * INSTANCES_PER_SERVICE
    for place, (key, texts) in enumerate(
        {
            "service.namespace": ["shop"] * count,
            "service.version": [f"2.{at % 7}.{at % 11}" for at in range(count)],
            "service.instance.id": [ids[32 * at : 32 * at + 32] for at in range(count)],
            "deployment.environment.name": ["production"] * count,
            "host.name": [f"node-{at % 9:02d}.shop.internal" for at in range(count)],
            "process.pid": [str(7 + at) for at in range(count)],
            "process.runtime.name": ["cpython"] * count,
            "telemetry.sdk.language": ["python"] * count,
            "telemetry.sdk.name": ["opentelemetry"] * count,
            "telemetry.sdk.version": ["1.36.0"] * count,
        }.items()
    ):
        made.put(rows, place, key, texts, which)


def _server(
    made: _AttributeTable, rows: Ints, first: int, operation: Ints, operations: Sequence[str]
) -> None:
    made.few(rows, first, "http.request.method", *_METHODS)
    made.put(rows, first + 1, "http.route", operations, operation)
    made.new(rows, first + 2, "url.path", 10**7, lambda number: f"/api/v1/things/{number}")
    made.new(rows, first + 3, "url.query", 10**5, lambda number: f"page={number % 50}&of={number}")
    made.few(rows, first + 4, "url.scheme", "https")
    made.few(rows, first + 5, "http.response.status_code", *_STATUS_CODES)
    made.new(rows, first + 6, "http.response.body.size", 60_000)
    made.few(rows, first + 7, "server.address", *_HOSTS)
    made.few(rows, first + 8, "server.port", "8443", "8080")
    made.new(
        rows, first + 9, "client.address", 2**24, lambda number: f"172.{number >> 16}.{number >> 8 & 255}.9"
    )
    made.new(rows, first + 10, "client.port", 65_000)
    made.new(rows, first + 11, "thread.id", 400)
    made.few(rows, first + 12, "user_agent.original", *_USER_AGENTS)


def _client(
    made: _AttributeTable, rows: Ints, first: int, operation: Ints, operations: Sequence[str]
) -> None:
    del operation, operations
    made.few(rows, first, "http.request.method", *_METHODS)
    made.new(rows, first + 1, "url.full", 10**8, lambda number: f"https://stock.shop.internal/v1/{number}")
    made.few(rows, first + 2, "http.response.status_code", *_STATUS_CODES)
    made.new(rows, first + 3, "http.request.body.size", 9_000)
    made.new(rows, first + 4, "http.response.body.size", 60_000)
    made.few(rows, first + 5, "server.address", *_HOSTS)
    made.few(rows, first + 6, "server.port", "8443", "8080")
    made.few(rows, first + 7, "network.peer.address", *_ADDRESSES)
    made.new(rows, first + 8, "network.local.port", 65_000)
    made.few(rows, first + 9, "network.protocol.version", "1.1", "2")
    made.new(rows, first + 10, "app.request.id", 16**8, lambda number: f"{number:08x}")
    made.new(rows, first + 11, "thread.id", 400)
    made.few(rows, first + 12, "user_agent.original", "python-requests/2.32.5", "okhttp/4.12.0")


def _database(
    made: _AttributeTable, rows: Ints, first: int, operation: Ints, operations: Sequence[str]
) -> None:
    tables = [name.rpartition(" ")[2].rpartition(".")[2] for name in operations]
    made.few(rows, first, "db.system.name", "postgresql")
    made.few(rows, first + 1, "db.namespace", "shop")
    made.put(rows, first + 2, "db.collection.name", tables, operation)
    made.few(rows, first + 3, "db.operation.name", "SELECT")
    made.put(
        rows,
        first + 4,
        "db.query.text",
        [f"{name} WHERE id = $1" for name in operations],
        operation,
    )
    made.new(rows, first + 5, "db.query.parameter.0", 10**8)
    made.new(rows, first + 6, "db.response.returned_rows", 500)
    made.few(rows, first + 7, "server.address", *_HOSTS)
    made.few(rows, first + 8, "server.port", "5432")
    made.new(rows, first + 9, "app.request.id", 16**8, lambda number: f"{number:08x}")
    made.new(rows, first + 10, "network.local.port", 65_000)
    made.new(rows, first + 11, "thread.id", 400)
    made.new(rows, first + 12, "db.client.connection.id", 16**6, lambda number: f"pool-{number:06x}")


def _internal(
    made: _AttributeTable, rows: Ints, first: int, operation: Ints, operations: Sequence[str]
) -> None:
    made.put(rows, first, "code.function.name", operations, operation)
    files = [f"shop/{name.partition('.')[0].lower().strip('/*')}/handlers.py" for name in operations]
    made.put(rows, first + 1, "code.file.path", files, operation)
    made.few(rows, first + 2, "code.line.number", *_LINES)
    made.new(rows, first + 3, "app.request.id", 16**8, lambda number: f"{number:08x}")
    made.new(rows, first + 4, "app.item.id", 10**8)
    made.new(rows, first + 5, "app.item.count", 300)
    made.new(rows, first + 6, "app.order.id", 16**8, lambda number: f"ord-{number:08x}")
    made.new(rows, first + 7, "app.elapsed_us", 10**6)
    made.few(rows, first + 8, "app.region", "eu-central-1", "eu-west-2", "us-east-1")
    made.few(rows, first + 9, "app.cache.hit", "true", "false")
    made.few(rows, first + 10, "app.tier", "gold", "silver", "trial")
    made.new(rows, first + 11, "thread.id", 400)
    made.few(rows, first + 12, "thread.name", *(f"worker-{at}" for at in range(16)))
