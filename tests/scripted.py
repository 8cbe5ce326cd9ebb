"""A receiver that answers by a script: what an agent meets on a bad day."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class ScriptedReceiver:
    """Answers by a script of (status, headers), the last one for ever; 0 closes without an answer."""

    url: str
    script: list[tuple[int, dict[str, str]]]
    came: list[tuple[float, str, dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def scripted(*script: tuple[int, dict[str, str]], slow_s: float = 0.0) -> Iterator[ScriptedReceiver]:
    """On a free port; each answer comes `slow_s` after its request."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            with receiver.lock:
                receiver.connections += 1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with receiver.lock:
                receiver.came.append((time.monotonic(), self.path, dict(self.headers), body))
                status, headers = receiver.script.pop(0) if len(receiver.script) > 1 else receiver.script[0]
            time.sleep(slow_s)
            if not status:
                self.close_connection = True
                return
            answer = b'{"type": "/problems/some", "detail": "why"}'
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(answer))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)
            self.close_connection = headers.get("Connection") == "close" or "X-Close" in headers

        def log_message(self, *_: object) -> None:
            """Nothing: the tests say what came."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = ScriptedReceiver(
        url=f"http://127.0.0.1:{server.server_port}", script=list(script) or [(202, {})]
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
