"""POST /v1/batches against a real gunicorn, broker and database: what is kept, and what is refused."""

import base64
import gzip
import hashlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.receiver import DEADLINE_S, Home, Receiver
from webapp.problems import PROBLEMS
from webapp.settings import MIB

BODY = b'{"event": 1}\n'
SHA = hashlib.sha256(BODY)
SECOND_US = 1_000_000


@pytest.fixture
def key(home: Home, slug: str) -> str:
    return home.add(slug)


@pytest.mark.parametrize(
    ("content_type", "format_name"),
    [
        ("application/vnd.apache.arrow.stream", "arrow"),
        ("application/x-ndjson", "ndjson"),
        ("application/json", "json"),
        ("Application/JSON; charset=utf-8", "json"),
    ],
)
def test_an_accepted_batch_lies_in_the_stream_as_it_came(
    receiver: Receiver, home: Home, key: str, slug: str, content_type: str, format_name: str
) -> None:
    before = time.time_ns() // 1000
    answer = receiver.post(key, BODY, content_type=content_type, idempotency_key="one!", user_agent="probe/1")
    assert (answer.status_code, answer.json()) == (202, {"batch_id": "one!"})
    [envelope] = home.envelopes(slug)
    assert before - SECOND_US <= envelope.accepted_at_us <= time.time_ns() // 1000 + SECOND_US
    assert bytes(envelope.body) == BODY
    assert (envelope.batch_id, envelope.customer, envelope.agent) == ("one!", slug, "probe/1")
    assert (envelope.format, envelope.content_encoding) == (format_name, "")
    assert (envelope.content_type, envelope.discarded) == (content_type.partition(";")[0].lower(), False)
    assert envelope.digest == SHA.digest()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "br"])
def test_the_receiver_does_not_look_inside(
    receiver: Receiver, home: Home, key: str, slug: str, encoding: str
) -> None:
    assert receiver.post(key, b"\x00garbage", content_encoding=encoding).status_code == 202
    [envelope] = home.envelopes(slug)
    assert (bytes(envelope.body), envelope.content_encoding) == (b"\x00garbage", encoding)


def test_without_an_id_the_batch_is_known_by_its_bytes(
    receiver: Receiver, home: Home, key: str, slug: str
) -> None:
    answers = [receiver.post(key, BODY).json() for _ in range(2)]
    made = hashlib.sha256(SHA.digest() + b" ndjson ").hexdigest()
    assert answers == [{"batch_id": made}] * 2
    assert [one.batch_id for one in home.envelopes(slug)] == [made] * 2


def test_without_an_id_the_same_bytes_of_another_format_or_encoding_are_another_batch(
    receiver: Receiver, home: Home, key: str, slug: str
) -> None:
    types = ("application/vnd.apache.arrow.stream", "application/x-ndjson", "application/json; charset=utf-8")
    for content_type in (*types, *types):
        for content_encoding in ("identity", "gzip", "x-gzip", "br"):
            sent = {"content_type": content_type, "content_encoding": content_encoding}
            assert receiver.post(key, BODY, **sent).status_code == 202
    made: dict[str, set[tuple[str, str]]] = {}
    for one in home.envelopes(slug):
        made.setdefault(one.batch_id, set()).add((one.format, one.content_encoding))
    assert sorted(map(len, made.values())) == [1] * 9


def test_a_retry_that_was_compressed_anew_is_the_same_batch(
    receiver: Receiver, home: Home, key: str, slug: str
) -> None:
    tries = [gzip.compress(BODY, mtime=second) for second in (1_700_000_000, 1_700_000_003)]
    for body in tries:
        assert receiver.post(key, body, content_encoding="gzip").status_code == 202
    first, second = home.envelopes(slug)
    assert (first.batch_id, first.digest) == (second.batch_id, second.digest)
    assert [bytes(first.body), bytes(second.body)] == tries


