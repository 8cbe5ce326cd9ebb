"""A stream that has no leader, on a node that is well otherwise."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from deploy.local import records
from deploy.local.rabbitmq import RabbitNode

_BEGUN_S = 2.0  # a writer that has listed its files has opened them or failed after this; milliseconds do
_KILL = (
    '{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{stream}">>)),'
    " exit(amqqueue:get_pid(Q), kill)."
)


@contextlib.contextmanager
def leaderless(node: RabbitNode, stream: str, *, led_for_moments: bool = False) -> Iterator[None]:
    """Take the stream's folder away and kill its writer, which then cannot be started; give it back after.

    What the stream holds is not touched. In its folder's place is one whose files can't be opened, nor fail
    to be: the election waits for them, as it waits for a majority of nodes, and uses no processor meanwhile.

    `led_for_moments`: writers begin, again and again, as fast as the node can start them, and fail when they
    open their files, as whoever reads.
    """
    letters = "".join(letter if letter.isalnum() or letter == "-" else "_" for letter in stream)
    [folder] = (node.folder / "data").glob(f"*/stream/__{letters}_*")
    aside, stuck = (folder.with_name(f"{what}-{folder.name}") for what in ("aside", "stuck"))
    stuck.mkdir()
    pipes = [stuck / f"{0:020}.{kind}" for kind in ("index", "segment")]
    for pipe in pipes:
        os.mkfifo(pipe)
    folder.rename(aside)
    folder.symlink_to("nowhere" if led_for_moments else stuck.name)
    try:
        evaluate(node, _KILL.format(stream=stream))
        yield
    finally:
        if led_for_moments:
            # One that found nothing there, and the folder in the next moment, would begin anew in it and
            # write over what it holds; meanwhile it finds what can't be opened.
            _point(folder, stuck.name)
            time.sleep(_BEGUN_S)
        _point(folder, aside.name)
        for pipe in pipes:
            _let_go(pipe)


def _point(folder: Path, where: str) -> None:
    """Make the link lead there, in one step."""
    link = folder.with_name(f"link-{folder.name}")
    link.symlink_to(where)
    link.replace(folder)


def _let_go(pipe: Path) -> None:
    """Have whoever waits for the pipe, to read or to write, go on, and nobody else."""
    gone = pipe.rename(pipe.with_suffix(".gone"))
    os.close(os.open(gone, os.O_RDWR | os.O_NONBLOCK))


def evaluate(node: RabbitNode, expression: str) -> str:
    """What an Erlang expression comes to on the node."""
    name, ports = (node.folder / "name").read_text(), records.ports_now(node.folder)
    environment = os.environ | {
        "HOME": f"{node.folder}/home",  # where the node's cookie is
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(ports["epmd"]),
    }
    done = subprocess.run(
        ["erl_call", "-sname", f"{name}@localhost", "-e"],
        input=f"{expression}\n",
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stdout.startswith("{ok"), done.stdout
    return done.stdout
