"""What pages send with a public key, and what they read of the answer."""

import gzip
from typing import Any

import httpx

from tests.receiver import Home, Receiver

BODY = b'{"event": 1}\n'
GZIPPED = gzip.compress(BODY, mtime=0)
PAGE = "https://shop.example"
SETTINGS = {"SLUICE_HTTP_WORKERS": "2", "SLUICE_HTTP_KEY_FRESH_S": "1", "SLUICE_HTTP_PROXIES": "1"}


def issued(home: Home, slug: str, **rules: Any) -> str:
    return home.add_public_key(slug, **{"origins": (PAGE,), **rules})


def beacon(
    receiver: Receiver, key: str, body: bytes = BODY, query: str = "&format=ndjson", **headers: str
) -> httpx.Response:
    """As a page's sendBeacon, whose request the browser sends without asking first."""
    sent = {"content-type": "text/plain;charset=UTF-8", "origin": PAGE, "connection": "close"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return receiver.client.post(
        f"{receiver.url}/v1/batches?key={key}{query}",
        content=body,
        headers={k: v for k, v in sent.items() if v},
    )


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Which the page that asked can read."""
    assert answer.headers["access-control-allow-origin"] in ("*", answer.request.headers["origin"])
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")
