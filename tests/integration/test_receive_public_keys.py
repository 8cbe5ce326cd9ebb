"""Public keys against a real gunicorn: what each lets in, where it may stand, how refusals are counted."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

import db.customers.rows
from db.clock import now_us
from db.customers import public_key_use, public_keys
from db.engine import read
from tests import receiver as receivers
from tests.commands import flask, flask_json
from tests.integration.beacons import BODY, GZIPPED, PAGE, SETTINGS, beacon, issued, problem
from tests.receiver import Home, Receiver, until
from webapp.limits.address_counts import MINUTE_S
from webapp.terminal.exits import Exit


@pytest.fixture(scope="module")
def receiver(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    folder = tmp_path_factory.mktemp("receiver")
    with receivers.running(folder, {**home.environment, **SETTINGS}) as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def secret_key(home: Home, slug: str) -> str:
    return home.add(slug)


def refused(home: Home, slug: str) -> int:
    with read(home.engine) as connection:
        customer = db.customers.rows.get(connection, slug)
        assert customer is not None
        return public_key_use.refused(connection).get(customer.id, 0)


def test_a_beacon_is_kept_as_what_its_query_says(receiver: Receiver, home: Home, slug: str) -> None:
    key = issued(home, slug)
    answer = beacon(receiver, key, GZIPPED, "&format=ndjson&encoding=gzip")
    assert answer.status_code == 202
    [envelope] = home.envelopes(slug)
    assert (envelope.format, envelope.content_encoding) == ("ndjson", "gzip")
    assert (envelope.content_type, bytes(envelope.body)) == ("application/x-ndjson", GZIPPED)
    # The same bytes with headers are the same batch.
    headers = {"content_encoding": "gzip", "origin": PAGE}
    assert receiver.post(key, GZIPPED, **headers).json() == answer.json()


def test_a_secret_key_in_the_query_is_refused_and_not_logged(
    receiver: Receiver, home: Home, slug: str, secret_key: str
) -> None:
    for authorization in ("", f"Bearer {secret_key}"):
        answer = beacon(receiver, secret_key, authorization=authorization)
        assert answer.status_code == 401
        assert answer.json()["type"] == "/problems/key-in-url"
    assert secret_key not in receiver.log.read_text()
    assert home.envelopes(slug) == []


def test_a_public_key_may_stand_in_the_header(receiver: Receiver, home: Home, slug: str) -> None:
    key = issued(home, slug)
    assert receiver.post(key, BODY, origin=PAGE).status_code == 202
    assert receiver.post(key, BODY, origin="https://other.example").status_code == 403


@pytest.mark.parametrize(
    ("rules", "headers", "expected"),
    [
        ({}, {"origin": "https://SHOP.example"}, None),
        ({}, {"origin": "https://shop.example.evil.example"}, "origin-not-allowed"),
        ({}, {"origin": "http://shop.example"}, "origin-not-allowed"),
        ({}, {"origin": "null"}, "origin-not-allowed"),
        ({}, {"origin": ""}, None),
        ({"origins": ("*",)}, {"origin": "https://other.example"}, None),
        ({"apps": ("shop",)}, {"origin": ""}, "app-not-allowed"),
        ({"apps": ("shop",)}, {"origin": "", "sluice_app_id": "shopx"}, "app-not-allowed"),
        ({"apps": ("shop",)}, {"origin": "", "sluice_app_id": "shop"}, None),
        ({"origins": (), "apps": ("shop",)}, {"sluice_app_id": "shop"}, "origin-not-allowed"),
    ],
)
def test_a_key_is_for_its_origins_and_apps(
    receiver: Receiver,
    home: Home,
    slug: str,
    rules: dict[str, Any],
    headers: dict[str, Any],
    expected: str | None,
) -> None:
    answer = beacon(receiver, issued(home, slug, **rules), **headers)
    if expected is None:
        assert answer.status_code == 202
        assert len(home.envelopes(slug)) == 1
    else:
        assert (answer.status_code, answer.json()["type"]) == (403, f"/problems/{expected}")
        assert home.envelopes(slug) == []


def test_a_key_that_expires_or_is_revoked_lets_nothing_in(receiver: Receiver, home: Home, slug: str) -> None:
    with read(home.engine) as connection:
        now = now_us(connection)
    assert problem(beacon(receiver, issued(home, slug, expires_at=now - 1))) == (401, "key-expired")
    key = issued(home, slug, expires_at=now + 3_600_000_000)
    assert beacon(receiver, key).status_code == 202
    assert flask(home, "customers", "revoke-public-key", slug, key).exit_code == Exit.OK
    until(lambda: beacon(receiver, key).status_code == 401, "the key to be refused everywhere")


def test_a_key_lets_in_its_bytes_and_batches_of_a_day_and_no_more(
    receiver: Receiver, home: Home, slug: str
) -> None:
    def statuses(key: str, count: int) -> list[int]:
        with ThreadPoolExecutor(8) as crowd:
            return [one.status_code for one in crowd.map(lambda _: beacon(receiver, key), range(count))]

    assert sorted(statuses(issued(home, slug, batches_a_day=5), 20)) == [202] * 5 + [429] * 15
    key = issued(home, slug, bytes_a_day=3 * len(BODY))
    assert sorted(statuses(key, 20)) == [202] * 3 + [429] * 17
    answer = beacon(receiver, key)
    assert problem(answer) == (429, "key-used-up")
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["limit"] == "bytes_a_day"
    assert len(home.envelopes(slug)) == 8


def test_a_body_in_chunks_takes_what_it_has_of_the_day(receiver: Receiver, home: Home, slug: str) -> None:
    url = f"{receiver.url}/v1/batches?format=ndjson&key={issued(home, slug, bytes_a_day=3 * len(BODY))}"

    def answer(times: int) -> httpx.Response:
        headers = {"content-type": "text/plain", "origin": PAGE, "connection": "close"}
        return receiver.client.post(url, content=iter([BODY] * times), headers=headers)

    assert problem(answer(4)) == (413, "body-too-large")
    assert answer(2).status_code == 202
    assert problem(answer(2)) == (429, "key-used-up")
    assert answer(1).status_code == 202


def test_what_is_refused_after_all_is_given_back(receiver: Receiver, home: Home, slug: str) -> None:
    key = issued(home, slug, bytes_a_day=len(BODY), batches_a_day=1)
    wrong = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
    for _ in range(3):
        assert beacon(receiver, key, content_digest=wrong).status_code == 400
    home.limit(slug, batches_per_second=1)
    assert beacon(receiver, key).status_code == 202
    assert beacon(receiver, key).status_code == 429


def test_an_address_has_its_requests_of_a_minute_in_all_workers(
    receiver: Receiver, home: Home, slug: str
) -> None:
    def accepted(key: str, address: str) -> int:
        with ThreadPoolExecutor(16) as crowd:
            posts = crowd.map(lambda _: beacon(receiver, key, x_forwarded_for=address), range(48))
            return [one.status_code for one in posts].count(202)

    def in_a_minute() -> list[int]:
        key = issued(home, slug, requests_a_minute=4)
        # What somebody wrote there before the proxy added what it sees is no address.
        addresses = ("203.0.113.7", "203.0.113.8", "198.51.100.1, 203.0.113.9", "198.51.100.2, 203.0.113.9")
        return [accepted(key, address) for address in addresses]

    minute, found = -1.0, list[int]()
    while minute != time.monotonic() // MINUTE_S:  # it may have ended in between
        minute, found = time.monotonic() // MINUTE_S, in_a_minute()
    assert found == [4, 4, 4, 0]


def test_refusals_of_a_public_key_stand_in_the_books(receiver: Receiver, home: Home, slug: str) -> None:
    key = issued(home, slug)
    for _ in range(3):
        assert beacon(receiver, key, origin="https://other.example").status_code == 403
    until(lambda: refused(home, slug) == 3, "the refusals to be written")
    [books] = flask_json(home, "books", "--customer", slug)["customers"]
    assert (books["public_key_refused"], books["balanced"], books["in_stream"]) == (3, True, 0)
    said = flask(home, "books", "--customer", slug).stdout
    assert f"{slug}: public key, refused: 3 requests" in said
    counted = [
        line
        for line in receiver.metrics().splitlines()
        if line.startswith("sluice_http_public_key_refused_total") and f'"{slug}"' in line
    ]
    assert [line.rpartition(" ")[2] for line in counted] == ["3.0"]
    assert 'problem="origin-not-allowed"' in counted[0]


def test_another_receiver_goes_on_where_the_day_is(
    receiver: Receiver, home: Home, slug: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    key = issued(home, slug, batches_a_day=2)
    assert beacon(receiver, key).status_code == 202

    def batches() -> int:
        with read(home.engine) as connection:
            customer = db.customers.rows.get(connection, slug)
            assert customer is not None
            [found] = public_keys.live(connection, customer.id)
            today = now_us(connection) // 86_400_000_000
            written = public_key_use.written(connection, [found.id], today, receiver="")
            return written[found.id].others.batches if written else 0

    until(lambda: batches() == 1, "the use to be written")
    with receivers.running(tmp_path_factory.mktemp("receiver"), {**home.environment, **SETTINGS}) as another:
        assert [beacon(another, key).status_code for _ in range(2)] == [202, 429]


@pytest.mark.parametrize(
    "options",
    [
        ["--bytes-a-day", "5"],
        ["--origin", "shop.example"],
        ["--origin", "https://shop.example/path"],
        ["--origin", "https://shop.example/"],
        ["--origin", "https://*.shop.example"],
        ["--origin", "https://shop.example:port"],
        ["--origin", "https://me@shop.example"],
        ["--app", "a b"],
    ],
)
def test_rules_that_make_no_sense_are_refused(home: Home, slug: str, options: list[str]) -> None:
    assert flask(home, "customers", "add-public-key", slug, *options).exit_code == Exit.REFUSED


def test_an_origin_is_kept_as_browsers_send_it(home: Home, slug: str) -> None:
    written = ("HTTPS://Shop.Example:443", PAGE, "http://[::1]:80", "http://localhost:8080", "https://x:80")
    options = [word for origin in written for word in ("--origin", origin)]
    assert flask(home, "customers", "add-public-key", slug, *options).exit_code == Exit.OK
    [shown] = flask_json(home, "customers", "public-keys", slug)["public_keys"]
    assert shown["origins"] == [PAGE, "http://[::1]", "http://localhost:8080", "https://x:80"]


def test_an_operator_can_show_a_public_key_again(home: Home, slug: str) -> None:
    made = flask(home, "customers", "add-public-key", slug, "--origin", PAGE, "--batches-a-day", "none")
    [shown] = flask_json(home, "customers", "public-keys", slug)["public_keys"]
    assert shown["key"] == made.stdout.strip()
    [note] = flask_json(home, "customers", "history", slug)["notes"]
    assert (note["act"], note["changes"]) == ("add-public-key", {"key": shown["key"]})
    assert (shown["origins"], shown["batches_a_day"], shown["bytes_a_day"]) == ([PAGE], None, 10**9)