def test_a_chunked_body_is_taken(receiver: Receiver, home: Home, key: str, slug: str) -> None:
    def parts() -> Iterator[bytes]:
        yield BODY
        yield BODY * 1000

    assert receiver.post(key, parts()).status_code == 202
    [envelope] = home.envelopes(slug)
    assert bytes(envelope.body) == BODY * 1001


def test_a_body_at_the_limit_is_taken(receiver: Receiver, home: Home, key: str, slug: str) -> None:
    body = b"x" * (4 * MIB)
    assert receiver.post(key, body).status_code == 202
    [envelope] = home.envelopes(slug)
    assert bytes(envelope.body) == body


def test_a_long_agent_name_is_cut(receiver: Receiver, home: Home, key: str, slug: str) -> None:
    assert receiver.post(key, BODY, user_agent="a" * 1000).status_code == 202
    assert home.envelopes(slug)[0].agent == "a" * 128


def test_many_agents_at_once_lose_and_repeat_nothing(
    receiver: Receiver, home: Home, key: str, slug: str
) -> None:
    with ThreadPoolExecutor(32) as pool:
        posted = pool.map(lambda number: receiver.post(key, BODY, idempotency_key=str(number)), range(400))
        assert {answer.status_code for answer in posted} == {202}
    assert sorted(int(one.batch_id) for one in home.envelopes(slug)) == list(range(400))


DIGEST = f"sha-256=:{base64.b64encode(SHA.digest()).decode()}:"


def test_a_matching_digest_is_verified(receiver: Receiver, key: str) -> None:
    assert receiver.post(key, BODY, content_digest=DIGEST).status_code == 202


