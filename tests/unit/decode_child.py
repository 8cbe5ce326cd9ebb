"""A process of its own that decodes what it is sent, so that a crash or a bloat is seen as such by the tests.

Reads frames on stdin: a line of JSON (format, content_encoding, size, limits), then the body. Answers with
a line of JSON: what became of it, and the most memory the process ever held, less what it held before.
"""

import json
import os
import sys
import traceback
from pathlib import Path

from tasks.decoders import DecodeLimits, RawBatch, decode_batches


def held_bytes() -> int:
    """The most memory this process has ever held (VmHWM)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


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
            decoded = decode_batches([batch], DecodeLimits(**asked["limits"]))
            answer |= {"events": decoded.counts[0], "rejects": len(decoded.rejects)}
            answer["unfit"] = decoded.unfit[0].reason if decoded.unfit else None
        except BaseException:
            answer["error"] = traceback.format_exc()
        answer["grown_bytes"] = held_bytes() - at_start
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
