"""`python -m tasks.health worker|dispatcher`: does it do its work on this host? Exit codes: `HealthExit`."""

import argparse
import sys
import time
from enum import IntEnum

import msgspec
from amqp.exceptions import AMQPError
from celery.utils.nodenames import default_nodename, host_format
from kombu import Connection
from kombu.exceptions import OperationalError

import db.engine
import db.errors
from db.settings import DatabaseSettings
from environment.errors import MISCONFIGURED
from environment.starting import stopping
from supervision import Missing, Unanswered, address, ask
from tasks.dispatcher.turns import DISPATCHER, Turn, dispatcher_name
from tasks.settings import TaskSettings
from tasks.worker import transport
from tasks.worker.consumption import WORKER, Consumption

DEADLINE_S = 15.0  # more than a worker needs to consume again after it lost its channel
TURN_DEADLINE_S = 60.0  # more than a round of a dispatcher takes on a slow database
AGAIN_S = 0.5
AWAY_S = 3.0
Health = tuple["HealthExit", str]


class HealthExit(IntEnum):
    """What a supervisor may rely on; 2 is argparse's own, for words that it does not know."""

    WORKS = 0  # or waits for what is away, which starting it again would not change
    FAILS = 1  # start it again
    MISCONFIGURED = MISCONFIGURED  # this command's own settings make no sense


def worker(name: str, deadline_s: float) -> Health:
    """Ask until the worker consumes all that it should, or until the deadline; with what to tell people."""
    url = TaskSettings().broker_url.get_secret_value()
    until = time.monotonic() + deadline_s
    while True:
        try:
            answer = msgspec.json.decode(ask(address(WORKER, url, name), until), type=Consumption)
        except Missing:
            return HealthExit.FAILS, f"there is no worker {name} on this host"
        except (Unanswered, msgspec.DecodeError):
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


def dispatcher(name: str, deadline_s: float) -> Health:
    """Ask the dispatcher's loop, which answers between two rounds; with what to tell people."""
    url = TaskSettings().broker_url.get_secret_value()
    try:
        raw = ask(address(DISPATCHER, url, name), time.monotonic() + deadline_s)
        answer = msgspec.json.decode(raw, type=Turn)
    except Missing:
        return HealthExit.FAILS, f"there is no dispatcher {name} on this host"
    except (Unanswered, msgspec.DecodeError):
        for what, away in (("broker", _broker_is_away(url)), ("database", _database_is_away())):
            if away:
                return HealthExit.WORKS, f"{name} waits for the {what}, which is away"
        return HealthExit.FAILS, f"the loop of {name} stands still, and broker and database are there"
    if answer.waits_for:
        return HealthExit.WORKS, f"{name} waits: {answer.waits_for}"
    return HealthExit.WORKS, f"{name} dispatches; customers: {answer.customers}"


def _broker_is_away(url: str) -> bool:
    transport.use()
    timeouts = {"read_timeout": AWAY_S, "write_timeout": AWAY_S}
    try:
        with Connection(url, connect_timeout=AWAY_S, transport_options=timeouts) as connection:
            connection.ensure_connection(max_retries=1, timeout=AWAY_S)
    except (AMQPError, OperationalError, OSError):
        return True
    return False


def _database_is_away() -> bool:
    short = {"connect_timeout_s": int(AWAY_S), "statement_timeout_s": AWAY_S, "sqlite_busy_timeout_s": AWAY_S}
    engine = db.engine.connect(DatabaseSettings().model_copy(update=short), pooled=False)
    try:
        # It writes nothing; but a database that nobody may write to now is away for a dispatcher.
        with db.engine.begin(engine) as connection:
            connection.exec_driver_sql("SELECT 1")
    except db.errors.DatabaseUnavailable:
        return True
    finally:
        engine.dispose()
    return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tasks.health", description=__doc__)
    of = parser.add_subparsers(dest="of", required=True)
    asked = of.add_parser("worker", help="does it consume the queues that it should?")
    asked.add_argument("-n", "--hostname", metavar="NAME", help="as the worker was given it")
    asked.add_argument("--deadline", type=float, default=DEADLINE_S, metavar="SECONDS")
    loop = of.add_parser("dispatcher", help="does its loop turn?")
    loop.add_argument("-n", "--name", metavar="NAME", help="as the dispatcher was given it")
    loop.add_argument("--deadline", type=float, default=TURN_DEADLINE_S, metavar="SECONDS")
    words = parser.parse_args()
    with stopping():
        if words.of == "worker":
            code, said = worker(host_format(default_nodename(words.hostname)), words.deadline)
        else:
            code, said = dispatcher(dispatcher_name(words.name), words.deadline)
    print(said, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
