"""The Celery app: `celery -A tasks worker`."""

from celery import Celery

from tasks.worker import transport
from tasks.worker.beating import Beating
from tasks.worker.consumption import Answering
from tasks.worker.shared_queues import SharedQueues

transport.use()
app = Celery(
    "tasks",
    include=["tasks.stages.celery_tasks"],
    control="tasks.worker.monitoring:Control",
    events="tasks.worker.monitoring:Events",
)
app.config_from_object("celeryconfig")
app.steps["consumer"].update((SharedQueues, Answering, Beating))
