"""A program that posts batches itself, again until they are acknowledged: `python polars_arrow.py PLAN`.

The plan is JSON: `mark`, `batches` (events of each), `pause_s`, `url`, `key`. polars writes the
bodies. A line of JSON is printed for each batch. A refusal is answered as docs/http-api.md asks.
"""

import http.client
import io
import json
import secrets
import sys
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

import polars

TRIES = 30
DEADLINE_S = 30


def arrow(operation: str, events: int) -> bytes:
    """An Arrow stream as polars writes it."""
    columns = {
        "event_id": [secrets.token_bytes(8) for _ in range(events)],
        "trace_id": [secrets.token_bytes(16) for _ in range(events)],
        "started_at": [datetime.now(UTC)] * events,
        "duration_us": [1000] * events,
        "service": ["sender"] * events,
        "operation": [operation] * events,
        "attributes": [{"size": events, "client": "polars"}] * events,
    }
    body = io.BytesIO()
    polars.DataFrame(columns).write_ipc_stream(body)
    return body.getvalue()


def post(url: str, key: str, body: bytes) -> bool:
    """Whether it was acknowledged, after as many tries as needed. The bytes are the same: so is the batch."""
    address = urlsplit(url)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/vnd.apache.arrow.stream"}
    for _ in range(TRIES):
        wait_s = 1.0
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=DEADLINE_S)
        try:
            connection.request("POST", "/v1/batches", body, headers)
            answer = connection.getresponse()
            if answer.status == 202:
                return True
            if answer.status not in (429, 503):
                return False
            wait_s = float(answer.headers.get("Retry-After", "1"))
        except (OSError, http.client.HTTPException):
            pass  # the receiver is away
        finally:
            connection.close()
        time.sleep(wait_s)
    return False


def main() -> None:
    plan = json.loads(sys.argv[1])
    for number, events in enumerate(plan["batches"]):
        time.sleep(plan["pause_s"])
        acknowledged = post(plan["url"], plan["key"], arrow(f"{plan['mark']} {number}", events))
        line = {"batch": number, "events": events, "acknowledged": acknowledged}
        print(json.dumps(line | {"version": polars.__version__}), flush=True)


if __name__ == "__main__":
    main()
