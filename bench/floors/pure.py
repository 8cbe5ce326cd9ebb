"""Decoding and grouping in memory, alone: CPU seconds per million events, one thread."""

import time
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from bench.agents.encode import Body
from bench.load.workload import Kind, Source
from pipelines import DEFAULT, parse
from tasks.decoders import DecodedBatches, DecodeLimits, RawBatch, decode_batches
from tasks.processors import Processed, process

FORMATS = {"arrow": "arrow", "ndjson": "ndjson", "otlp": "otlp-protobuf"}
WINDOW_EVENTS = 50_000
_MINUTE_US = 60_000_000


def window(kind: Kind) -> list[RawBatch]:
    """The batches of one window as the worker reads them."""
    bodies = Source(kind, pool_events=WINDOW_EVENTS).take(max(1, WINDOW_EVENTS // kind.events))
    return [_raw(body, kind.form) for body in bodies]


def decode(batches: list[RawBatch], *, seconds: float) -> float:
    """Decoding them, as the decode task does."""
    events = len(_decoded(batches).good)
    return timed(lambda: _decoded(batches), seconds) / events * 1e6


def group(batches: list[RawBatch], *, seconds: float) -> float:
    """The two group-bys that roll-ups and interactions need, as a user of Arrow would write them."""
    table = _decoded(batches).events
    return timed(lambda: _grouped(table), seconds) / len(table) * 1e6


def pipeline(batches: list[RawBatch], *, seconds: float) -> float:
    """The whole default pipeline of ours on the same events."""
    events, steps = _decoded(batches).good, parse(DEFAULT)
    return timed(lambda: process(events, steps), seconds) / len(events) * 1e6


def results(batches: list[RawBatch]) -> Processed:
    """What the window leaves for the database."""
    return process(_decoded(batches).good, parse(DEFAULT))


def timed(call: Callable[[], object], seconds: float) -> float:
    """CPU seconds of this process that one call takes, the first one left out."""
    call()
    before, until, calls = time.process_time(), time.monotonic() + seconds, 0
    while time.monotonic() < until or not calls:
        call()
        calls += 1
    return (time.process_time() - before) / calls


def _raw(body: Body, form: str) -> RawBatch:
    return RawBatch(
        body=body.content,
        format=FORMATS[form],
        content_encoding=body.content_encoding,
        accepted_at_us=time.time_ns() // 1_000,
    )


def _decoded(batches: list[RawBatch]) -> DecodedBatches:
    decoded = decode_batches(batches, DecodeLimits())
    if decoded.rejects or decoded.unfit:
        raise AssertionError("generated batches must be fit")
    return decoded


def _grouped(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    started, duration = pc.cast(table["started_at"], pa.int64()), table["duration_us"]
    bucket = pc.cast(pc.ceil(pc.divide(pc.ln(pc.max_element_wise(duration, 1)), 0.0953101798)), pa.int16())
    rolled = pa.table(
        {
            "minute": pc.divide(started, _MINUTE_US),
            **{name: table[name] for name in ("service", "operation", "status")},
            "bucket": bucket,
            "duration": duration,
        }
    ).group_by(["minute", "service", "operation", "status", "bucket"], use_threads=False)
    traced = pa.table(
        {
            "trace_id": table["trace_id"],
            "started": started,
            "ended": pc.add(started, duration),
            "failed": pc.cast(pc.equal(table["status"], "error"), pa.int64()),
        }
    ).group_by("trace_id", use_threads=False)
    sums = [("duration", function) for function in ("count", "sum", "min", "max")]
    return (
        rolled.aggregate(sums),
        traced.aggregate([("started", "min"), ("ended", "max"), ("started", "count"), ("failed", "sum")]),
    )
