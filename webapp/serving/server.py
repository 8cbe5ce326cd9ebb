"""Accepts connections on one loop, and waits for their ends."""

import asyncio
import errno
import logging
import socket
import ssl
import time
from collections.abc import Sequence

from webapp.serving.application import LoopApplication
from webapp.serving.connection import AgentConnection
from webapp.serving.shared import Shared
from webapp.settings import HttpSettings

_FULL_S = 1.0

log = logging.getLogger("gunicorn.error")


class AgentServer:
    """Belongs to the running loop. `listeners` are not closed here. `sweep` is to be called a few times a
    second.
    """

    def __init__(
        self,
        application: LoopApplication,
        settings: HttpSettings,
        listeners: Sequence[socket.socket],
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._shared = Shared[AgentConnection](
            application, settings, self._loop, scheme="http" if tls is None else "https"
        )
        self._most = settings.connections
        self._listeners = listeners
        self._tls = tls
        self._accepts = self._full = False
        self._welcomed: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Accept connections."""
        for listener in self._listeners:
            listener.setblocking(False)
        self.sweep()

    def sweep(self) -> None:
        """End what has been waited for long enough, and accept more where there is room."""
        shared = self._shared
        shared.sweep()
        if not self._accepts and not self._full and not shared.stopping and shared.count < self._most:
            self._accepts = True
            for listener in self._listeners:
                self._loop.add_reader(listener.fileno(), self._accept, listener)

    async def stop(self, within_s: float) -> None:
        """Accept no more, and wait until all requests are answered; whoever begins none within moments is
        hung up on. Returns after `within_s` at the latest.
        """
        self._shared.stopping = True
        self._accept_no_more()
        begun = time.monotonic()
        while self._shared.count and time.monotonic() < begun + within_s:
            self._shared.sweep()
            await asyncio.sleep(0.1)

    def _accept_no_more(self) -> None:
        self._accepts = False
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())

    def _no_longer_full(self) -> None:
        self._full = False

    def _accept(self, listener: socket.socket) -> None:
        """One, so that the workers share them."""
        try:
            sock, _ = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                log.warning("no file descriptor is left beside %d connections", self._shared.count)
                self._full = True
                self._accept_no_more()
                self._loop.call_later(_FULL_S, self._no_longer_full)
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        self._shared.count += 1
        if self._shared.count >= self._most:
            self._accept_no_more()
        task = self._loop.create_task(self._welcome(sock))
        self._welcomed.add(task)
        task.add_done_callback(self._welcomed.discard)

    async def _welcome(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        try:
            await self._loop.connect_accepted_socket(
                lambda: AgentConnection(self._shared), sock, ssl=self._tls
            )
        except OSError:
            # No TLS, or hung up on.
            sock.close()
            self._shared.count -= 1
