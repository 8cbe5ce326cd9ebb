"""What a worker's child process holds while it lives: one engine, one broker, made after the fork."""

import os
from dataclasses import dataclass
from functools import cache

from celery import Celery, current_app
from sqlalchemy import Engine

import db.engine
from db.settings import DatabaseSettings
from streams import Broker, StreamSettings
from tasks.settings import TaskSettings


@dataclass(frozen=True, kw_only=True)
class Context:
    """The open connections and the settings of this process."""

    engine: Engine
    broker: Broker
    settings: TaskSettings
    app: Celery

    def close(self) -> None:
        self.broker.close()
        self.engine.dispose()


@cache
def _of_process(pid: int) -> Context:
    settings = TaskSettings()
    return Context(
        engine=db.engine.connect(DatabaseSettings()),
        broker=Broker(StreamSettings()),
        settings=settings,
        app=current_app._get_current_object(),
    )


def context() -> Context:
    """This process's context, made on the first call, so that no connection is ever shared over a fork."""
    return _of_process(os.getpid())
