"""What pages post arrives, each event once: when they are left, are offline, or do not hear the answer."""

import json
import secrets
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, Route

from tests.browsers.setup import Site
from tests.live import Live
from tests.whole import until

pytestmark = pytest.mark.browsers


def events(count: int) -> list[dict[str, Any]]:
    return [
        {"trace_id": secrets.token_hex(16), "operation": f"click {n}", "service": "shop", "status": "ok"}
        | {"event_id": secrets.token_hex(8), "started_at": "2026-06-01T12:00:00Z", "duration_us": 1}
        for n in range(count)
    ]


def batches(live: Live, key: str) -> str:
    return f"{live.whole.url}/v1/batches?" + urlencode({"key": key, "format": "ndjson"})


def opened(page: Page, origin: str, name: str, **query: str) -> Page:
    page.goto(f"{origin}/{name}.html?{urlencode(query)}")
    return page


def test_a_page_that_is_left_sends_by_beacon(live: Live, site: Site, page: Page, key: str, slug: str) -> None:
    opened(page, site.shop, "beacon", to=batches(live, key))
    page.evaluate("found => events.push(...found)", events(7))
    page.goto("about:blank")
    until(lambda: live.books(slug)["in_stream"] == 1, "the beacon to arrive")
    assert (live.settled(slug)["kept"], live.events(slug)) == (7, 7)


def test_a_beacon_of_json_as_older_sdks_send_it_arrives(
    live: Live, site: Site, page: Page, key: str, slug: str
) -> None:
    """The browser asks whether it may send such a request with credentials, and names no reason if not."""
    opened(page, site.shop, "queue", to="")
    to = f"{live.whole.url}/v1/batches?{urlencode({'key': key})}"
    send = "([to, text]) => navigator.sendBeacon(to, new Blob([text], {type: 'application/json'}))"
    assert page.evaluate(send, [to, json.dumps(events(3))])
    until(lambda: live.books(slug)["in_stream"] == 1, "the beacon to arrive")
    assert (live.settled(slug)["kept"], live.events(slug)) == (3, 3)


def test_what_is_queued_offline_arrives_when_the_page_is_back(
    live: Live, site: Site, page: Page, key: str, slug: str
) -> None:
    opened(page, site.shop, "queue", to=batches(live, key))
    page.context.set_offline(True)
    for size in (2, 3):
        page.evaluate("found => record(found)", events(size))
    assert page.evaluate("[queued().length, attempts]") == [2, 2]
    assert live.books(slug)["in_stream"] == 0
    page.context.set_offline(False)
    page.wait_for_function("queued().length === 0")
    assert (live.settled(slug)["kept"], live.events(slug)) == (5, 5)


def test_a_batch_whose_answer_did_not_come_is_counted_once(
    live: Live, site: Site, page: Page, key: str, slug: str
) -> None:
    opened(page, site.shop, "queue", to=batches(live, key))
    unheard: list[int] = []

    def lose_the_answer(route: Route) -> None:
        unheard.append(route.fetch(headers=route.request.headers | {"origin": site.shop}).status)
        route.abort()

    page.route("**/v1/batches*", lose_the_answer, times=1)
    page.evaluate("found => record(found)", events(4))
    assert (unheard, page.evaluate("queued().length")) == ([202], 1)
    page.evaluate("sendAll()")
    assert page.evaluate("queued().length") == 0
    books = live.settled(slug)
    assert (books["in_stream"], books["duplicates"], books["kept"], live.events(slug)) == (2, 1, 4, 4)


def test_a_page_of_another_origin_reads_why_nothing_of_it_is_kept(
    live: Live, site: Site, page: Page, key: str, slug: str
) -> None:
    opened(page, site.other, "queue", to=batches(live, key))
    page.evaluate("found => record(found)", events(1))
    refusal = page.evaluate("refusal")
    assert (refusal["status"], refusal["type"]) == (403, "/problems/origin-not-allowed")
    opened(page, site.other, "beacon", to=batches(live, key))
    page.evaluate("found => events.push(...found)", events(1))
    page.goto("about:blank")
    until(lambda: live.books(slug)["public_key_refused"] == 2, "both refusals to stand in the books")
    assert live.books(slug)["in_stream"] == 0


def test_a_page_reads_when_to_come_again(live: Live, site: Site, page: Page, key: str, slug: str) -> None:
    live.home.limit(slug, daily_bytes=1)
    opened(page, site.shop, "queue", to=batches(live, key))
    # One that is larger than the quota is a day's first.
    for _ in range(2):
        page.evaluate("found => record(found)", events(1))
    assert page.evaluate("[queued().length, attempts]") == [1, 2]
    refusal = page.evaluate("refusal")
    assert (refusal["status"], refusal["type"]) == (429, "/problems/quota-used-up")
    assert int(refusal["retryAfter"]) > 0


@pytest.mark.parametrize("in_header", [False, True], ids=["key in the query", "key in a header"])
def test_the_web_sdk_as_it_is_exports_each_span_once(
    live: Live, site: Site, page: Page, key: str, slug: str, in_header: bool
) -> None:
    query = {"key": key} if in_header else {}
    to = f"{live.whole.url}/v1/traces" + ("" if in_header else f"?{urlencode({'key': key})}")
    opened(page, site.shop, "sdk", to=to, **query)
    trace = page.evaluate("spans(20)")
    books = live.settled(slug)
    assert (books["kept"], live.events(slug)) == (20, 20)
    found = live.scalar(
        "SELECT root_operation FROM interactions WHERE trace_id = :id", id=bytes.fromhex(trace)
    )
    assert found == "load"


def test_a_page_may_send_the_headers_of_its_trace(
    live: Live, site: Site, page: Page, key: str, slug: str
) -> None:
    opened(page, site.shop, "sdk", to="")
    body = json.dumps(events(1)[0])
    found = page.evaluate("([url, body]) => traced(url, body)", [batches(live, key), body])
    assert found["status"] == 202
    assert {"traceparent", "baggage"} <= set(found["sent"])
