"""The obvious Celery design: Flask hands the spans to a task, the task adds one ORM object an event.

gunicorn -w 2 -k gthread --threads 32 bench.peers.delay_per_event:app
celery -A bench.peers.delay_per_event:celery worker
"""

import os
import uuid
from typing import Any

from celery import Celery
from flask import Flask, request
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from bench.peers.otlp import rows
from bench.peers.tables import Event, roll_up, row

app = Flask(__name__)
celery = Celery(__name__, broker=os.environ["BROKER_URL"])
celery.conf.update(task_ignore_result=True, task_default_queue="delay_per_event")
engine = create_engine(os.environ["DATABASE_URL"])


@celery.task
def ingest(events: list[dict[str, Any]]) -> None:
    batch_id = uuid.uuid4().hex
    with Session(engine) as session, session.begin():
        for event in events:
            session.add(Event(**row(event, batch_id)))
        session.flush()
        roll_up(session.connection(), batch_id)


@app.post("/events")
def receive() -> tuple[str, int]:
    ingest.delay(rows(request.get_data(), request.headers.get("Content-Encoding", "")))
    return "", 202
