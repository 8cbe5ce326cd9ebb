"""gunicorn's worker: one loop on which the agents' connections, the application and the broker's live."""

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING, cast

from gunicorn.sock import ssl_context  # type: ignore[import-untyped] # ships no types
from gunicorn.workers.base import Worker  # type: ignore[import-untyped] # the same

from webapp.metrics import BEAT, LOOP_DELAY_SECONDS
from webapp.receiving import batches, otlp
from webapp.serving.application import LoopApplication
from webapp.serving.server import AgentServer

if TYPE_CHECKING:
    from webapp.serving.parts import Parts

SWEEP_S = 0.1
BEAT_S = 1.0
GOODBYE_S = 3.0
"""Of the time that a stop may take: quotas are written, and broker and database told goodbye."""
WAITS = frozenset({"/readyz"})

log = logging.getLogger("gunicorn.error")


class LoopWorker(Worker):  # type: ignore[misc] # the same
    """Requests wait for keys, bodies and confirms without a thread. What is due at a time, as deadlines and
    the sign of life are, the loop itself sees to, ten times a second. gunicorn's handlers of signals are left
    alone.
    """

    def init_process(self) -> None:
        """Runs until the worker stops."""
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        super().init_process()

    def load_wsgi(self) -> None:
        """Called before the loop runs."""
        super().load_wsgi()
        self._parts = cast("Parts", self.wsgi.extensions["sluice"])
        self._parts.broker.live_on(self.loop)

    def run(self) -> None:
        """The worker's life. SIGINT and SIGQUIT end it anywhere: no more of it runs while all is closed."""
        life = self.loop.create_task(self._serve())
        try:
            self.loop.run_until_complete(life)
        finally:
            life.cancel()

    def end(self) -> None:
        """Nothing of the loop is used any more."""
        self.loop.close()

    async def _serve(self) -> None:
        parts, settings = self._parts, self._parts.settings
        paths = {batches.PATH: batches.FORMATS, **otlp.FORMATS}
        application = LoopApplication(
            self.wsgi,
            parts.reception,
            paths,
            waits=WAITS,
            threads=settings.threads,
            cors_origin=settings.cors_origin,
        )
        listeners = [one.sock for one in self.sockets]
        tls = ssl_context(self.cfg) if self.cfg.is_ssl else None
        server = AgentServer(application, settings, listeners, tls=tls)
        server.start()
        beating = self.loop.create_task(self._beat())
        try:
            while self.alive and self.ppid == os.getppid() and server.answered < self.max_requests:
                began = time.monotonic()
                server.sweep()
                await asyncio.sleep(SWEEP_S)
                LOOP_DELAY_SECONDS.observe(max(0.0, time.monotonic() - began - SWEEP_S))
            if server.answered >= self.max_requests:
                log.info("a worker ends after %d requests, and another one begins", server.answered)
            # gunicorn's master kills at its end.
            await server.stop(max(self.cfg.graceful_timeout - GOODBYE_S, self.cfg.graceful_timeout / 2))
        finally:
            beating.cancel()
            application.close()

    async def _beat(self) -> None:
        while True:
            self.notify()
            BEAT.labels(str(self.core)).set_to_current_time()
            await asyncio.sleep(BEAT_S)
