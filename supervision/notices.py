"""Notices to systemd, by the protocol of sd_notify(3): ready, at work, stopping."""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

EXTENSION_S = 60.0
"""How long a start may go on after each sign of progress."""
_START_EVERY_S = 5.0
_MOST_STATUS = 200


class Supervised:
    """This process, as the service manager sees it that started it; without one, nothing is said.

    `progressed` belongs into the loop that does the work, after each turn: a loop that stands still says
    nothing, and systemd starts the process again after `WatchdogSec`. No method blocks or raises: a notice
    that cannot be sent is lost, as the next one follows.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        where = environment.get("NOTIFY_SOCKET", "")
        self._where = "\0" + where[1:] if where.startswith("@") else where
        watched = environment.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        limit_us = environment.get("WATCHDOG_USEC", "")
        self._beat_every_s = int(limit_us) / 1e6 / 4 if watched and limit_us.isdigit() else None
        self._ready = self._stopping = False
        self._status = ""
        self._next_s = 0.0

    def ready(self, status: str) -> None:
        """Say once that the process does what it is for; `status` tells people what that is."""
        if not self._ready:
            self._ready = True
            self._next_s = 0.0
            self._send(f"READY=1\nSTATUS={self._line(status)}")
            self.progressed()

    def progressed(self) -> None:
        """Say that the work goes on, as often as systemd needs to hear it.

        Before `ready` it prolongs the start: what waits for a broker is not started anew for it.
        """
        now = time.monotonic()
        if now < self._next_s or self._stopping:
            return
        if not self._ready:
            self._next_s = now + _START_EVERY_S
            self._send(f"EXTEND_TIMEOUT_USEC={EXTENSION_S * 1e6:.0f}")
        elif self._beat_every_s is not None:
            self._next_s = now + self._beat_every_s
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """What `systemctl status` shows; sent when it is another than before."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={self._line(text)}")

    def stopping(self) -> None:
        """Say that it ends because it was asked to; what was begun is still finished."""
        if not self._stopping:
            self._stopping = True
            self._send("STOPPING=1")

    def _send(self, notice: str) -> None:
        if not self._where:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(notice.encode(errors="replace"), self._where)

    def _line(self, text: str) -> str:
        return " ".join(text.split())[:_MOST_STATUS]
