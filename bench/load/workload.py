"""Bodies to post, encoded before any clock starts; every body's ids are new, so that no trace comes twice."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bench.agents.encode import Body, encode, packed
from bench.check.totals import Totals, of_batches
from bench.load.renewing import RenewedBodies
from bench.spans.columns import fixed_size_binary
from bench.spans.generate import generate
from bench.spans.sdk import group_batches, sdk_spans

POOL_EVENTS = {"shop": 200_000, "sdk": 50_000}
SPANS_PER_S = 10_000.0  # how dense in time the events lie; sets how many rollup rows a window leaves
_AGE_S = 3 * 3600  # the first event is so old
SEED = 20_240_117


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What the batches of one measurement are.

    `shape` "sdk": spans as OpenTelemetry SDKs post them (`bench.spans.sdk`); "shop": spans with what was
    recorded of a system (`bench.spans.generate`), a batch holding whole traces.
    """

    shape: str = "shop"
    form: str = "arrow"
    encoding: str = "zstd"
    events: int = 1_000  # in a batch

    @property
    def attributes(self) -> int:
        """Of an event, those of its resource included; of "shop" the mean, rounded."""
        return {"shop": 2, "sdk": 24}[self.shape]

    @property
    def name(self) -> str:
        what = f"{self.form}+{self.encoding}, {self.events} events a batch"
        return f"{what}, {self.attributes} attributes an event"

    @property
    def group(self) -> int:
        """So many consecutive batches are posted by one customer, as traces lie in several of them."""
        return group_batches(self.events) if self.shape == "sdk" else 1


Ready = TypeVar("Ready")
SDK = Kind(shape="sdk", form="otlp", encoding="gzip", events=50)


@dataclass(frozen=True, slots=True)
class ReadyBody:
    """A body, and what it has to add to the database."""

    body: Body
    totals: Totals


class Source:
    """Batches without end: the same generated spans round after round, with new ids and later times."""

    def __init__(self, kind: Kind, *, seed: int = SEED, pool_events: int | None = None) -> None:
        self.kind = kind
        each = kind.events * kind.group
        self._events = max(each, (pool_events or POOL_EVENTS[kind.shape]) // each * each)
        first_us = time.time_ns() // 1_000 - _AGE_S * 1_000_000
        self._pool = (
            sdk_spans(
                self._events, batch=kind.events, seed=seed, first_start_us=first_us, spans_per_s=SPANS_PER_S
            )
            if kind.shape == "sdk"
            else generate(self._events, seed=seed, first_start_us=first_us, spans_per_s=SPANS_PER_S)
        )
        self._encoded = RenewedBodies(list(self._slices(self._pool))) if kind.form == "otlp" else None
        self._masks = np.random.default_rng([seed, time.time_ns()])
        self._round = 0
        self._left: Iterator[tuple[pa.Table | bytes, Totals]] = iter(())

    def take(self, batches: int) -> list[Body]:
        """The next so many bodies; two threads encode."""
        return [one.body for one in self.ready(batches)]

    def ready(self, batches: int) -> list[ReadyBody]:
        """The next so many bodies, with what each has to add."""
        with ThreadPoolExecutor(2) as pool:
            encoded = (pool.submit(self._encode, *one) for one in self._batches(batches))
            return [one.result() for one in list(encoded)]

    def begin_anew(self) -> None:
        """What is left of the round is not wanted: traces of it were not posted whole."""
        self._left = iter(())

    def table(self) -> pa.Table:
        """One round's spans, with columns as in a Parquet file of spans."""
        return self._fresh(self._next_round())

    def _encode(self, spans: pa.Table | bytes, totals: Totals) -> ReadyBody:
        form, encoding = self.kind.form, self.kind.encoding
        if isinstance(spans, bytes):
            return ReadyBody(packed(spans, form, encoding), totals)
        return ReadyBody(encode(spans, form, encoding), totals)

    def _batches(self, count: int) -> Iterator[tuple[pa.Table | bytes, Totals]]:
        for _ in range(count):
            one = next(self._left, None)
            if one is None:
                self._left = self._round_of_batches()
                one = next(self._left)
            yield one

    def _round_of_batches(self) -> Iterator[tuple[pa.Table | bytes, Totals]]:
        new = self._next_round()
        table = self._fresh(new)
        contents = self._encoded.renewed(new.trace, new.span, new.shift_us) if self._encoded else None
        return zip(contents or self._slices(table), of_batches(table, self.kind.events), strict=True)

    def _slices(self, table: pa.Table) -> Iterator[pa.Table]:
        return (table.slice(first, self.kind.events) for first in range(0, self._events, self.kind.events))

    def _next_round(self) -> "_Round":
        """Ids under a new mask (what belonged together still does), times after the last round's."""
        shift_us = int(self._round * self._events / SPANS_PER_S * 1e6)
        self._round += 1
        return _Round(self._masks.bytes(16), self._masks.bytes(8), shift_us)

    def _fresh(self, new: "_Round") -> pa.Table:
        table = self._pool
        for name, mask in (("trace_id", new.trace), ("span_id", new.span), ("parent_id", new.span)):
            table = table.set_column(
                table.column_names.index(name), name, _masked(table[name].combine_chunks(), mask)
            )
        micros = pc.add(pc.cast(table["started_at"], pa.int64()), new.shift_us)
        started = pc.cast(micros, table.schema.field("started_at").type)
        return table.set_column(table.column_names.index("started_at"), "started_at", started)


class _Round(NamedTuple):
    trace: bytes
    span: bytes
    shift_us: int


def dealt(bodies: Sequence[Ready], *, group: int, customers: int) -> list[Ready]:
    """The bodies in an order in which one after another for each customer in turn keeps groups together."""
    if customers == 1 or group == 1:
        return list(bodies)
    many = group * customers
    whole = len(bodies) // many * many
    return [
        bodies[first + customer * group + at]
        for first in range(0, whole, many)
        for at in range(group)
        for customer in range(customers)
    ]


def _masked(ids: pa.Array, mask: bytes) -> pa.Array:
    width = len(mask)
    valid = ids.is_valid().to_numpy(zero_copy_only=False)
    octets = np.frombuffer(ids.buffers()[1], np.uint8)[ids.offset * width : (ids.offset + len(ids)) * width]
    mixed = octets.reshape(-1, width) ^ np.frombuffer(mask, np.uint8)
    return fixed_size_binary(mixed.view(f"V{width}").reshape(-1), width, valid=valid)
