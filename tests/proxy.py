"""A TCP proxy that can cut, freeze and refuse the connections between a client and a server."""

import contextlib
import socket
import struct
import threading

DELIVER = 0x0008
_BUFFER = 256 * 1024


class Proxy:
    """Listens on a free loopback port, `port`, and forwards to host:port. For use as a context manager.

    `sent` holds what the client has sent over each connection that was accepted, in that order; `refused`
    counts the others. `turns` counts how often the client of an only connection went on after an answer.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._running = threading.Event()
        self._running.set()
        self._refusing = False
        self._swallowing = False
        self._swallowing_requests = False
        self._damaging = False
        self._leaving = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._silent: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.sent: list[bytearray] = []
        self.refused = 0
        self.turns = 0
        self._answered = True
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def freeze(self) -> None:
        """Nothing passes any more, in either direction; connections stay open and new ones are accepted."""
        self._running.clear()

    def thaw(self) -> None:
        """Everything that was held back passes."""
        self._running.set()

    def swallow_answers(self, swallowing: bool = True) -> None:
        """What the server sends from now on never reaches its client."""
        self._swallowing = swallowing

    def swallow_requests(self, swallowing: bool = True) -> None:
        """What the clients send from now on never reaches the server."""
        self._swallowing_requests = swallowing

    def damage(self) -> None:
        """One byte of the next large answer arrives as another one."""
        self._damaging = True

    def leave_behind_an_answer(self) -> None:
        """The next answer with messages of a stream is the last that passes: all other connections are cut
        before it, its own stays, and new ones are refused.
        """
        self._leaving = True

    def silence(self) -> None:
        """The connections that there are carry nothing any more, and stay open; new ones are as usual."""
        with self._lock:
            self._silent |= {end for pair in self._pairs for end in pair}

    def cut(self) -> None:
        """Resets every connection; new ones are welcome. What a freeze held back is lost."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        _reset(pairs)

    def refuse(self, refusing: bool = True) -> None:
        """New connections are reset at once."""
        self._refusing = refusing

    def close(self) -> None:
        self._listener.close()
        self.cut()
        self.thaw()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                if self._refusing:
                    self.refused += 1
                    raise ConnectionRefusedError
                server = socket.create_connection(self._target, timeout=10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs.append((client, server))
            self.sent.append(bytearray())
            threading.Thread(target=self._forward, args=(client, server, self.sent[-1]), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket, record: bytearray) -> None:
        back = threading.Thread(target=self._pump, args=(server, client, None), daemon=True)
        back.start()
        self._pump(client, server, record)
        back.join()
        with self._lock:
            self._pairs = [pair for pair in self._pairs if pair[0] is not client]
            self._silent -= {client, server}
        client.close()
        server.close()

    def _pump(self, source: socket.socket, sink: socket.socket, record: bytearray | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_BUFFER):
                if record is not None:
                    record += data
                    self.turns += self._answered
                self._answered = record is None
                self._running.wait()
                if source in self._silent:
                    continue
                if self._swallowing if record is None else self._swallowing_requests:
                    continue
                if record is None and self._damaging and len(data) > 1000:
                    self._damaging = False
                    data = data[:-1] + bytes([data[-1] ^ 1])
                if record is None and self._leaving and _delivers(data):
                    self._leave(sink)
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _leave(self, client: socket.socket) -> None:
        self._leaving, self._refusing = False, True
        with self._lock:
            others = [pair for pair in self._pairs if pair[0] is not client]
            self._pairs = [pair for pair in self._pairs if pair[0] is client]
        _reset(others)


def _delivers(data: bytes) -> bool:
    """Whether one of these frames of the stream protocol is a Deliver, however few messages it has."""
    at = 0
    while at + 6 <= len(data):
        size, key = struct.unpack_from(">IH", data, at)
        if key == DELIVER:
            return True
        at += 4 + size
    return False


def _reset(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    for pair in pairs:
        for end in pair:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
            end.close()
