"""Limits at the receiver: several workers count together, bodies are not read, others do not notice."""

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from google.rpc import code_pb2, status_pb2  # type: ignore[import-untyped] # it ships none

import db.customers.quota_use
from db.clock import today
from db.engine import read
from tests import receiver as receivers
from tests.commands import flask, flask_json
from tests.receiver import DEADLINE_S, Home, Receiver, until
from webapp.terminal.exits import Exit

BODY = b'{"event": 1}\n'
SETTINGS = {"SLUICE_HTTP_WORKERS": "3", "SLUICE_HTTP_KEY_FRESH_S": "1"}


@pytest.fixture(scope="module")
def receiver(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    folder = tmp_path_factory.mktemp("receiver")
    with receivers.running(folder, {**home.environment, **SETTINGS}) as receiver:
        yield receiver


def statuses(receiver: Receiver, key: str, count: int, body: bytes = BODY) -> list[int]:
    """What posts on connections of their own, hence over all workers, are answered."""

    def post(_: int) -> int:
        return receiver.post(key, body, connection="close").status_code

    with ThreadPoolExecutor(8) as crowd:
        return list(crowd.map(post, range(count)))


def request(receiver: Receiver, key: str, *headers: str) -> socket.socket:
    """A connection on which a batch's headers were sent and nothing of its body."""
    connection = socket.create_connection(("127.0.0.1", receiver.port), timeout=DEADLINE_S)
    lines = ["POST /v1/batches HTTP/1.1", "Host: test", f"Authorization: Bearer {key}"]
    lines += ["Content-Type: application/x-ndjson", *headers, "", ""]
    connection.sendall("\r\n".join(lines).encode())
    return connection


def refused_beside(receiver: Receiver, key: str, slow: list[socket.socket]) -> httpx.Response | None:
    """The refusal of a batch beside these slow ones; one of them that was itself refused, because such a
    batch was quicker, is begun again.
    """
    posted = receiver.post(key, BODY)
    if posted.status_code == 429:
        return posted
    for at, connection in enumerate(slow):
        if select.select([connection], [], [], 0)[0]:
            connection.close()
            slow[at] = request(receiver, key, f"Content-Length: {len(BODY)}", "Connection: close")
    return None


def answer(connection: socket.socket) -> bytes:
    """All that comes before the server closes."""
    with connection:
        parts = []
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def test_workers_count_together_and_other_customers_do_not_notice(
    receiver: Receiver, home: Home, slug: str
) -> None:
    key, other = home.add(f"{slug}-a"), home.add(f"{slug}-b")
    home.limit(f"{slug}-a", bytes_per_second=1)
    # One batch is paid for in more than an hour, so that how fast the machine is changes nothing.
    flood = statuses(receiver, key, 60, BODY * 300)
    assert (set(flood), flood.count(202)) == ({202, 429}, 1)
    assert set(statuses(receiver, other, 20)) == {202}
    assert len(home.envelopes(f"{slug}-a")) == flood.count(202)


def test_a_refusal_says_which_limit_that_nothing_was_kept_and_when_it_will_fit(
    receiver: Receiver, home: Home, slug: str
) -> None:
    key = home.add(slug)
    home.limit(slug, bytes_per_second=100)
    big = BODY * 100
    # Larger than a second's worth, and let in all the same; it is paid for in 13 s.
    assert receiver.post(key, big).status_code == 202
    refused = receiver.post(key, BODY)
    assert (refused.status_code, refused.headers["content-type"]) == (429, "application/problem+json")
    problem = refused.json()
    assert (problem["type"], problem["retry"]) == ("/problems/too-many-bytes", "later")
    assert (problem["kept"], problem["limit"], problem["allowed"]) == (False, "bytes_per_second", 100)
    assert 2 <= int(refused.headers["retry-after"]) <= 20
    otlp = {"path": "/v1/traces", "content_type": "application/x-protobuf"}
    refused = receiver.post(key, b"x", **otlp)
    assert (refused.status_code, refused.headers["content-type"]) == (429, "application/x-protobuf")
    assert int(refused.headers["retry-after"]) >= 1
    assert status_pb2.Status.FromString(refused.content).code == code_pb2.RESOURCE_EXHAUSTED
    assert [len(one.body) for one in home.envelopes(slug)] == [len(big)]


@pytest.mark.parametrize("header", ["Content-Length: 4000000", "Transfer-Encoding: chunked"])
def test_the_body_of_a_refused_batch_is_not_waited_for(
    receiver: Receiver, home: Home, slug: str, header: str
) -> None:
    key = home.add(slug)
    home.limit(slug, bytes_per_second=1_000)
    assert receiver.post(key, BODY * 8_000).status_code == 202
    # No byte of the body is ever sent, and the deadline for bodies is 30 s.
    begun = time.monotonic()
    head, _, document = answer(request(receiver, key, header)).partition(b"\r\n\r\n")
    assert time.monotonic() - begun < 15
    assert head.startswith(b"HTTP/1.1 429 ")
    assert b"connection: close" in head.lower()
    assert json.loads(document)["type"] == "/problems/too-many-bytes"


def test_a_body_in_chunks_costs_what_it_had(receiver: Receiver, home: Home, slug: str) -> None:
    key = home.add(slug)
    home.limit(slug, bytes_per_second=10_000, daily_bytes=10**9)
    for _ in range(3):
        sent = until(
            lambda: receiver.post(key, iter([BODY, BODY])).status_code == 202, "a body in chunks to fit"
        )
        assert sent


def test_slow_bodies_hold_no_more_requests_than_allowed(receiver: Receiver, home: Home, slug: str) -> None:
    key = home.add(slug)
    home.limit(slug, concurrent_requests=3)
    slow = [request(receiver, key, f"Content-Length: {len(BODY)}", "Connection: close") for _ in range(3)]
    refused = until(lambda: refused_beside(receiver, key, slow), "three requests under way")
    assert refused.json()["type"] == "/problems/too-many-requests"
    assert set(statuses(receiver, key, 12)) == {429}
    for connection in slow:
        connection.sendall(BODY)
    assert {answer(connection)[:12] for connection in slow} == {b"HTTP/1.1 202"}
    assert receiver.post(key, BODY).status_code == 202


def test_a_change_takes_effect_without_a_restart_and_can_be_seen(
    receiver: Receiver, home: Home, slug: str
) -> None:
    key = home.add(slug)
    assert set(statuses(receiver, key, 12)) == {202}
    set_ = flask(home, "customers", "limit", slug, "--bytes-per-second", "1", "--batches-per-second", "9")
    assert set_.exit_code == Exit.OK
    assert f"bytes_per_second of {slug}: none → 1" in set_.stderr
    until(lambda: set(statuses(receiver, key, 12)) == {429}, "the limit in all workers", deadline_s=10)
    shown = flask_json(home, "customers", "show", slug)
    assert (shown["bytes_per_second"], shown["batches_per_second"], shown["daily_bytes"]) == (1, 9, None)
    lifted = flask(home, "customers", "limit", slug, *["--bytes-per-second", "none"])
    assert f"bytes_per_second of {slug}: 1 → none" in lifted.stderr
    until(lambda: receiver.post(key, BODY).status_code == 202, "the limit to be lifted", deadline_s=10)
    assert flask_json(home, "customers", "show", slug)["batches_per_second"] == 9
    lines = receiver.metrics().splitlines()
    assert f'sluice_http_limit{{customer="{slug}",limit="batches_per_second"}} 9.0' in lines
    assert any(
        line.startswith(f'sluice_http_limited_total{{customer="{slug}",limit="bytes_per_second"}}')
        for line in lines
    )


def test_a_quota_counts_what_was_accepted_over_restarts_and_receivers(
    home: Home, slug: str, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> None:
    key = home.add(slug)
    customer_id = home.limit(slug, daily_bytes=100)
    for wrong in range(20):
        # Refused ones do not count.
        answered = receiver.post(key, BODY, content_digest="sha-256=:AAAA:", idempotency_key=str(wrong))
        assert answered.status_code == 400
    assert [receiver.post(key, BODY).status_code for _ in range(7)] == [202] * 7
    refused = receiver.post(key, BODY)
    assert (refused.status_code, refused.json()["type"]) == (429, "/problems/quota-used-up")
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400 + 61
    assert receiver.post(key, b"{}  \n{}  ").status_code == 202

    def written() -> int:
        with read(home.engine) as connection:
            return db.customers.quota_use.total(connection, customer_id, today(connection))

    until(lambda: written() == 100, "the count to be written")
    assert flask_json(home, "customers", "show", slug)["bytes_today"] == 100
    with receivers.running(tmp_path_factory.mktemp("second"), home.environment) as second:
        assert second.post(key, BODY).json()["type"] == "/problems/quota-used-up"
        home.limit(slug, daily_bytes=200)
        until(lambda: second.post(key, BODY).status_code == 202, "the larger quota", deadline_s=30)
    # What it had not written when it was told to stop, it wrote then.
    assert written() >= 100 + len(BODY)


def test_what_a_killed_worker_had_under_way_is_released_and_its_counts_stay(
    receiver: Receiver, home: Home, slug: str
) -> None:
    key = home.add(slug)
    home.limit(slug, concurrent_requests=1, daily_bytes=10**6)
    held = [request(receiver, key, f"Content-Length: {len(BODY)}", "Connection: close")]
    until(lambda: refused_beside(receiver, key, held), "the request to be under way")
    for pid in receiver.workers():
        os.kill(pid, signal.SIGKILL)
    held[0].close()

    def accepted() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return receiver.post(key, BODY).status_code == 202
        return False

    until(accepted, "the next workers to let it in")


@pytest.mark.parametrize("wrong", ["0", "-1", "1.5", "many", "1e3", str(10**15 + 1), "9" * 40])
def test_a_limit_that_makes_no_sense_is_refused_with_what_would(home: Home, slug: str, wrong: str) -> None:
    home.add(slug)
    refused = flask(home, "customers", "limit", slug, f"--daily-bytes={wrong}")
    assert refused.exit_code == Exit.USAGE
    assert "whole number from 1 to 10^15" in refused.stderr
    assert flask_json(home, "customers", "show", slug)["daily_bytes"] is None


def test_a_limit_command_that_names_none_or_an_unknown_customer_changes_nothing(
    home: Home, slug: str
) -> None:
    home.add(slug)
    assert flask(home, "customers", "limit", slug).exit_code == Exit.USAGE
    assert flask(home, "customers", "limit", f"{slug}-x", "--concurrent", "1").exit_code == Exit.NOT_FOUND


def test_an_answer_asks_before_a_limit_refuses(receiver: Receiver, home: Home, slug: str) -> None:
    key = home.add(slug)
    asked = receiver.post(key, BODY).headers.keys()
    assert not [name for name in asked if name.startswith("sluice-")]
    home.limit(slug, daily_bytes=4 * len(BODY))

    # Until the quota is known everywhere, there are some without.
    time.sleep(1.5)
    found: list[tuple[int, bool]] = []
    for _ in range(6):
        answer = receiver.post(key, BODY, origin="https://shop.example")
        assert "Sluice-Next-Batch-Max-Bytes" in answer.headers["access-control-expose-headers"]
        found.append((answer.status_code, "sluice-next-batch-max-bytes" in answer.headers))
    assert found[-1] == (429, False)
    assert [one for one in found if one[0] == 202][-1] == (202, True), "the last one that fits asks"
