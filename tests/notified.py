"""A service manager for tests: what a process says to NOTIFY_SOCKET, by sd_notify(3)."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

WATCHDOG_S = 4


@dataclass(kw_only=True)
class Notices:
    """Collects the notices that come to `path`; each is one datagram with lines NAME=value. A path that
    begins with `@` is an abstract socket.
    """

    path: str
    _came: list[tuple[float, str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What systemd sets, with `WatchdogSec` of WATCHDOG_S."""
        return {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": str(WATCHDOG_S * 1_000_000)}

    def count(self, line: str) -> int:
        """How many notices had that line, or a line that begins so when it ends with `=`."""
        return sum(
            any(each == line or (line.endswith("=") and each.startswith(line)) for each in said.splitlines())
            for _, said in list(self._came)
        )

    def silent_s(self, line: str) -> float:
        """Seconds since the last notice with that line."""
        return time.monotonic() - max(at for at, said in list(self._came) if line in said.splitlines())

    def text(self) -> str:
        return "\n".join(said for _, said in list(self._came))

    def collect(self, receiver: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while said := receiver.recv(4096):
                self._came.append((time.monotonic(), said.decode()))


@contextlib.contextmanager
def listening(path: Path | str) -> Iterator[Notices]:
    notices = Notices(path=str(path))
    address = notices.path.replace("@", "\0") if notices.path.startswith("@") else notices.path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        thread = threading.Thread(target=notices.collect, args=(receiver,), daemon=True)
        thread.start()
        try:
            yield notices
        finally:
            # An empty datagram ends the collecting; the path stays, for what still speaks.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"", address)
            thread.join(10)
