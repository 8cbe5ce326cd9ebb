"""NDJSON posted by curl: `python curl.py PLAN [OPTION…]`; the options are curl's.

The plan is JSON: `mark`, `batches` (events of each), `pause_s`, `url`, `key`. A line of JSON is printed
for each batch. curl itself tries again.
"""

import json
import secrets
import subprocess
import sys
import time

RETRYING = ["--retry", "20", "--retry-all-errors"]
"""By themselves: 408, 429 and 5xx, after Retry-After; with the second, lost connections, too."""


def ndjson(operation: str, events: int) -> bytes:
    event = {"started_at": int(time.time() * 1e6), "duration_us": 1000, "service": "sender"}
    event["operation"] = operation
    ids = ({"event_id": secrets.token_hex(8), "trace_id": secrets.token_hex(16)} for _ in range(events))
    return b"".join(json.dumps(event | one).encode() + b"\n" for one in ids)


def post(url: str, key: str, body: bytes, options: list[str]) -> bool:
    headers = ["-H", f"Authorization: Bearer {key}", "-H", "Content-Type: application/x-ndjson"]
    given = ["--silent", "--fail", *RETRYING, *options, *headers, "--data-binary", "@-", f"{url}/v1/batches"]
    return subprocess.run(["curl", *given], input=body, stdout=sys.stderr, check=False).returncode == 0


def main() -> None:
    plan, options = json.loads(sys.argv[1]), sys.argv[2:]
    said = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout
    for number, events in enumerate(plan["batches"]):
        time.sleep(plan["pause_s"])
        body = ndjson(f"{plan['mark']} {number}", events)
        acknowledged = post(plan["url"], plan["key"], body, options)
        line = {"batch": number, "events": events, "acknowledged": acknowledged}
        print(json.dumps(line | {"version": said.split()[1]}), flush=True)


if __name__ == "__main__":
    main()
