"""An agent: posts a batch until it is answered for good, as docs/http-api.md asks of agents."""

import base64
import hashlib
import json
import random
import threading
import time
from dataclasses import dataclass
from enum import StrEnum

from bench.agents.encode import Body
from bench.agents.wire import Answer, HttpConnection

TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
USER_AGENT = "sluice-bench/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One body under one id; the same id always names the same bytes."""

    batch_id: str
    body: Body
    events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Waits double from the first to the longest; a server's Retry-After is never undercut."""

    give_up_after_s: float = 120.0
    first_wait_s: float = 0.1
    longest_wait_s: float = 5.0
    timeout_s: float = 30.0  # without a byte, then the outcome is unknown


class PostOutcome(StrEnum):
    ACCEPTED = "accepted"
    REFUSED = "refused"  # these bytes would be refused again
    GIVEN_UP = "given up"  # no final answer within the bound, or told to stop: perhaps kept, perhaps not


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of a batch. `latency_s`: of the try that was answered for good, from sending to answer."""

    batch_id: str
    events: int
    size: int
    outcome: PostOutcome
    status: int  # of the last answer, 0 when there was none
    tries: int
    latency_s: float
    detail: str


class Agent:
    """One connection with one customer's key. Not for several threads at once."""

    def __init__(
        self, url: str, key: str, *, retry: Retry | None = None, stop: threading.Event | None = None
    ) -> None:
        self._retry = retry or Retry()
        self._connection = HttpConnection(url, timeout_s=self._retry.timeout_s)
        self._authorization = f"Bearer {key}"
        self._stop = stop or threading.Event()
        self._random = random.Random()

    def send(self, batch: Batch) -> Sent:
        """Post until accepted, refused, or the bound is reached; raises nothing that a server can cause."""
        headers = self._headers(batch)
        give_up_at = time.monotonic() + self._retry.give_up_after_s
        wait_s, tries = self._retry.first_wait_s, 0
        while True:
            tries += 1
            began = time.perf_counter()
            answer, problem = self._try(batch.body, headers)
            latency_s = time.perf_counter() - began
            if answer is not None and answer.status not in TRY_AGAIN:
                outcome = PostOutcome.ACCEPTED if 200 <= answer.status < 300 else PostOutcome.REFUSED
                break
            pause_s = _retry_after_s(answer) + self._random.uniform(0.5, 1.0) * wait_s
            wait_s = min(2 * wait_s, self._retry.longest_wait_s)
            if time.monotonic() + pause_s > give_up_at or self._stop.wait(pause_s):
                outcome = PostOutcome.GIVEN_UP
                break
        return Sent(
            batch_id=batch.batch_id,
            events=batch.events,
            size=len(batch.body.content),
            outcome=outcome,
            status=answer.status if answer else 0,
            tries=tries,
            latency_s=latency_s,
            detail="" if outcome is PostOutcome.ACCEPTED else _explained(answer, problem),
        )

    def close(self) -> None:
        self._connection.close()

    def _headers(self, batch: Batch) -> dict[str, str]:
        digest = base64.b64encode(hashlib.sha256(batch.body.content).digest()).decode()
        headers = {
            "Authorization": self._authorization,
            "User-Agent": USER_AGENT,
            "Content-Type": batch.body.content_type,
            "Idempotency-Key": batch.batch_id,
            "Content-Digest": f"sha-256=:{digest}:",
        }
        if batch.body.content_encoding:
            headers["Content-Encoding"] = batch.body.content_encoding
        return headers

    def _try(self, body: Body, headers: dict[str, str]) -> tuple[Answer | None, str]:
        try:
            return self._connection.post(body.path, headers, body.content), ""
        except OSError as problem:
            return None, f"{type(problem).__name__}: {problem}"


def _retry_after_s(answer: Answer | None) -> float:
    """Seconds as the server asked, 0 when it did not, or gave a date."""
    asked = answer.headers.get("retry-after", "") if answer else ""
    return float(asked) if asked.isdigit() else 0.0


def _explained(answer: Answer | None, problem: str) -> str:
    """One line that a person can act on."""
    if answer is None:
        return problem or "no answer"
    try:
        told = json.loads(answer.body)
        text = " ".join(str(told[name]) for name in ("type", "detail") if name in told)
    except (ValueError, TypeError):
        text = ""
    return f"{answer.status} {text}".strip()
