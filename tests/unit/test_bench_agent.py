"""An agent of the bench does what docs/http-api.md asks of agents, against a real server that misbehaves."""

import base64
import hashlib
import threading
import time
from itertools import pairwise

import pytest

from bench.agents.agent import Agent, Batch, PostOutcome, Retry
from bench.agents.encode import Body
from bench.agents.fleet import RateLimiter, post_all
from bench.agents.wire import Broken, HttpConnection
from tests.scripted import scripted

KEY = "sl_acme_not-a-key"
FAST = Retry(give_up_after_s=20, first_wait_s=0.01, longest_wait_s=0.02, timeout_s=5)


def _batch(name: str = "b-1", events: int = 10) -> Batch:
    body = Body(
        content=name.encode() * 100,
        path="/v1/batches",
        content_type="application/x-ndjson",
        content_encoding="gzip",
    )
    return Batch(batch_id=name, body=body, events=events)


def test_a_batch_comes_with_key_id_digest_and_encoding() -> None:
    with scripted() as receiver:
        sent = Agent(receiver.url, KEY).send(_batch())
    [(_, path, headers, body)] = receiver.came
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert (sent.outcome, sent.status, sent.tries, path) == (PostOutcome.ACCEPTED, 202, 1, "/v1/batches")
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Idempotency-Key"] == "b-1"
    assert headers["Content-Digest"] == f"sha-256=:{digest}:"
    assert (headers["Content-Type"], headers["Content-Encoding"]) == ("application/x-ndjson", "gzip")
    assert body == _batch().body.content


def test_one_connection_serves_many_batches() -> None:
    with scripted() as receiver:
        agent = Agent(receiver.url, KEY)
        assert all(agent.send(_batch(f"b-{at}")).tries == 1 for at in range(20))
        agent.close()
    assert receiver.connections == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 0])
def test_what_may_pass_is_tried_again_with_the_same_bytes_under_the_same_id(status: int) -> None:
    with scripted((status, {}), (status, {}), (202, {})) as receiver:
        sent = Agent(receiver.url, KEY, retry=FAST).send(_batch())
    assert (sent.outcome, sent.tries) == (PostOutcome.ACCEPTED, 3)
    assert {(headers["Idempotency-Key"], body) for _, _, headers, body in receiver.came} == {
        ("b-1", _batch().body.content)
    }


@pytest.mark.parametrize("status", [400, 401, 403, 413, 415])
def test_what_would_be_refused_again_is_sent_once(status: int) -> None:
    with scripted((status, {})) as receiver:
        sent = Agent(receiver.url, KEY, retry=FAST).send(_batch())
    assert (sent.outcome, sent.status, sent.tries, len(receiver.came)) == (PostOutcome.REFUSED, status, 1, 1)
    assert sent.detail == f"{status} /problems/some why"


def test_retry_after_is_never_undercut() -> None:
    with scripted((503, {"Retry-After": "1"}), (202, {})) as receiver:
        Agent(receiver.url, KEY, retry=FAST).send(_batch())
    [first, second] = [came[0] for came in receiver.came]
    assert second - first >= 1


def test_waits_grow_between_tries() -> None:
    retry = Retry(give_up_after_s=20, first_wait_s=0.05, longest_wait_s=10)
    with scripted(*[(503, {})] * 4, (202, {})) as receiver:
        Agent(receiver.url, KEY, retry=retry).send(_batch())
    waits = [later[0] - sooner[0] for sooner, later in pairwise(receiver.came)]
    assert all(wait >= 0.5 * 0.05 * 2**at for at, wait in enumerate(waits))


def test_an_agent_gives_up_after_its_bound_and_says_so() -> None:
    retry = Retry(give_up_after_s=0.2, first_wait_s=0.02, longest_wait_s=0.05)
    with scripted((503, {})) as receiver:
        sent = Agent(receiver.url, KEY, retry=retry).send(_batch())
    assert (sent.outcome, sent.status) == (PostOutcome.GIVEN_UP, 503)
    assert sent.tries == len(receiver.came) > 1


