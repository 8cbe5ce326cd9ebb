"""Agents that keep posting spans whatever the cluster does, and a record of every answer with its time."""

import secrets
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa

from bench.agents.agent import Agent, PostOutcome, Retry, Sent
from bench.agents.encode import Body
from bench.agents.wire import Answer
from bench.replay import RowRange, batch_of
from bench.spans.generate import generate

SPANS = 100_000
BATCH = 40
THREADS = 4
PAUSE_S = 0.05  # between two batches of one agent
# Longer than any fault, so that every batch that was begun gets its answer.
RETRY = Retry(give_up_after_s=180.0, first_wait_s=0.1, longest_wait_s=1.0, timeout_s=30.0)


class WatchedAgent(Agent):
    """Tells of every try: when it was answered, and with which status (0: no answer)."""

    def __init__(self, url: str, key: str, answers: list[tuple[float, int]]) -> None:
        super().__init__(url, key, retry=RETRY)
        self._answers = answers

    def _try(self, body: Body, headers: dict[str, str]) -> tuple[Answer | None, str]:
        answer, problem = super()._try(body, headers)
        self._answers.append((time.monotonic(), answer.status if answer else 0))
        return answer, problem


class CustomerTraffic:
    """Posts as one customer from its beginning to `stop`."""

    def __init__(self, url: str, key: str) -> None:
        self.answers: list[tuple[float, int]] = []
        self.sent: list[Sent] = []
        self._spans = generate(SPANS, seed=31, spans_per_s=100.0)
        self._run = secrets.token_hex(4)
        self._begun = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(THREADS)
        self._work: list[Future[None]] = [self._pool.submit(self._post, url, key) for _ in range(THREADS)]

    def stop(self) -> None:
        """Returns when every batch that was begun has its answer; raises what an agent raised."""
        self._stopping.set()
        for work in self._work:
            work.result()
        self._pool.shutdown()

    def accepted_since(self, moment: float) -> int:
        """How many batches were answered 202 after this moment of the monotonic clock."""
        return sum(when > moment and status == 202 for when, status in list(self.answers))

    def statuses(self) -> Mapping[int, int]:
        """How often each status was answered; 0 stands for no answer."""
        return Counter(status for _, status in list(self.answers))

    def longest_silence_s(self, begin: float, end: float) -> float:
        """The longest time between two 202s, from one moment to another."""
        times = sorted(when for when, status in list(self.answers) if status == 202 and begin <= when <= end)
        return max(after - before for before, after in zip([begin, *times], [*times, end], strict=True))

    @property
    def accepted(self) -> int:
        return sum(sent.outcome is PostOutcome.ACCEPTED for sent in list(self.sent))

    def posted(self) -> pa.Table:
        """The spans of all batches that were begun."""
        return self._spans.slice(0, self._begun)

    def _post(self, url: str, key: str) -> None:
        agent = WatchedAgent(url, key, self.answers)
        try:
            while not self._stopping.wait(PAUSE_S):
                with self._lock:
                    first, self._begun = self._begun, self._begun + BATCH
                assert self._begun <= SPANS, "more was posted than there are spans"
                rows = RowRange(repetition=0, first=first, last=first + BATCH)
                self.sent.append(agent.send(batch_of(self._spans, self._run, rows, "arrow", "zstd")))
        finally:
            agent.close()
