"""The Celery app: `celery -A tasks worker`."""

from celery import Celery
from celery.signals import celeryd_init

from environment.starting import stopping
from tasks.starting import check
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


@celeryd_init.connect  # type: ignore[untyped-decorator]  # celery has no types
def _on_start(**_others: object) -> None:
    """A worker that cannot work as it is set up ends, in the parent and before it connects."""
    with stopping():
        check()


app.config_from_object("celeryconfig")
app.steps["consumer"].update((SharedQueues, Answering, Beating))