def test_nobody_listening_is_no_answer_and_not_an_error() -> None:
    with scripted() as receiver:
        url = receiver.url
    retry = Retry(give_up_after_s=0.1, first_wait_s=0.02, longest_wait_s=0.05)
    sent = Agent(url, KEY, retry=retry).send(_batch())
    assert (sent.outcome, sent.status) == (PostOutcome.GIVEN_UP, 0)
    assert "ConnectionRefusedError" in sent.detail


def test_a_server_that_does_not_answer_in_time_is_tried_again() -> None:
    retry = Retry(give_up_after_s=0.3, first_wait_s=0.01, longest_wait_s=0.02, timeout_s=0.1)
    with scripted(slow_s=1.0) as receiver:
        sent = Agent(receiver.url, KEY, retry=retry).send(_batch())
    assert (sent.outcome, sent.detail.split(":")[0]) == (PostOutcome.GIVEN_UP, "TimeoutError")
    assert sent.tries > 1


def test_a_kept_connection_that_the_server_closed_is_opened_again_without_a_retry() -> None:
    with scripted((202, {"X-Close": "1"}), (202, {})) as receiver:
        agent = Agent(receiver.url, KEY, retry=FAST)
        assert [agent.send(_batch(f"b-{at}")).tries for at in range(3)] == [1, 1, 1]
        agent.close()
    assert receiver.connections == 2


def test_an_answer_in_chunks_is_not_taken_for_a_whole_one() -> None:
    with (
        scripted((202, {"Transfer-Encoding": "chunked"})) as receiver,
        pytest.raises(Broken, match="chunks"),
    ):
        HttpConnection(receiver.url, timeout_s=5).post("/v1/batches", {}, b"body")


def test_all_plans_are_sent_once_by_many_threads() -> None:
    with scripted() as receiver:
        tally = post_all(range(200), lambda at: _batch(f"b-{at}"), url=receiver.url, key=KEY, threads=8)
    assert tally.batches[PostOutcome.ACCEPTED] == 200
    assert tally.events == 2_000
    assert sorted(headers["Idempotency-Key"] for _, _, headers, _ in receiver.came) == sorted(
        f"b-{at}" for at in range(200)
    )
    assert tally.latency_ms(50) <= tally.latency_ms(99) <= tally.latency_ms(100)


def test_the_tally_counts_refusals_retries_and_names_problems() -> None:
    with scripted((503, {}), (400, {}), (202, {})) as receiver:
        tally = post_all(
            range(3), lambda at: _batch(f"b-{at}"), url=receiver.url, key=KEY, threads=1, retry=FAST
        )
    assert tally.batches == {PostOutcome.ACCEPTED: 2, PostOutcome.REFUSED: 1, PostOutcome.GIVEN_UP: 0}
    assert tally.retries == 1
    assert tally.problems == ["b-0: refused after 2 tries: 400 /problems/some why"]


def test_events_pass_at_the_given_rate() -> None:
    with scripted() as receiver:
        began = time.monotonic()
        post_all(
            range(21),
            lambda at: _batch(f"b-{at}"),
            url=receiver.url,
            key=KEY,
            threads=4,
            pace=RateLimiter(500),
        )
        took_s = time.monotonic() - began
    assert took_s >= 20 * 10 / 500 - 0.01


def test_a_stop_ends_the_sending_in_the_middle_of_a_wait() -> None:
    stop = threading.Event()
    with scripted((503, {"Retry-After": "60"})) as receiver:
        threading.Timer(0.2, stop.set).start()
        began = time.monotonic()
        tally = post_all(range(1_000), lambda at: _batch(f"b-{at}"), url=receiver.url, key=KEY, stop=stop)
    assert time.monotonic() - began < 10
    assert tally.batches[PostOutcome.GIVEN_UP] > 0


def test_what_making_a_batch_raises_comes_out() -> None:
    with scripted() as receiver, pytest.raises(ZeroDivisionError):
        post_all(range(10), lambda at: _batch(str(1 // at)), url=receiver.url, key=KEY)
