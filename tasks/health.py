"""`python -m tasks.health worker`: does the worker on this host do its work? Exit codes: `HealthExit`."""

import argparse
import socket
import sys
import time
from enum import IntEnum

import msgspec
from amqp.exceptions import AMQPError
from celery.utils.nodenames import default_nodename, host_format
from kombu import Connection
from kombu.exceptions import OperationalError

from tasks.settings import TaskSettings
from tasks.worker import transport
from tasks.worker.consumption import Consumption, address

DEADLINE_S = 15.0  # more than a worker needs to consume again after it lost its channel
AGAIN_S = 0.5
BROKER_S = 3.0
_MOST_BYTES = 64 * 1024


class HealthExit(IntEnum):
    """What a supervisor may rely on; 2 is argparse's own, for words that it does not know."""

    WORKS = 0  # or waits for a broker that is away, which starting it again would not change
    FAILS = 1  # start it again


class WorkerSilent(Exception):
    """The worker is there and does not answer."""


class WorkerMissing(Exception):
    """Nobody is there."""


def worker(name: str, deadline_s: float) -> tuple[HealthExit, str]:
    """Ask until the worker consumes all that it should, or until the deadline; with what to tell people."""
    url = TaskSettings().broker_url.get_secret_value()
    until = time.monotonic() + deadline_s
    while True:
        try:
            answer = _ask(address(url, name), until)
        except WorkerMissing:
            return HealthExit.FAILS, f"there is no worker {name} on this host"
        except WorkerSilent:
            if _broker_is_away(url):
                return HealthExit.WORKS, f"{name} waits for the broker, which is away"
            return HealthExit.FAILS, f"{name} does not answer, and the broker is there"
        if answer.consumed and not answer.lacking:
            refused = f"; refused by the broker: {', '.join(answer.refused)}" if answer.refused else ""
            return HealthExit.WORKS, f"{name} consumes its queues: {answer.consumed}{refused}"
        if time.monotonic() + AGAIN_S > until:
            lacking = ", ".join(answer.lacking or answer.refused)
            return HealthExit.FAILS, f"{name} consumes {answer.consumed} of its queues, and not {lacking}"
        time.sleep(AGAIN_S)


def _ask(where: str, until: float) -> Consumption:
    """Raises WorkerMissing, WorkerSilent."""
    answer = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asker:
        try:
            asker.settimeout(max(0.1, until - time.monotonic()))
            asker.connect(where)
            while len(answer) < _MOST_BYTES and (part := asker.recv(_MOST_BYTES)):
                answer += part
            return msgspec.json.decode(answer, type=Consumption)
        except ConnectionRefusedError:
            raise WorkerMissing from None
        except (OSError, msgspec.DecodeError) as error:
            raise WorkerSilent from error


def _broker_is_away(url: str) -> bool:
    transport.use()
    timeouts = {"read_timeout": BROKER_S, "write_timeout": BROKER_S}
    try:
        with Connection(url, connect_timeout=BROKER_S, transport_options=timeouts) as connection:
            connection.ensure_connection(max_retries=1, timeout=BROKER_S)
    except (AMQPError, OperationalError, OSError):
        return True
    return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tasks.health", description=__doc__)
    of = parser.add_subparsers(dest="of", required=True)
    asked = of.add_parser("worker", help="does it consume the queues that it should?")
    asked.add_argument("-n", "--hostname", metavar="NAME", help="as the worker was given it")
    asked.add_argument("--deadline", type=float, default=DEADLINE_S, metavar="SECONDS")
    words = parser.parse_args()
    code, said = worker(host_format(default_nodename(words.hostname)), words.deadline)
    print(said, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
