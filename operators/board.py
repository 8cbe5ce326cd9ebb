"""A text that is shown as a whole, such as figures that one process measures now and then.

Unlike the counts of a lane it is replaced, so that what is not measured any more is gone.
"""

import struct

_SHOWN = struct.Struct("=qq")  # which half is shown, and how many bytes of it


class Board:
    """Two halves: one is read while the other is written. For one writer."""

    def __init__(self, page: memoryview) -> None:
        self._page = page
        self._half_bytes = (len(page) - _SHOWN.size) // 2

    @staticmethod
    def size(text_bytes: int) -> int:
        """Bytes of memory for a board of texts up to `text_bytes`."""
        return _SHOWN.size + 2 * text_bytes

    def show(self, text: bytes) -> bool:
        """Show this in place of what was shown; False when it is too long: then nothing changes."""
        if len(text) > self._half_bytes:
            return False
        half = 1 - _SHOWN.unpack_from(self._page, 0)[0]
        begin = self._begin(half)
        self._page[begin : begin + len(text)] = text
        # In one copy, and after the text: a reader sees one text or the other.
        self._page[: _SHOWN.size] = _SHOWN.pack(half, len(text))
        return True

    def shown(self) -> bytes:
        """What was shown last; nothing at first."""
        half, length = _SHOWN.unpack_from(self._page, 0)
        begin = self._begin(half)
        return bytes(self._page[begin : begin + length])

    def _begin(self, half: int) -> int:
        return _SHOWN.size + half * self._half_bytes
