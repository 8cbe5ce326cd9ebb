"""Spans by the OpenTelemetry SDK of a page in Chromium: `python page.py CHROMIUM FOLDER PLAN`.

The folder has the SDK's script and the versions that it was made of. The plan is JSON: `mark`, `batches`
(spans of each), `pause_s`, `url`, `key`, which is a public one. A line of JSON is printed for each batch.
"""

import functools
import http.server
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import sync_playwright

EXPORTER = "node_modules/@opentelemetry/exporter-trace-otlp-http"
PAGE = b"<!doctype html><script src=sdk.bundle.js></script>"
MOST_MS = 100_000


class PageServer(http.server.SimpleHTTPRequestHandler):
    """The page, whatever its query, and the script beside it."""

    def do_GET(self) -> None:
        """Answer."""
        if not self.path.startswith("/?"):
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the library
        """Nothing."""


def main() -> None:
    program, folder, plan = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    version = json.loads((folder / "package-lock.json").read_text())["packages"][EXPORTER]["version"]
    serves = functools.partial(PageServer, directory=str(folder))
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), serves) as server,
        sync_playwright() as playwright,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # Root may not have a sandbox, and the page is nobody else's.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(MOST_MS)
        to = f"{plan['url']}/v1/traces?{urlencode({'key': plan['key']})}"
        page.goto(f"http://127.0.0.1:{server.server_port}/?{urlencode({'to': to})}")
        for batch, events in enumerate(plan["batches"]):
            time.sleep(plan["pause_s"])
            acknowledged = page.evaluate("words => batch(...words)", [f"{plan['mark']} {batch}", events])
            line = {"batch": batch, "events": events, "acknowledged": acknowledged}
            print(json.dumps(line | {"version": version}), flush=True)
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main()