REFUSED: dict[str, tuple[bytes, dict[str, str], str]] = {
    "another type": (BODY, {"content_type": "text/plain"}, "unknown-content-type"),
    "no type": (BODY, {"content_type": ""}, "unknown-content-type"),
    "another encoding": (BODY, {"content_encoding": "lzma"}, "unknown-content-encoding"),
    "two encodings": (BODY, {"content_encoding": "gzip, br"}, "unknown-content-encoding"),
    "empty body": (b"", {}, "empty-body"),
    "empty id": (BODY, {"idempotency_key": ""}, "bad-batch-id"),
    "long id": (BODY, {"idempotency_key": "x" * 65}, "bad-batch-id"),
    "blank in id": (BODY, {"idempotency_key": "a b"}, "bad-batch-id"),
    "digest of another body": (BODY + b" ", {"content_digest": DIGEST}, "digest-mismatch"),
    "digest of the wrong form": (BODY, {"content_digest": "sha-256=abc"}, "bad-digest"),
    "digest of unknown algorithm": (BODY, {"content_digest": "md5=:AAAAAAAAAAAAAAAAAAAAAA==:"}, "bad-digest"),
    "above the limit": (b"x" * (4 * MIB + 1), {}, "body-too-large"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_named_and_not_published(
    receiver: Receiver, home: Home, key: str, slug: str, case: str
) -> None:
    body, headers, slug_of_problem = REFUSED[case]
    answer = receiver.post(key, body, **headers)
    kind = PROBLEMS[slug_of_problem]
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["type"]) == (kind.status, kind.uri)
    assert home.envelopes(slug) == []
    if kind.status == 415:
        assert problem["accepted"]
    if kind.status == 413:
        assert problem["limit_bytes"] == 4 * MIB
    page = receiver.get(problem["type"])
    assert (page.status_code, kind.remedy in page.text) == (200, True)


def test_a_refusal_by_the_announced_length_comes_before_any_of_the_body(receiver: Receiver, key: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=60)
    connection.putrequest("POST", "/v1/batches")
    for name, value in {
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
        "Content-Length": str(10**12),
    }.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_chunked_body_without_end_is_refused_at_the_limit(
    receiver: Receiver, home: Home, key: str, slug: str
) -> None:
    headers = f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked"
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=60) as connection:
        connection.sendall(f"POST /v1/batches HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode())
        for _ in range(65):
            connection.sendall(piece)
        answer = b""
        while b"limit_bytes" not in answer and (part := connection.recv(4096)):
            answer += part
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert home.envelopes(slug) == []


@pytest.mark.parametrize("authorization", ["Bearer {key}", "bearer  {key}", "{key}"])
def test_a_key_is_known_in_each_of_its_forms(
    receiver: Receiver, home: Home, key: str, slug: str, authorization: str
) -> None:
    headers = {"content-type": "application/json", "authorization": authorization.format(key=key)}
    answer = receiver.client.post(f"{receiver.url}/v1/batches", content=BODY, headers=headers)
    assert answer.status_code == 202
    assert len(home.envelopes(slug)) == 1


@pytest.mark.parametrize(
    "authorization",
    [
        *(None, "", "Bearer", "Basic abc", "Basic {key}", "Bearer sl_x", "Bearer {key}x"),
        *("Bearer sl_{slug}_{random}", "sl_{slug}_{random}", "{key}x", "{key} x", "Bearer,{key}"),
    ],
)
def test_a_wrong_key_tells_nothing_of_the_customer(
    receiver: Receiver, home: Home, key: str, slug: str, authorization: str | None
) -> None:
    def refused(customer: str) -> tuple[int, Any, str]:
        headers = {"content-type": "application/json"}
        if authorization is not None:
            headers["authorization"] = authorization.format(key=key, slug=customer, random="A" * 43)
        answer = receiver.client.post(f"{receiver.url}/v1/batches", content=BODY, headers=headers)
        return answer.status_code, answer.json(), answer.headers["www-authenticate"]

    assert refused(slug) == refused("no-such-customer")
    assert refused(slug)[0] == 401
    assert home.envelopes(slug) == []


def test_a_connection_is_of_use_after_each_refusal(receiver: Receiver, key: str) -> None:
    with httpx.Client(
        base_url=receiver.url, headers={"authorization": f"Bearer {key}"}, timeout=DEADLINE_S
    ) as agent:
        for body, headers, _slug in REFUSED.values():
            sent = {"content-type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
            refusal = agent.post("/v1/batches", content=body, headers=sent)
            assert 400 <= refusal.status_code < 500
            # What is too large to be read in passing is not read, and the agent is told.
            assert (refusal.headers.get("connection") == "close") == (len(body) > 4 * MIB)
            good = agent.post("/v1/batches", content=BODY, headers={"content-type": "application/json"})
            assert good.status_code == 202


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/batches/", "/v2/batches", "/problems/none-such"])
def test_an_unknown_path_is_a_problem_too(receiver: Receiver, path: str) -> None:
    answer = receiver.get(path)
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/batches"), ("PUT", "/v1/traces"), ("POST", "/healthz")]
)
def test_an_unknown_method_is_a_problem_that_names_the_known_ones(
    receiver: Receiver, method: str, path: str
) -> None:
    answer = receiver.client.request(method, receiver.url + path)
    assert (answer.status_code, answer.json()["type"]) == (405, "/problems/method-not-allowed")
    assert answer.headers["allow"]


def test_a_page_of_any_origin_may_post(receiver: Receiver, key: str) -> None:
    asked = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    preflight = receiver.client.options(f"{receiver.url}/v1/batches", headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "*"
    allowed = preflight.headers["access-control-allow-headers"].lower().split(", ")
    assert {"authorization", "content-type", "idempotency-key"} <= set(allowed)
    posted = receiver.post(key, BODY, origin="https://shop.example")
    assert (posted.status_code, posted.headers["access-control-allow-origin"]) == (202, "*")


def test_neither_keys_nor_payloads_are_logged(receiver: Receiver, key: str) -> None:
    receiver.post(key, b"payload-that-nobody-logs")
    receiver.post(key, b"payload-that-nobody-logs", content_type="text/plain")
    log = receiver.log.read_text()
    assert key not in log
    assert "nobody-logs" not in log


def test_the_answers_of_health_are_json(receiver: Receiver) -> None:
    assert json.loads(receiver.get("/healthz").text) == {"alive": True}
    assert receiver.get("/readyz").json() == {"ready": True, "draining": False, "broker": True, "keys": True}
