"""The Celery app: `celery -A tasks worker`."""

import logging

from celery import Celery
from celery.signals import after_setup_logger, after_setup_task_logger, celeryd_init

from environment.settings import LogSettings
from environment.starting import stopping
from supervision import JsonLines
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


@after_setup_logger.connect  # type: ignore[untyped-decorator]  # the same
@after_setup_task_logger.connect  # type: ignore[untyped-decorator]  # the same
def _on_logger(logger: logging.Logger, **_others: object) -> None:
    """Celery's own lines in Celery's form, or as the others are."""
    if LogSettings().as_json:
        for handler in logger.handlers:
            handler.setFormatter(JsonLines())


app.config_from_object("celeryconfig")
app.steps["consumer"].update((SharedQueues, Answering, Beating))
