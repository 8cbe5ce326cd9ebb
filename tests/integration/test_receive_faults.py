"""The receiver when its broker, its agents or its own processes fail."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from deploy.local import rabbitmq as local_rabbitmq
from deploy.local.rabbitmq import RabbitNode
from tests import receiver as receivers
from tests.receiver import DEADLINE_S, Home, Receiver, agents, until
from webapp.terminal.exits import Exit

BODY = b'{"event": 1}\n'


def test_no_confirm_no_acceptance_and_the_retry_is_the_same_batch(
    mortal_node: RabbitNode, sqlite_url: str, tmp_path: Path, slug: str
) -> None:
    patience = {"SLUICE_HTTP_PUBLISH_DEADLINE_S": "1"}
    with (
        receivers.home(sqlite_url, mortal_node) as home,
        receivers.running(tmp_path, {**home.environment, **patience}) as receiver,
    ):
        key = home.add(slug)
        assert receiver.post(key, BODY).status_code == 202
        near_its_limit = home.add(f"{slug}-near")
        home.limit(f"{slug}-near", batches_per_second=1)
        assert "sluice-next-batch-after" in receiver.post(near_its_limit, BODY).headers
        time.sleep(1)

        with receivers.frozen(mortal_node.pid):
            begun = time.monotonic()
            refused = receiver.post(key, BODY, idempotency_key="while-frozen")
            assert time.monotonic() - begun < 5
            assert (refused.status_code, refused.json()["type"]) == (503, "/problems/unavailable")
            assert 1 <= int(refused.headers["retry-after"]) <= 5
            asked = receiver.post(near_its_limit, BODY)
            assert (asked.status_code, [n for n in asked.headers if n.startswith("sluice-")]) == (503, [])
            assert not receiver.ready()
            assert receiver.get("/healthz").status_code == 200
        until(lambda: receiver.post(key, BODY, idempotency_key="while-frozen").status_code == 202, "the thaw")
        # The first try may have reached the stream: it did so under the same id, with the same bytes.
        assert {one.batch_id for one in home.envelopes(slug)[1:]} == {"while-frozen"}

        mortal_node.stop()
        assert receiver.post(key, BODY).status_code == 503
        until(lambda: not receiver.ready(), "readiness to turn false")
        local_rabbitmq.start(mortal_node.folder, name="mortal")
        until(receiver.ready, "readiness to return")
        # The stream's leader may take longer to return than the node's listener.
        until(lambda: receiver.post(key, BODY, idempotency_key="after").status_code == 202, "the stream")
        assert home.envelopes(slug)[-1].batch_id == "after"


def test_a_body_that_trickles_is_refused_at_its_deadline(home: Home, tmp_path: Path, slug: str) -> None:
    with receivers.running(tmp_path, {**home.environment, "SLUICE_HTTP_BODY_DEADLINE_S": "1"}) as receiver:
        key = home.add(slug)
        head = (
            f"POST /v1/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", receiver.port)) as agent:
            agent.sendall(head.encode())
            agent.settimeout(0.1)
            answer, end = b"", time.monotonic() + DEADLINE_S
            while not answer and time.monotonic() < end:
                agent.sendall(b"x")
                try:
                    answer = agent.recv(100)
                except TimeoutError:
                    continue
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert home.envelopes(slug) == []


def test_slow_bodies_do_not_outlast_their_deadline_and_give_the_threads_back(
    home: Home, tmp_path: Path, slug: str
) -> None:
    settings = {"SLUICE_HTTP_BODY_DEADLINE_S": "2", "SLUICE_HTTP_THREADS": "4", "SLUICE_HTTP_WORKERS": "1"}
    with receivers.running(tmp_path, {**home.environment, **settings}) as receiver:
        key = home.add(slug)
        head = (
            f"POST /v1/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
        )
        slow = [socket.create_connection(("127.0.0.1", receiver.port)) for _ in range(4)]
        for agent in slow:
            agent.sendall(head.encode())
        assert receiver.post(key, BODY).status_code == 202
        for agent in slow:
            agent.close()


@pytest.fixture
def customer(home: Home, slug: str) -> str:
    return home.add(slug)


def test_sigterm_turns_readiness_false_first_and_finishes_what_is_under_way(
    home: Home, customer: str, tmp_path: Path, slug: str
) -> None:
    with receivers.running(tmp_path, {**home.environment, "SLUICE_HTTP_DRAIN_S": "5"}) as receiver:
        receiver.process.terminate()
        draining = until(lambda: answered(receiver, "/readyz", 503), "readiness to turn false")
        assert draining.json()["draining"] is True
        assert receiver.post(customer, BODY, idempotency_key="draining").status_code == 202
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(receiver.post, customer, drip(6.5), idempotency_key="under-way")
            assert slow.result().status_code == 202
        assert receiver.process.wait(DEADLINE_S) == 0
    assert {one.batch_id for one in home.envelopes(slug)} == {"draining", "under-way"}


def test_without_a_drain_sigterm_stops_at_once(home: Home, tmp_path: Path) -> None:
    with receivers.running(tmp_path, {**home.environment, "SLUICE_HTTP_DRAIN_S": "0"}) as receiver:
        workers = receiver.workers()
        assert len(workers) == 2
        receiver.process.terminate()
        assert receiver.process.wait(DEADLINE_S) == 0
    # One that had to be killed is its parent's parent's to bury.
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the workers to be gone")


def test_a_worker_ends_after_as_many_requests_as_gunicorn_was_told(
    home: Home, customer: str, tmp_path: Path
) -> None:
    told = {"SLUICE_HTTP_WORKERS": "1", "GUNICORN_CMD_ARGS": "--max-requests 5", "SLUICE_HTTP_DRAIN_S": "0"}
    with receivers.running(tmp_path, {**home.environment, **told}) as receiver:
        [worker] = until(receiver.workers, "a worker")
        headers = {"authorization": f"Bearer {customer}", "content-type": "application/json"}
        for _ in range(10):
            # A connection each: the next worker takes those that wait.
            url = f"{receiver.url}/v1/batches"
            answer = httpx.post(url, content=BODY, headers=headers, timeout=DEADLINE_S)
            assert answer.status_code == 202
        until(lambda: worker not in receiver.workers(), "another worker")


def test_metrics_are_of_all_workers_and_outlive_a_killed_one(
    home: Home, customer: str, tmp_path: Path, slug: str
) -> None:
    with receivers.running(tmp_path, home.environment) as receiver:
        for _ in range(2):
            # A connection each, so that both workers get some.
            for _ in range(20):
                headers = {"authorization": f"Bearer {customer}", "content-type": "application/json"}
                answer = httpx.post(
                    f"{receiver.url}/v1/batches", content=BODY, headers=headers, timeout=DEADLINE_S
                )
                assert answer.status_code == 202
            replace_a_worker(receiver)
        # The shared client may hold a connection to the worker that was killed.
        receiver.client = agents()
        line = f'sluice_http_batches_total{{customer="{slug}",outcome="accepted"}} 40.0'
        assert line in receiver.metrics()
        receiver.post("no-key", BODY)
        assert 'sluice_http_refusals_total{problem="unauthenticated"} 1.0' in receiver.metrics()


def test_an_absurd_setting_stops_the_start_with_the_remedy(home: Home, tmp_path: Path) -> None:
    environment = {**home.environment, "SLUICE_HTTP_BODY_BYTES": "-5"}
    with receivers.running(tmp_path, environment, ready=False) as receiver:
        assert receiver.process.wait(DEADLINE_S) == Exit.MISCONFIGURED
    assert "SLUICE_HTTP_BODY_BYTES='-5'" in receiver.log.read_text()


def replace_a_worker(receiver: Receiver) -> None:
    killed = receiver.workers()[0]
    os.kill(killed, signal.SIGKILL)
    until(lambda: len({*receiver.workers()} - {killed}) == 2, "the worker to be replaced")


def answered(receiver: Receiver, path: str, status: int) -> httpx.Response | None:
    answer = receiver.get(path)
    return answer if answer.status_code == status else None


def drip(seconds: float) -> Iterator[bytes]:
    """A body that takes its time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield b"{}\n"
        time.sleep(0.2)
