"""The same with what its documentation advises for more: bulk insert, confirmed publishing, late acks.

gunicorn -w 2 -k gthread --threads 32 bench.peers.bulk_confirm:app
celery -A bench.peers.bulk_confirm:celery worker
"""

import os
import uuid
from typing import Any

from celery import Celery
from flask import Flask, request
from sqlalchemy import create_engine, insert
from sqlalchemy.orm import Session

from bench.peers.otlp import rows
from bench.peers.tables import Event, roll_up, row

app = Flask(__name__)
celery = Celery(__name__, broker=os.environ["BROKER_URL"])
celery.conf.update(
    task_ignore_result=True,
    task_default_queue="bulk_confirm",
    broker_transport_options={"confirm_publish": True},
    task_acks_late=True,
    worker_prefetch_multiplier=1,
)
engine = create_engine(os.environ["DATABASE_URL"])


@celery.task
def ingest(events: list[dict[str, Any]]) -> None:
    batch_id = uuid.uuid4().hex
    with Session(engine) as session, session.begin():
        session.execute(insert(Event), [row(event, batch_id) for event in events])
        roll_up(session.connection(), batch_id)


@app.post("/events")
def receive() -> tuple[str, int]:
    ingest.delay(rows(request.get_data(), request.headers.get("Content-Encoding", "")))
    return "", 202
