#!/usr/bin/env python
"""Post a Parquet file of spans as an agent would, and check what the database then holds.

    bench/replay.py spans.parquet --url http://127.0.0.1:8000 --key-file acme.key --format otlp

With --check the customer has to be fresh: everything that the database holds of it is compared with a
calculation over the file. Exit code 1: batches were not accepted, or something differs.
"""

import argparse
import hashlib
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

if not __package__:  # started as a file: the project's rooms are beside this one
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.agents.agent import Batch, PostOutcome, Retry
from bench.agents.encode import ENCODINGS, FORMATS, OTLP_FORMATS, encode
from bench.agents.fleet import RateLimiter, Tally, post_all
from bench.check.verdict import ReplayCheck
from bench.spans.generate import SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRange:
    """Rows first:last of the file, sent in the repetition `repetition` of the file (from 0)."""

    repetition: int
    first: int
    last: int


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    spans = read_spans(options.file)
    if options.rows is not None:
        spans = spans.slice(0, options.rows)
    check = None
    if options.check:
        check = ReplayCheck.begin(
            options.database_url,
            options.customer,
            books=options.books,
            patience_s=options.patience,
            otlp=options.format in OTLP_FORMATS,
        )
    tally = _replay(spans, file_digest(options.file), options)
    _tell(tally)
    sent_all = not tally.batches[PostOutcome.REFUSED] and not tally.batches[PostOutcome.GIVEN_UP]
    if check is None:
        return 0 if sent_all else 1
    if not sent_all:
        print("not checked: the database cannot hold what was not accepted", file=sys.stderr)
        return 1
    same = check.conclude(
        pa.concat_tables([spans] * options.repeat), accepted=tally.batches[PostOutcome.ACCEPTED]
    )
    return 0 if same else 1


def read_spans(path: Path) -> pa.Table:
    """The file's rows with SCHEMA. Raises ValueError naming the column that is missing or of another type."""
    table = pq.read_table(path)
    if missing := [name for name in SCHEMA.names if name not in table.column_names]:
        raise ValueError(f"{path} is not a file of spans: no column {', '.join(missing)}")
    return table.select(SCHEMA.names).cast(SCHEMA)


def file_digest(path: Path) -> str:
    """12 hex digits that stand for the file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def row_ranges(rows: int, size: int, repetitions: int) -> Iterator[RowRange]:
    """The file cut into batches of `size` rows, `repetitions` times over."""
    for repetition in range(repetitions):
        for first in range(0, rows, size):
            yield RowRange(repetition=repetition, first=first, last=min(first + size, rows))


def batch_of(spans: pa.Table, digest: str, rows: RowRange, form: str, encoding: str) -> Batch:
    """The batch of these rows. Its id follows from file, rows and representation, so that it names the same
    bytes in every run, and a second run changes nothing.
    """
    part = spans.slice(rows.first, rows.last - rows.first)
    batch_id = f"{digest}-{form}-{encoding}-{rows.repetition}-{rows.first}-{rows.last}"
    return Batch(batch_id=batch_id, body=encode(part, form, encoding), events=part.num_rows)


def _replay(spans: pa.Table, digest: str, options: argparse.Namespace) -> Tally:
    stop = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: stop.set())
    key = options.key or options.key_file.read_text().strip()
    total = spans.num_rows * options.repeat
    try:
        with tqdm(total=total, unit=" events", unit_scale=True, smoothing=0.1, mininterval=0.2) as bar:
            return post_all(
                row_ranges(spans.num_rows, options.batch, options.repeat),
                lambda rows: batch_of(spans, digest, rows, options.format, options.encoding),
                url=options.url,
                key=key,
                threads=options.threads,
                pace=RateLimiter(options.rate),
                retry=Retry(give_up_after_s=options.give_up_after),
                stop=stop,
                on_sent=lambda sent: (bar.update(sent.events), None)[1],
            )
    finally:
        signal.signal(signal.SIGINT, before)


def _tell(tally: Tally) -> None:
    accepted, refused, given_up = (tally.batches[outcome] for outcome in PostOutcome)
    print(f"accepted: {accepted} batches, {tally.events} events, {tally.size} bytes, {tally.retries} retries")
    print(f"acknowledged after: p50 {tally.latency_ms(50):.1f} ms, p99 {tally.latency_ms(99):.1f} ms")
    if refused or given_up:
        print(f"refused: {refused} batches, given up: {given_up}", file=sys.stderr)
    for problem in tally.problems:
        print(f"  {problem}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench/replay.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, metavar="FILE.parquet")
    parser.add_argument("--url", required=True, help="of the receiver, like http://127.0.0.1:8000")
    key = parser.add_mutually_exclusive_group(required=True)
    key.add_argument(
        "--key", help="the customer's key; other users of the machine can see it, --key-file hides it"
    )
    key.add_argument("--key-file", type=Path)
    parser.add_argument("--format", choices=FORMATS, default="arrow")
    parser.add_argument("--encoding", choices=ENCODINGS, default="zstd")
    parser.add_argument("--batch", type=_positive, default=1000, help="events in a batch (%(default)s)")
    parser.add_argument(
        "--rate", type=float, metavar="EVENTS_PER_S", help="at most; default: as fast as it goes"
    )
    parser.add_argument("--repeat", type=_positive, default=1, help="send the file so often, under new ids")
    parser.add_argument("--rows", type=_positive, help="only the first so many rows of the file")
    parser.add_argument("--threads", type=_positive, default=4, help="connections (%(default)s)")
    parser.add_argument(
        "--give-up-after", type=float, default=120.0, metavar="S", help="per batch (%(default)s)"
    )
    check = parser.add_argument_group("afterwards")
    check.add_argument(
        "--check", action="store_true", help="compare the database with a calculation over the file"
    )
    check.add_argument("--database-url", help="where the results are")
    check.add_argument(
        "--customer", metavar="SLUG", help="whose key it is; nothing may have been sent under it before"
    )
    check.add_argument(
        "--books", action="store_true", help="let `flask books` and `flask verify` have their say too"
    )
    check.add_argument(
        "--patience", type=float, default=60.0, metavar="S", help="without progress (%(default)s)"
    )
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) <= 0:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    sys.exit(main())
