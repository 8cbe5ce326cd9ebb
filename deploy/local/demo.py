"""Agents of the demo customers: traffic of now, in every format and encoding, until SIGTERM or Ctrl-C.

    python -m deploy.local.demo --url http://127.0.0.1:8000 --keys var/keys --rate 2000

The folder has one file a customer, named by its slug, with its key in it.
"""

import argparse
import random
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from bench.agents.agent import Batch, PostOutcome, Retry
from bench.agents.encode import encode
from bench.agents.fleet import RateLimiter, Tally, post_all
from bench.spans.generate import generate
from bench.spans.oddities import Oddities

#: (format, encoding, share): what is usual is frequent, everything is there
MIX = (
    ("arrow", "zstd", 30), ("otlp", "gzip", 25), ("ndjson", "gzip", 15), ("otlp-json", "none", 6),
    ("json", "deflate", 6), ("ndjson", "br", 6), ("otlp", "none", 6), ("arrow", "none", 6),
)  # fmt: skip
ROUND_S = 30.0  # between two lines of the log
CHUNK_S = 2.0  # of traffic that is made at once
# Shorter than the supervisor's patience, so that a receiver that hangs does not keep the agents from ending.
RETRY = Retry(give_up_after_s=60.0, timeout_s=4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    spans: pa.Table
    form: str
    encoding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoCustomer:
    slug: str
    key: str
    events_per_s: float


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    customers = read_customers(options.keys, options.rate)
    if not customers:
        print(
            f"no key in {options.keys}: flask customers add SLUG --key-file FILE makes one", file=sys.stderr
        )
        return 2
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    with ThreadPoolExecutor(len(customers)) as pool:
        running = [pool.submit(_send, customer, options.url, options.batch, stop) for customer in customers]
        for one in running:
            one.result()
    return 0


def read_customers(folder: Path, events_per_s: float) -> list[DemoCustomer]:
    """The customers whose keys lie in `folder`; the first sends the most, each next one half of that."""
    files = sorted(path for path in folder.glob("*") if path.is_file() and not path.name.startswith("."))
    whole = 2 - 0.5 ** (len(files) - 1)
    return [
        DemoCustomer(
            slug=path.name, key=path.read_text().strip(), events_per_s=events_per_s * 0.5**at / whole
        )
        for at, path in enumerate(files)
    ]


def plans(events_per_s: float, size: int, lasting_s: float) -> Iterator[Plan]:
    """Spans that start about now, made as they are asked for: `lasting_s` worth of them at the rate."""
    choose = random.Random()  # noqa: S311 - traffic, not secrets
    chunk = max(size, int(events_per_s * CHUNK_S))
    for _ in range(max(1, round(events_per_s * lasting_s / chunk))):
        spans = generate(
            chunk,
            seed=choose.getrandbits(64),
            first_start_us=time.time_ns() // 1_000 - int(1e6 * chunk / events_per_s),
            spans_per_s=events_per_s,
            odd=Oddities(),
        )
        for first in range(0, chunk, size):
            [(form, encoding, _)] = choose.choices(MIX, [share for *_, share in MIX])
            yield Plan(spans=spans.slice(first, size), form=form, encoding=encoding)


def batch_of(plan: Plan) -> Batch:
    """A batch under a new id."""
    body = encode(plan.spans, plan.form, plan.encoding)
    return Batch(batch_id=uuid.uuid4().hex, body=body, events=plan.spans.num_rows)


def _send(customer: DemoCustomer, url: str, size: int, stop: threading.Event) -> None:
    pace = RateLimiter(customer.events_per_s)
    while not stop.is_set():
        tally = post_all(
            plans(customer.events_per_s, size, ROUND_S),
            batch_of,
            url=url,
            key=customer.key,
            threads=2,
            pace=pace,
            retry=RETRY,
            stop=stop,
        )
        print(f"{customer.slug}: {_told(tally)}", flush=True)


def _told(tally: Tally) -> str:
    accepted = tally.batches[PostOutcome.ACCEPTED]
    slow = f"acknowledged within {tally.latency_ms(99):.0f} ms (p99)"
    told = f"{accepted} batches, {tally.events} events, {slow}, {tally.retries} retries"
    return "; ".join([told, *tally.problems[:1]])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local.demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", required=True, help="of the receiver")
    parser.add_argument("--keys", required=True, type=Path, help="folder with a file a customer")
    parser.add_argument("--rate", type=float, default=2_000.0, help="events a second, of all (%(default)s)")
    parser.add_argument("--batch", type=int, default=200, help="events in a batch (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
