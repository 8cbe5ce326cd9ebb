"""Agents of several customers that keep posting generated spans, whatever happens to the receiver."""

import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache

import pyarrow as pa

from bench.agents.agent import PostOutcome, Retry, Sent
from bench.agents.fleet import RateLimiter, post_all
from bench.replay import RowRange, batch_of
from bench.spans.generate import generate
from bench.spans.oddities import Oddities

SPANS = 60_000
SPANS_PER_S = 100.0
FIRST_US = time.time_ns() // 1000 - int(SPANS / SPANS_PER_S * 1e6)  # one for all threads
BATCH = 40
EVENTS_PER_S = 400.0
SENT_AS = (("arrow", "zstd"), ("otlp", "gzip"))
# An agent's own patience: longer than any fault, so that every batch gets its answer.
RETRY = Retry(give_up_after_s=120.0, first_wait_s=0.1, longest_wait_s=2.0, timeout_s=10.0)


@cache
def spans() -> pa.Table:
    """What every customer's agents post, from its beginning: spans of the last minutes, as agents send."""
    return generate(SPANS, seed=23, first_start_us=FIRST_US, spans_per_s=SPANS_PER_S, odd=Oddities())


@dataclass(kw_only=True)
class Stream:
    """One customer's agents and what they were answered."""

    slug: str
    key: str
    form: str
    encoding: str
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    answered: dict[str, Sent] = field(default_factory=dict)
    taken: list[RowRange] = field(default_factory=list)
    work: "Future[object] | None" = None

    def accepted(self) -> set[str]:
        """The ids of the batches that were answered 202 (200 for OTLP) so far."""
        return {
            batch_id for batch_id, sent in list(self.answered.items()) if sent.outcome is PostOutcome.ACCEPTED
        }

    def posted(self) -> pa.Table:
        """The spans of all batches that were begun."""
        return pa.concat_tables(spans().slice(one.first, one.last - one.first) for one in self.taken)


class Traffic:
    """Posts from its beginning to `stop`, which returns when every batch that was begun is answered."""

    def __init__(self, url: str, keys: Mapping[str, str]) -> None:
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(len(keys))
        self.streams = [
            Stream(slug=slug, key=key, form=form, encoding=encoding)
            for (slug, key), (form, encoding) in zip(keys.items(), SENT_AS, strict=True)
        ]
        for each in self.streams:
            each.work = self._pool.submit(self._post, url, each)

    def __enter__(self) -> "Traffic":
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._pool.shutdown()

    def stop(self) -> None:
        """Raises what an agent raised. Every batch that was begun has its answer then."""
        self._stopping.set()
        for each in self.streams:
            assert each.work is not None
            each.work.result()

    @property
    def tries(self) -> int:
        """Requests that were sent, first tries and repeats."""
        return sum(sent.tries for each in self.streams for sent in list(each.answered.values()))

    def _post(self, url: str, stream: Stream) -> None:
        post_all(
            self._plans(stream),
            lambda rows: batch_of(spans(), stream.run, rows, stream.form, stream.encoding),
            url=url,
            key=stream.key,
            threads=3,
            pace=RateLimiter(EVENTS_PER_S),
            retry=RETRY,
            on_sent=lambda sent: stream.answered.__setitem__(sent.batch_id, sent),
        )

    def _plans(self, stream: Stream) -> Iterator[RowRange]:
        for first in range(0, SPANS, BATCH):
            if self._stopping.is_set():
                return
            rows = RowRange(repetition=0, first=first, last=first + BATCH)
            stream.taken.append(rows)
            yield rows
