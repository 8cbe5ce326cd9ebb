"""Bodies to post, encoded before any clock starts; every body's ids are new, so that no trace comes twice."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bench.agents.encode import Body, encode
from bench.spans.columns import fixed_size_binary
from bench.spans.generate import generate

POOL_EVENTS = 200_000
SPANS_PER_S = 10_000.0  # how dense in time the events lie; sets how many rollup rows a window leaves
_AGE_S = 3 * 3600  # the first event is so old
SEED = 20_240_117


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What the batches of one measurement are."""

    form: str = "arrow"
    encoding: str = "zstd"
    events: int = 1_000  # in a batch

    @property
    def name(self) -> str:
        return f"{self.form}+{self.encoding}, {self.events} events a batch"


class Source:
    """Batches without end: the same generated spans round after round, with new ids and later times."""

    def __init__(self, kind: Kind, *, seed: int = SEED, pool_events: int = POOL_EVENTS) -> None:
        self.kind = kind
        self._events = max(kind.events, pool_events // kind.events * kind.events)
        first_us = time.time_ns() // 1_000 - _AGE_S * 1_000_000
        self._pool = generate(self._events, seed=seed, first_start_us=first_us, spans_per_s=SPANS_PER_S)
        self._masks = np.random.default_rng([seed, time.time_ns()])
        self._round = 0
        self._left: Iterator[pa.Table] = iter(())

    def take(self, batches: int) -> list[Body]:
        """The next so many bodies; two threads encode."""
        with ThreadPoolExecutor(2) as pool:
            encoded = (pool.submit(self._encode, table) for table in self._tables(batches))
            return [one.result() for one in list(encoded)]

    def table(self) -> pa.Table:
        """One round's spans, with columns as in a Parquet file of spans."""
        return self._fresh()

    def _encode(self, spans: pa.Table) -> Body:
        return encode(spans, self.kind.form, self.kind.encoding)

    def _tables(self, count: int) -> Iterator[pa.Table]:
        for _ in range(count):
            table = next(self._left, None)
            if table is None:
                self._left = self._slices(self._fresh())
                table = next(self._left)
            yield table

    def _slices(self, table: pa.Table) -> Iterator[pa.Table]:
        return (table.slice(first, self.kind.events) for first in range(0, self._events, self.kind.events))

    def _fresh(self) -> pa.Table:
        """A round: ids under a new mask (what belonged together still does), times after the last round's."""
        table, shift_us = self._pool, int(self._round * self._events / SPANS_PER_S * 1e6)
        self._round += 1
        trace, span = self._masks.bytes(16), self._masks.bytes(8)
        for name, mask in (("trace_id", trace), ("span_id", span), ("parent_id", span)):
            table = table.set_column(
                table.column_names.index(name), name, _masked(table[name].combine_chunks(), mask)
            )
        micros = pc.add(pc.cast(table["started_at"], pa.int64()), shift_us)
        started = pc.cast(micros, table.schema.field("started_at").type)
        return table.set_column(table.column_names.index("started_at"), "started_at", started)


def _masked(ids: pa.Array, mask: bytes) -> pa.Array:
    width = len(mask)
    valid = ids.is_valid().to_numpy(zero_copy_only=False)
    octets = np.frombuffer(ids.buffers()[1], np.uint8)[ids.offset * width : (ids.offset + len(ids)) * width]
    mixed = octets.reshape(-1, width) ^ np.frombuffer(mask, np.uint8)
    return fixed_size_binary(mixed.view(f"V{width}").reshape(-1), width, valid=valid)
