"""What a worker's child process holds while it lives: one engine, one broker, made after the fork."""

import os
from dataclasses import dataclass, field
from functools import cache, partial

from celery import Celery, current_app
from sqlalchemy import Engine

import db.engine
from db.settings import DatabaseSettings
from streams import Broker, StreamSettings
from tasks.measures.shown import stage_measures
from tasks.measures.stages import StageMeasures
from tasks.settings import TaskSettings
from tracing import Tracer


@dataclass(frozen=True, kw_only=True)
class Context:
    """The open connections and the settings of this process."""

    engine: Engine
    broker: Broker
    settings: TaskSettings
    app: Celery
    measures: StageMeasures = field(default_factory=StageMeasures)
    tracer: Tracer = field(default_factory=partial(Tracer, "worker"))

    def close(self) -> None:
        self.broker.close()
        self.engine.dispose()
        self.tracer.stop()


@cache
def _of_process(pid: int) -> Context:
    measures = stage_measures()
    reconnected = measures.connections.reconnected
    engine = db.engine.connect(DatabaseSettings())
    db.engine.watch(engine, measures.connections.waited, reconnected("database"))
    made = Context(
        engine=engine,
        broker=Broker(StreamSettings(), reconnected=reconnected("streams")),
        settings=TaskSettings(),
        app=current_app._get_current_object(),
        measures=measures,
    )
    made.tracer.start()
    return made


def context() -> Context:
    """This process's context, made on the first call, so that no connection is ever shared over a fork."""
    return _of_process(os.getpid())
