"""Spans from a fixed seed with the statistics of a recorded system, as the table of a Parquet file."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bench.spans import attributes, oddities
from bench.spans.columns import fixed_size_binary, map_of_strings, words
from bench.spans.oddities import Oddities
from bench.spans.span_table import GeneratedSpans, Ints
from bench.spans.topology import SERVICES, Shop, Tree, shop

Floats = npt.NDArray[np.float64]

SCHEMA = pa.schema(
    [
        ("trace_id", pa.binary(16)),
        ("span_id", pa.binary(8)),
        ("parent_id", pa.binary(8)),  # null for a root
        ("started_at", pa.timestamp("us", tz="UTC")),
        ("duration_us", pa.int64()),
        ("service", pa.string()),
        ("operation", pa.string()),
        ("kind", pa.string()),  # null everywhere
        ("status", pa.string()),  # "ok" or "error"
        ("attributes", pa.map_(pa.string(), pa.string())),
    ]
)
FIRST_START_US = 1_700_000_000_000_000
SHORTEST_US, LONGEST_US = 14, 10_234_862
ERROR_SHARE = 0.0037
_SPREAD = 0.4  # sigma of the logarithm of a self time
_FAST_SHARE, _FAST_US = 0.012, 35.0  # served from a cache
_SLOW_SHARE, _SLOW_US, _SLOW_SPREAD = 0.012, 50_000.0, 1.5  # a pause, a lock, a cold start
_BUSY_SHARE, _BUSY_FACTOR = 0.025, 8.0  # traces in which everything is slow


def generate(
    count: int,
    *,
    seed: int,
    first_start_us: int = FIRST_START_US,
    spans_per_s: float = 63.0,
    odd: Oddities | None = None,
) -> pa.Table:
    """`count` spans with SCHEMA; the same arguments give the same table.

    The first trace starts at `first_start_us` (µs since the epoch), and traces follow at `spans_per_s`.
    Traces lie one after another, spans in the order of their start, unless `odd` asks for what agents do.
    The last trace is cut off where the count is reached.
    """
    rng = np.random.default_rng(seed)
    model = oddities.with_health_checks(shop(), odd.health_checks) if odd else shop()
    spans = _traces(count, model, rng, first_start_us, spans_per_s)
    secret = np.zeros(count, dtype=np.bool_)
    rows = np.arange(count)
    if odd:
        oddities.put_ids_into_paths(spans, odd.ids_in_paths, rng)
        oddities.cut_loose(spans, odd.extra_roots, rng)
        secret = rng.random(count) < odd.secrets
        rows = oddities.order(count, odd, rng)
    return _table(spans, secret, rng).take(pa.array(rows))


def _traces(
    count: int, model: Shop, rng: np.random.Generator, first_us: int, spans_per_s: float
) -> GeneratedSpans:
    lengths = np.array([len(tree.parent) for tree in model.trees])
    kinds = _kinds_for(count, lengths, model.shares, rng)
    offsets = np.concatenate([[0], np.cumsum(lengths[kinds])])
    total = int(offsets[-1])
    mean_gap_us = 1e6 / spans_per_s * float(np.sum(lengths * model.shares))
    starts = first_us + np.cumsum(rng.exponential(mean_gap_us, len(kinds))).astype(np.int64)
    starts -= starts[0] - first_us
    trace = np.repeat(np.arange(len(kinds)), lengths[kinds])
    parent, service, operation, start, duration = (np.empty(total, dtype=np.int64) for _ in range(5))
    for kind, tree in enumerate(model.trees):
        mine = np.flatnonzero(kinds == kind)
        if not len(mine):
            continue
        rows = offsets[mine][None, :] + np.arange(len(tree.parent))[:, None]
        lasting, after = _times(tree, len(mine), rng)
        parent[rows] = np.where(tree.parent[:, None] < 0, -1, offsets[mine][None, :] + tree.parent[:, None])
        service[rows], operation[rows] = tree.service[:, None], tree.operation[:, None]
        start[rows] = starts[mine][None, :] + after
        duration[rows] = lasting
    return GeneratedSpans(
        trace=trace[:count],
        parent=parent[:count],
        service=service[:count],
        operation=operation[:count],
        operations=list(model.operations),
        start_us=start[:count],
        duration_us=duration[:count],
        error=rng.random(count) < ERROR_SHARE,
    )


def _kinds_for(count: int, lengths: Ints, shares: Floats, rng: np.random.Generator) -> Ints:
    """The tree of each trace, just as many traces as `count` spans need."""
    enough = int(count / lengths.min()) + 1
    guess = min(enough, int(1.2 * count / float(np.sum(lengths * shares))) + 50)
    kinds = rng.choice(len(lengths), size=guess, p=shares)
    while (reach := np.cumsum(lengths[kinds]))[-1] < count:
        kinds = np.concatenate([kinds, rng.choice(len(lengths), size=guess, p=shares)])
    return kinds[: int(np.searchsorted(reach, count)) + 1]


def _times(tree: Tree, traces: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Duration and start after the root's, µs, as arrays of (span, trace): children one after another."""
    shape = (len(tree.parent), traces)
    own = tree.self_us[:, None] * np.exp(rng.normal(0, _SPREAD, shape))
    draw = rng.random(shape)
    fast, slow = draw < _FAST_SHARE, draw > 1 - _SLOW_SHARE
    own[fast] = _FAST_US * np.exp(rng.normal(0, 0.6, int(fast.sum())))
    own[slow] += _SLOW_US * np.exp(rng.normal(0, _SLOW_SPREAD, int(slow.sum())))
    own *= np.where(rng.random(traces) < _BUSY_SHARE, _BUSY_FACTOR, 1.0)
    whole = np.maximum(own, SHORTEST_US)
    for at in range(len(tree.parent) - 1, 0, -1):
        whole[tree.parent[at]] += whole[at]
    too_long = np.maximum(whole[0] / LONGEST_US, 1.0)
    lasting = np.maximum(whole / too_long, SHORTEST_US)
    after = np.zeros(shape)
    taken = own * 0.4 / too_long  # where the next child of each span starts, after the span's own start
    for at in range(1, len(tree.parent)):
        parent = tree.parent[at]
        after[at] = after[parent] + taken[parent]
        taken[parent] += lasting[at]
    return lasting.astype(np.int64), after.astype(np.int64)


def _table(spans: GeneratedSpans, secret: npt.NDArray[np.bool_], rng: np.random.Generator) -> pa.Table:
    count = len(spans.trace)
    traces = int(spans.trace.max(initial=-1)) + 1
    trace_ids = np.frombuffer(rng.bytes(16 * traces), dtype="V16")
    span_ids = np.frombuffer(rng.bytes(8 * count), dtype="V8")
    columns = [
        fixed_size_binary(trace_ids[spans.trace], 16),
        fixed_size_binary(span_ids, 8),
        fixed_size_binary(span_ids[np.maximum(spans.parent, 0)], 8, valid=spans.parent >= 0),
        pa.array(spans.start_us).cast(SCHEMA.field("started_at").type),
        pa.array(spans.duration_us),
        words(spans.service, SERVICES),
        words(spans.operation, spans.operations),
        pa.nulls(count, pa.string()),
        words(spans.error.astype(np.int64), ("ok", "error")),
        map_of_strings(*attributes.of(spans.service, spans.start_us, spans.error, secret, rng)),
    ]
    return pa.table(columns, schema=SCHEMA)
