"""`python -m tasks.dispatcher`: serve customers until SIGTERM or SIGINT."""

import argparse
import os
import signal
import sys
from functools import partial
from types import FrameType

import structlog

import db.engine
import db.errors
from db.settings import DatabaseSettings
from environment.errors import MISCONFIGURED
from environment.starting import stopping
from streams import Broker, StreamSettings
from supervision import Supervised
from tasks.celery import app
from tasks.dispatcher.housekeeping import Housekeeper
from tasks.dispatcher.leases import Leases
from tasks.dispatcher.loop import RETRY_S, Dispatcher
from tasks.dispatcher.scheduling.queue_depth import Queues
from tasks.dispatcher.turns import Turns, dispatcher_name
from tasks.logs import configure
from tasks.measures.dispatching import shown
from tasks.measures.measurer import made
from tasks.settings import TaskSettings
from tasks.starting import check
from tracing import Tracer

log = structlog.get_logger("dispatcher")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tasks.dispatcher", description=__doc__)
    parser.add_argument("-n", "--name", metavar="NAME", help="for `python -m tasks.health`: dispatcher@%%h")
    name = dispatcher_name(parser.parse_args().name)
    configure()
    with stopping():
        check()
        _serve(name)


def _serve(name: str) -> None:
    settings = TaskSettings()
    leases = Leases(stale_s=settings.lease_stale_s)
    measures = shown(settings, leases.holder)
    reconnected = measures.connections.reconnected
    broker = Broker(StreamSettings(), reconnected=reconnected("streams"))
    engine = db.engine.connect(DatabaseSettings())
    db.engine.watch(engine, measures.connections.waited, reconnected("database"))
    tracer = Tracer("dispatcher")
    tracer.start()
    supervised = Supervised()
    turns = Turns(
        supervised,
        partial(broker.ready, RETRY_S),
        broker_url=settings.broker_url.get_secret_value(),
        name=name,
    )
    dispatcher = Dispatcher(
        app=app,
        engine=engine,
        broker=broker,
        settings=settings,
        leases=leases,
        queues=Queues(app),
        measures=measures,
        turns=turns,
        tracer=tracer,
    )

    def stop(signum: int, frame: FrameType | None) -> None:
        dispatcher.stopping = True
        supervised.stopping()

    housekeeper = Housekeeper(
        engine,
        DatabaseSettings(),
        every_s=settings.prune_every_s,
        failed=lambda: os.kill(os.getpid(), signal.SIGTERM),
    )
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    measurer = made(measures.board, settings, elected=lambda: leases.first)
    housekeeper.start()
    if measurer is not None:
        measurer.start()
    try:
        dispatcher.run()
    except db.errors.DatabaseMisconfigured as error:
        log.error("database_misconfigured", reason=str(error))
        sys.exit(MISCONFIGURED)
    finally:
        turns.close()
        housekeeper.stop()
        if measurer is not None:
            measurer.stop()
        broker.close()
        engine.dispose()
        measures.stop()
        tracer.stop()


if __name__ == "__main__":
    main()
