"""Accepts connections on one loop, and waits for their ends."""

import asyncio
import errno
import logging
import socket
import ssl
import time
from asyncio import sslproto
from collections.abc import Sequence
from typing import cast

from webapp.serving.application import LoopApplication
from webapp.serving.connection import AgentConnection
from webapp.serving.shared import LINGER_S, STOP_S, Shared
from webapp.serving.states import State
from webapp.settings import HttpSettings

_FULL_S = 1.0
_LACKS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
HANDSHAKE_S = 10.0
"""So long may an agent take to agree on TLS, and `keepalive_s` at most."""
CUT_S = 1.0
"""Before the end of a stop, what still comes is refused: the answers need a moment."""
_TLS_READ_BYTES = 16 * 1024
"""The largest record. asyncio makes a buffer of 256 KiB for each connection, which most never fill."""
_TLS_AHEAD_BYTES = 64 * 1024, 32 * 1024
"""So much is read ahead of a connection that is not read now, until so little is left; asyncio reads four
times as much.
"""

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
        self._tls_times: dict[str, float] = {}
        if tls is not None:
            sslproto.SSLProtocol.max_size = _TLS_READ_BYTES
            handshake_s = min(HANDSHAKE_S, settings.keepalive_s)
            self._tls_times = {"ssl_handshake_timeout": handshake_s, "ssl_shutdown_timeout": LINGER_S}
        self._accepts = self._full = False
        self._welcomed: set[asyncio.Task[None]] = set()

    @property
    def answered(self) -> int:
        """So many requests."""
        return self._shared.answered

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
        hung up on. Bodies that still come are refused before the end. Returns after `within_s` at the latest.
        """
        self._shared.stopping = True
        self._accept_no_more()
        begun = time.monotonic()
        while self._shared.count and (age_s := time.monotonic() - begun) < within_s:
            self._shared.sweep()
            if age_s > STOP_S:
                for task in self._welcomed:
                    task.cancel()
            if age_s > within_s - CUT_S:
                self._shared.cut_bodies()
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
            # Other errors are of a connection that has ended already, or of another worker's (accept(2)).
            if error.errno in _LACKS:
                what = "memory" if error.errno in _LACKS[2:] else "file descriptor"
                log.warning("no %s is left beside %d connections", what, self._shared.count)
                self._full = True
                self._accept_no_more()
                self._loop.call_later(_FULL_S, self._no_longer_full)
            return
        self._shared.count += 1
        if self._shared.count >= self._most:
            self._accept_no_more()
        task = self._loop.create_task(self._welcome(sock))
        self._welcomed.add(task)
        task.add_done_callback(self._welcomed.discard)

    async def _welcome(self, sock: socket.socket) -> None:
        connection = AgentConnection(self._shared)
        try:
            sock.setblocking(False)
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: connection, sock, ssl=self._tls, **self._tls_times
            )
            if self._tls is not None:
                encrypted = cast("sslproto._SSLProtocolTransport", transport)
                encrypted.set_read_buffer_limits(*_TLS_AHEAD_BYTES)
        except BaseException as error:
            sock.close()
            if connection.state is State.NEW:
                # Of all others the end is told.
                self._shared.count -= 1
            # No TLS, or hung up on.
            if not isinstance(error, OSError):
                raise
