"""A receiver's loop in this process: one server on a free port, with the whole application behind it."""

import asyncio
import socket
import ssl
import threading

from tests.receiver import DEADLINE_S
from webapp.app import build
from webapp.receiving import batches, otlp
from webapp.serving.application import LoopApplication
from webapp.serving.server import AgentServer
from webapp.settings import HttpSettings

PATHS = {batches.PATH: batches.FORMATS, **otlp.FORMATS}


class ServedLoop:
    """An application on a loop of its own; `port` is where it listens."""

    def __init__(self, settings: HttpSettings, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.app = build(settings)
        self.parts = self.app.extensions["sluice"]
        self._settings = settings
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.stopping = threading.Event()
        self.stop_s = DEADLINE_S
        self.server: AgentServer
        self._serves = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._serves.wait(DEADLINE_S)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            self.parts.broker.live_on(runner.get_loop())
            self.parts.warm()
            runner.run(self._serve())
            self.parts.close()

    async def _serve(self) -> None:
        application = LoopApplication(
            self.app,
            self.parts.reception,
            PATHS,
            waits=frozenset({"/readyz"}),
            threads=1,
            cors_origin=self._settings.cors_origin,
        )
        server = self.server = AgentServer(application, self._settings, [self._listener], tls=self._tls)
        server.start()
        self._serves.set()
        while not self.stopping.is_set():
            server.sweep()
            await asyncio.sleep(0.05)
        await server.stop(self.stop_s)
        application.close()

    def stop(self) -> None:
        """Returns when all requests are answered."""
        self.stopping.set()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        self._listener.close()
