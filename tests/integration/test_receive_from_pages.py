"""What browsers ask a real gunicorn for, with public keys and without, and what they let a page read."""

import gzip
from collections.abc import Iterator

import httpx
import pytest

from streams import made_id
from tests import receiver as receivers
from tests.integration.beacons import BODY, PAGE, SETTINGS, beacon, issued, problem
from tests.receiver import Home, Receiver
from webapp.receiving.digests import body_digest


@pytest.fixture(scope="module")
def receiver(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    folder = tmp_path_factory.mktemp("receiver")
    with receivers.running(folder, {**home.environment, **SETTINGS}) as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def secret_key(home: Home, slug: str) -> str:
    return home.add(slug)


def test_what_only_begins_like_plain_text_is_none(receiver: Receiver, home: Home, slug: str) -> None:
    key = issued(home, slug)
    assert beacon(receiver, key, content_type="text/plain-ish").status_code == 415
    assert beacon(receiver, key, content_type="Text/Plain ; charset=UTF-8").status_code == 202


@pytest.mark.parametrize("query", ["", "&format=", "&format=otlp-json", "&format=ndjson&encoding=lzma"])
def test_plain_text_without_a_known_format_is_refused(
    receiver: Receiver, home: Home, slug: str, query: str
) -> None:
    answer = beacon(receiver, issued(home, slug), query=query)
    status, slug_of_problem = problem(answer)
    assert (status, slug_of_problem.startswith("unknown-content-")) == (415, True)
    assert "ndjson" in answer.json()["accepted"] or "gzip" in answer.json()["accepted"]
    assert home.envelopes(slug) == []


@pytest.mark.parametrize(
    ("path", "name", "body"),
    [
        ("/v1/traces", "otlp-json", b'{"resourceSpans": []}'),
        ("/v1/logs", "otlp-logs-json", b'{"resourceLogs": []}'),
    ],
)
def test_plain_text_may_be_an_export_of_otlp(
    receiver: Receiver, home: Home, slug: str, path: str, name: str, body: bytes
) -> None:
    key = issued(home, slug)
    headers = {"content-type": "text/plain", "origin": PAGE}

    def post(query: str) -> httpx.Response:
        url = f"{receiver.url}{path}?key={key}&{query}"
        return receiver.client.post(url, content=gzip.compress(body), headers=headers)

    # The word of another path is none here.
    assert post("format=json&encoding=gzip").status_code == 415
    answer = post(f"format={name}&encoding=gzip")
    assert (answer.status_code, answer.json()) == (200, {})
    [envelope] = home.envelopes(slug)
    assert (envelope.format, envelope.content_encoding) == (name, "gzip")
    # The id that was made of it is that of the same export with headers.
    assert envelope.batch_id == made_id(body_digest(gzip.compress(body), "gzip"), name, "gzip")


def preflight(receiver: Receiver, path: str, origin: str = PAGE) -> httpx.Headers:
    asked = {"origin": origin, "access-control-request-method": "POST"}
    headers = asked | {"access-control-request-headers": "content-type"}
    return receiver.client.options(f"{receiver.url}{path}", headers=headers).headers


def test_a_request_with_credentials_may_be_sent_with_a_public_key_in_the_query(
    receiver: Receiver, home: Home, slug: str
) -> None:
    """As `navigator.sendBeacon` sends JSON."""
    key = issued(home, slug)
    allowed = preflight(receiver, f"/v1/traces?key={key}")
    assert (credentials(allowed), allowed["vary"]) == ((PAGE, "true"), "Origin")
    assert credentials(beacon(receiver, key).headers) == (PAGE, "true")
    # What is refused for another reason may be read, too.
    assert credentials(beacon(receiver, key, query="").headers) == (PAGE, "true")
    other = "https://other.example"
    asked = beacon(receiver, key, origin=other, access_control_request_method="POST")
    for answer in (beacon(receiver, key, origin=other), asked, beacon(receiver, key + "x")):
        assert credentials(answer.headers) == ("*", None)
    assert credentials(preflight(receiver, "/v1/traces")) == ("*", None)
    assert credentials(receiver.post(key, BODY, origin=PAGE).headers) == ("*", None)


def credentials(headers: httpx.Headers) -> tuple[str | None, str | None]:
    return headers.get("access-control-allow-origin"), headers.get("access-control-allow-credentials")


def test_a_page_may_ask_to_post_metrics_and_read_why_they_are_not_kept(receiver: Receiver) -> None:
    allowed = preflight(receiver, "/v1/metrics")
    assert (credentials(allowed)[0], allowed["access-control-allow-methods"]) == ("*", "POST")
    assert allowed["access-control-allow-headers"] == "content-type"
    answer = receiver.client.post(f"{receiver.url}/v1/metrics", json={}, headers={"origin": PAGE})
    assert (answer.status_code, credentials(answer.headers)[0]) == (404, "*")


def test_a_preflight_allows_what_it_asks_for_of_a_bounded_list(receiver: Receiver) -> None:
    asked = {
        "origin": PAGE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,traceparent, Tracestate,baggage,x-evil,sluice-app-id",
    }
    answer = receiver.client.options(f"{receiver.url}/v1/traces", headers=asked)
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert allowed == ["content-type", "traceparent", "Tracestate", "baggage", "sluice-app-id"]
    assert answer.headers["access-control-max-age"] == "7200"


@pytest.mark.parametrize("path", ["/v1/batches", "/v1/traces", "/v1/nothing", "/healthz"])
def test_a_page_can_read_refusals_of_every_path(receiver: Receiver, path: str) -> None:
    answer = receiver.client.post(f"{receiver.url}{path}", content=BODY, headers={"origin": PAGE})
    assert 400 <= answer.status_code < 500
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "Retry-After" in answer.headers["access-control-expose-headers"]


def test_with_one_origin_for_headers_a_key_in_the_query_decides_for_itself(
    home: Home, slug: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    key = issued(home, slug)
    settings = {**home.environment, **SETTINGS, "SLUICE_HTTP_CORS_ORIGIN": "https://console.example"}
    with receivers.running(tmp_path_factory.mktemp("receiver"), settings) as one:
        assert credentials(beacon(one, key).headers) == (PAGE, "true")
        assert problem(beacon(one, key, origin="https://other.example")) == (403, "origin-not-allowed")
        in_header = one.post(key, BODY, origin=PAGE)
        assert in_header.headers["access-control-allow-origin"] == "https://console.example"
        assert in_header.headers["vary"] == "Origin"
