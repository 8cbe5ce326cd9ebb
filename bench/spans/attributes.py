"""Attributes of generated spans: pod and source of each, log counts of some, an error's message, a secret."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bench.spans.columns import words
from bench.spans.topology import SERVICES

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

LOG_SHARE = 0.158
KEYS = (
    "k8s.pod.name",
    "source.file",
    "log.count",
    "log.error",
    "http.request.header.authorization",
    "db.password",
)
#: what a careless agent sends; each holds this word, so that a test can look for it in what was kept
CREDENTIAL_MARK = "do-not-keep-me"
_PODS_PER_SERVICE = 2
_LOG_COUNTS = (1, 2, 2, 5, 5, 4, 8, 3, 10, 12, 22, 7)
_FAULTS = (
    "connection to the database was refused after 3 attempts: the pool is exhausted and nobody gave one back",
    "no answer from the upstream within the deadline: given up, the transaction was rolled back on all sides",
    "the message could not be read: a field that the contract requires is missing or of another type there",
    "optimistic lock failed: somebody else changed the row between reading and writing, the caller may retry",
)


def of(
    service: Ints, start_us: Ints, error: Bools, secret: Bools, rng: np.random.Generator
) -> tuple[Ints, pa.Array, pa.Array]:
    """Offsets, keys and values of a map column with one row a span."""
    count = len(service)
    logged = rng.random(count) < LOG_SHARE
    lengths = 2 + logged.astype(np.int64) + error + secret
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    vocabulary: list[str] = []
    keys, values = np.zeros(int(offsets[-1]), dtype=np.int64), np.zeros(int(offsets[-1]), dtype=np.int64)
    at = offsets[:-1].copy()

    def put(where: Bools | slice, key: Ints | int, words_of: list[str], chosen: Ints) -> None:
        keys[at[where]] = key
        values[at[where]] = len(vocabulary) + chosen
        vocabulary.extend(words_of)
        at[where] += 1

    def draw(where: Bools, below: int) -> Ints:
        return rng.integers(below, size=int(where.sum()))

    everywhere = slice(None)
    put(everywhere, 0, _pods(), service * _PODS_PER_SERVICE + rng.integers(_PODS_PER_SERVICE, size=count))
    minutes, minute = np.unique(start_us // 60_000_000, return_inverse=True)
    recordings = [f"recordings/{value % 1_000_000:06d}" for value in minutes.tolist()]
    put(everywhere, 1, recordings, minute.astype(np.int64))
    put(logged, 2, [str(value) for value in _LOG_COUNTS], draw(logged, len(_LOG_COUNTS)))
    messages = [
        f"{fault} (request {int(number):08d})" for fault in _FAULTS for number in rng.integers(10**8, size=64)
    ]
    put(error, 3, messages, draw(error, len(messages)))
    secrets = [f"Bearer {CREDENTIAL_MARK}-{int(number):08d}" for number in rng.integers(10**8, size=64)]
    put(secret, 4 + draw(secret, 2), secrets, draw(secret, len(secrets)))
    return offsets, words(keys, KEYS), words(values, vocabulary)


def _pods() -> list[str]:
    """One name a pod: service, replica set and pod as an orchestrator writes them."""
    marks = np.random.default_rng(len(SERVICES)).integers(36**5, size=(len(SERVICES), _PODS_PER_SERVICE))
    return [
        f"{service}-{int(marks[at].sum()) % 16**9:09x}-{np.base_repr(int(mark), 36).lower():0>5}"
        for at, service in enumerate(SERVICES)
        for mark in marks[at]
    ]
