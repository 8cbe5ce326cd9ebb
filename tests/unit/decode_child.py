"""A process of its own that decodes what it is sent, so that a crash or a bloat is seen as such by the tests.

Reads frames on stdin: a line of JSON (format, content_encoding, size, limits, twice), then the body. Answers
with a line of JSON: what became of it, and the most memory the process ever held, less what it held before. A
body that is asked for twice is also decoded in a window of two of them, and has to become the same there.
"""

import json
import os
import sys
import traceback
from pathlib import Path

from tasks.decoders import DecodedBatches, DecodeLimits, RawBatch, decode_batches
from tasks.errors import WindowTooLarge


def held_bytes() -> int:
    """The most memory this process has ever held (VmHWM)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def compare(alone: DecodedBatches, batch: RawBatch, limits: DecodeLimits) -> None:
    """Fails unless the batch becomes the same twice in one window, or is too large for that."""
    try:
        window = decode_batches([batch, batch], limits)
    except WindowTooLarge:
        return
    assert window.counts == alone.counts * 2
    assert window.events.slice(0, alone.counts[0]).equals(alone.events)
    assert window.events.slice(alone.counts[0]).equals(alone.events)
    assert [error.reason for error in window.unfit.values()] == [
        error.reason for error in alone.unfit.values()
    ] * 2
    assert [(one.row, one.reason, one.data) for one in window.rejects] == [
        (one.row, one.reason, one.data) for one in alone.rejects
    ] * 2


def main() -> None:
    at_start = held_bytes()
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        body = sys.stdin.buffer.read(asked["size"])
        if asked["format"] == "crash":
            os.abort()
        batch = RawBatch(
            body=body,
            format=asked["format"],
            content_encoding=asked["content_encoding"],
            accepted_at_us=1_774_981_729_000_000,
        )
        answer: dict[str, object] = {"error": None, "unfit": None}
        try:
            limits = DecodeLimits(**asked["limits"])
            decoded = decode_batches([batch], limits)
            if asked["twice"]:
                compare(decoded, batch, limits)
            answer |= {"events": decoded.counts[0], "rejects": len(decoded.rejects)}
            answer["unfit"] = decoded.unfit[0].reason if decoded.unfit else None
        except BaseException:
            answer["error"] = traceback.format_exc()
        answer["grown_bytes"] = held_bytes() - at_start
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
