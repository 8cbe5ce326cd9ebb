"""The Celery app: ``celery -A tasks worker``."""

from celery import Celery

from tasks import transport
from tasks.answering import Answering
from tasks.shared_queues import SharedQueues

transport.use()
app = Celery(
    "tasks",
    include=["tasks.stages"],
    control="tasks.monitoring:Control",
    events="tasks.monitoring:Events",
)
app.config_from_object("celeryconfig")
app.steps["consumer"].update((SharedQueues, Answering))
