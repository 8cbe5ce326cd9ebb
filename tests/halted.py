"""A `flask` command, or a process of ours, that is signalled at one place.

`python -m tests.halted MODULE:NAME before|after SIGNAL <the command's own words>` wraps the function NAME of
MODULE (a method: `Class.method`) in this process only. No hook waits in the code for a test. Words that begin
with `-m MODULE` start that module in place of a command.
"""

import functools
import importlib
import os
import runpy
import signal
import sys
from collections.abc import Callable
from typing import Any

from flask.cli import main


def wrap(place: str, when: str, signum: signal.Signals) -> None:
    module_name, _, path = place.partition(":")
    owner: Any = importlib.import_module(module_name)
    *outer, name = path.split(".")
    for one in outer:
        owner = getattr(owner, one)
    function: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(function)
    def halted(*arguments: Any, **named: Any) -> Any:
        if when == "before":
            os.kill(os.getpid(), signum)
        result = function(*arguments, **named)
        if when == "after":
            os.kill(os.getpid(), signum)
        return result

    setattr(owner, name, halted)


if __name__ == "__main__":
    place, when, name, *words = sys.argv[1:]
    wrap(place, when, signal.Signals[name])
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["flask", "--app", "webapp", *words]
        main()
