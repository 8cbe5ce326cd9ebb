"""What libraries log can be read by what reads Sluice's own lines."""

import json
import logging
import subprocess
import sys

from supervision import JsonLines


def record(message: str, *arguments: object, error: Exception | None = None) -> logging.LogRecord:
    told = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("celery", logging.WARNING, "file", 1, message, arguments, told)


def test_a_record_is_one_line_with_the_fields_of_our_own() -> None:
    line = JsonLines().format(record("lost %s\nand %r", "a", object))
    assert "\n" not in line
    said = json.loads(line)
    assert (said["event"], said["level"], said["logger"]) == (
        "lost a\nand <class 'object'>",
        "warning",
        "celery",
    )
    assert said["timestamp"].endswith("Z")


def test_an_error_stays_in_its_line() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        line = JsonLines().format(record("failed", error=error))
    assert "\n" not in line
    assert "ValueError: first\nsecond" in json.loads(line)["exception"]


def test_an_error_that_ends_the_process_is_a_line() -> None:
    program = (
        "import logging, supervision\n"
        "logging.basicConfig()\n"
        "logging.getLogger().handlers[0].setFormatter(supervision.JsonLines())\n"
        "supervision.log_uncaught()\n"
        "raise OSError('no')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "OSError: no" in json.loads(line)["exception"]
