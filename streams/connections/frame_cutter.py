"""Cuts what a socket brings into frames, receiving large frames straight into their own buffer."""

import asyncio
import struct
from collections.abc import Callable

_LENGTH = struct.Struct(">I")
_SCRATCH_BYTES = 256 * 1024
# A frame above this gets its own buffer while it is still coming; a smaller one is cheaper to copy.
_OWN_BUFFER_BYTES = 16 * 1024
# Before 4.3.5 a broker may send a chunk above the negotiated frame_max, so this is only a sanity bound.
_FRAME_LIMIT = 1 << 30


class FrameCutter(asyncio.BufferedProtocol):
    """Calls `on_frame(frame, owned)` with each frame without its length prefix.

    `owned` is False when the view is only valid during the call. `on_lost` is called once, with the reason,
    also when `on_frame` raised. `on_resume` is called when the socket takes data again.
    """

    def __init__(
        self,
        on_frame: Callable[[memoryview, bool], None],
        on_lost: Callable[[Exception], None],
        on_resume: Callable[[], None],
    ) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._on_resume = on_resume
        self._scratch = bytearray(_SCRATCH_BYTES)
        self._view = memoryview(self._scratch)
        self._end = 0
        self._large: memoryview | None = None
        self._filled = 0
        self.paused = False

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._large is not None:
            return self._large[self._filled :]
        return self._view[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        try:
            if self._large is not None:
                self._fill(self._large, nbytes)
            else:
                self._end += nbytes
                self._cut()
        except Exception as error:
            self._on_lost(error)

    def _fill(self, frame: memoryview, nbytes: int) -> None:
        self._filled += nbytes
        if self._filled == len(frame):
            self._large = None
            self._on_frame(frame, True)

    def _cut(self) -> None:
        start, end, view = 0, self._end, self._view
        while end - start >= 4:
            (length,) = _LENGTH.unpack_from(view, start)
            if length > _FRAME_LIMIT:
                raise ValueError(f"frame of {length} bytes; this is not a stream listener")
            body = start + 4
            if end - body >= length:
                start = body + length
                self._on_frame(view[body:start], False)
            elif length > _OWN_BUFFER_BYTES:
                self._large = memoryview(bytearray(length))
                self._filled = end - body
                self._large[: self._filled] = view[body:end]
                start = end
            else:
                break
        self._end = end - start
        if start and self._end:
            view[: self._end] = bytes(view[start:end])

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost(exc or ConnectionError("the broker closed the connection"))

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._on_resume()
