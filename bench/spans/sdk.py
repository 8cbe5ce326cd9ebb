"""Spans as OpenTelemetry SDKs post them: a batch is of one process, with 13 attributes a span and 11 of it.

    python -m bench.spans.sdk FOLDER [--seed N] [--batches N] [--spans N] [--format otlp] [--encoding gzip]

writes the bodies of so many batches into a folder, one file each. `sdk_batches` gives them to a program.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bench.agents.encode import ENCODINGS, FORMATS, encode
from bench.spans import sdk_attributes
from bench.spans.columns import fixed_size_binary, map_of_strings, words
from bench.spans.generate import FIRST_START_US, SCHEMA, generate
from bench.spans.topology import SERVICES

Ints = npt.NDArray[np.int64]

EXCEPTION_SHARE = 0.05  # of spans that have an exception as an event
FAILED_SHARE = 0.2  # of these: the others were handled, their spans are no errors
_KINDS = ("server", "client", "client", "internal")  # by place in `sdk_attributes.SHAPES`
_GROUP_SPANS, _GROUP_BATCHES = 1_000, 10  # at least so many share their traces


def sdk_spans(
    count: int, *, batch: int, seed: int, first_start_us: int = FIRST_START_US, spans_per_s: float = 63.0
) -> pa.Table:
    """`count` spans with SCHEMA, in the order of batches of `batch`; the same arguments give the same table.

    Traces, operations and times are those of `generate`. A batch holds spans of one process by the order of
    their ends, so that a trace lies in several batches. It lies within `group_batches` of them.
    """
    rng = np.random.default_rng([seed, batch])
    spans = generate(count, seed=seed, first_start_us=first_start_us, spans_per_s=spans_per_s)
    group = np.arange(count) // (batch * group_batches(batch))
    code = pc.index_in(spans["service"], value_set=pa.array(SERVICES)).to_numpy().astype(np.int64)
    by_service = np.lexsort((code, group))
    ends = _micros(spans) + spans["duration_us"].to_numpy()
    post = np.arange(count) // batch
    rows = by_service[np.lexsort((ends[by_service], post))]
    service = code[by_service][post * batch]  # a batch is of the process that its first spans are of
    instance = (
        service * sdk_attributes.INSTANCES_PER_SERVICE
        + rng.integers(sdk_attributes.INSTANCES_PER_SERVICE, size=count // batch + 1)[post]
    )
    return _with_attributes(_in_groups(spans.take(pa.array(rows)), group), service, instance, rng)


def group_batches(batch: int) -> int:
    """So many consecutive batches of `batch` spans share traces among themselves and with no others."""
    return max(_GROUP_BATCHES, -(-_GROUP_SPANS // batch))


def sdk_batches(
    seed: int, batches: int, spans: int, *, form: str = "otlp", encoding: str = "gzip"
) -> list[bytes]:
    """The bodies of so many batches, each of so many spans, as `bench.agents.encode` writes them."""
    table = sdk_spans(batches * spans, batch=spans, seed=seed)
    return [encode(one, form, encoding).content for one in sliced(table, spans)]


def sliced(table: pa.Table, spans: int) -> Iterator[pa.Table]:
    """The batches of a table."""
    return (table.slice(first, spans) for first in range(0, len(table), spans))


def _in_groups(spans: pa.Table, group: Ints) -> pa.Table:
    """Ids of traces with the number of their group in the first bytes: no trace reaches into the next one."""
    ids = np.frombuffer(spans["trace_id"].combine_chunks().buffers()[1], dtype=">u4").reshape(-1, 4).copy()
    ids[:, 0] ^= group.astype(np.uint32)
    column = fixed_size_binary(np.ascontiguousarray(ids).view("V16").reshape(-1), 16)
    return spans.set_column(spans.column_names.index("trace_id"), "trace_id", column)


def _with_attributes(spans: pa.Table, service: Ints, instance: Ints, rng: np.random.Generator) -> pa.Table:
    encoded = spans["operation"].combine_chunks().dictionary_encode()
    operations: list[str] = encoded.dictionary.to_pylist()
    operation = encoded.indices.to_numpy().astype(np.int64)
    shape = np.array([_shape(name) for name in operations], dtype=np.int64)[operation]
    exception = rng.random(len(spans)) < EXCEPTION_SHARE
    failed = exception & (rng.random(len(spans)) < FAILED_SHARE)
    made = sdk_attributes.of(shape, operation, operations, instance, exception, rng)
    columns = {
        "service": words(service, SERVICES),
        "kind": words(shape, _KINDS),
        "status": words(failed.astype(np.int64), ("ok", "error")),
        "attributes": map_of_strings(*made),
    }
    for name, column in columns.items():
        spans = spans.set_column(spans.column_names.index(name), name, column)
    return spans.cast(SCHEMA)


def _shape(operation: str) -> int:
    """Which instrumentation makes a span of this name: a place in SHAPES."""
    if operation.startswith("/"):
        return 0
    if operation.startswith("HTTP "):
        return 1
    return 2 if operation.startswith("SELECT ") else 3


def _micros(spans: pa.Table) -> Ints:
    micros: Ints = pc.cast(spans["started_at"], pa.int64()).to_numpy()
    return micros


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.spans.sdk",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batches", type=int, default=1_000)
    parser.add_argument("--spans", type=int, default=50, help="of a batch")
    parser.add_argument("--format", choices=FORMATS, default="otlp")
    parser.add_argument("--encoding", choices=ENCODINGS, default="gzip")
    said = parser.parse_args(arguments)
    said.folder.mkdir(parents=True, exist_ok=True)
    bodies = sdk_batches(said.seed, said.batches, said.spans, form=said.format, encoding=said.encoding)
    for at, body in enumerate(bodies):
        (said.folder / f"{at:06d}").write_bytes(body)


if __name__ == "__main__":
    main()
