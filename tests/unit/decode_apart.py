"""The tests' end of `decode_child`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Crashed(AssertionError):
    """The child died of what it was sent."""


class Decoder:
    """Decodes in another process, which is started again when it died."""

    def __init__(self) -> None:
        self._child = self._start()

    def __call__(
        self, body: bytes, form: str, encoding: str = "", *, twice: bool = False, **limits: int
    ) -> dict[str, Any]:
        """What the child answers; `twice` if the body is to become the same in a window of two.

        Raises `Crashed` when it died instead.
        """
        child = self._child
        assert child.stdin is not None
        assert child.stdout is not None
        asked = {"format": form, "content_encoding": encoding, "size": len(body), "limits": limits}
        asked["twice"] = twice
        try:
            child.stdin.write(json.dumps(asked).encode() + b"\n" + body)
            child.stdin.flush()
            answer = child.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer:
            code = child.wait()
            self.close()
            self._child = self._start()
            raise Crashed(f"exit code {code}")
        answered: dict[str, Any] = json.loads(answer)
        return answered

    def close(self) -> None:
        """End the child."""
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()
        self._child.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.unit.decode_child"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
