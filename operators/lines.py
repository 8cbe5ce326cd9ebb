"""Standard error for logs, which may be lost where a request may not."""

import io
import os
from contextlib import suppress

STDERR = 2


class Lines(io.TextIOBase):
    """Writes at once and never raises: what does not fit on a full disk is lost."""

    def write(self, text: str, /) -> int:
        """Always says that all was written."""
        with suppress(OSError):
            os.write(STDERR, text.encode(errors="replace"))
        return len(text)
