"""What the log says of a task that failed."""

from dataclasses import dataclass

import pytest
from celery.app.task import Context
from celery.signals import task_failure
from structlog.testing import capture_logs

import tasks.stages.celery_tasks as _registered  # noqa: F401  # connects to the signal


@dataclass(eq=False)  # what sends a signal is looked up in a dictionary
class FailedTask:
    request: Context
    name: str = "decode"


@pytest.mark.parametrize(
    ("request_of_task", "work"),
    [(Context(argsrepr="(a, window 7)"), "(a, window 7)"), (Context(), None)],
    ids=["in its work", "when it sent the next stage"],
)
def test_a_failure_is_said_with_its_window_where_that_is_known(
    request_of_task: Context, work: str | None
) -> None:
    sender = FailedTask(request_of_task)
    with capture_logs() as said:
        [(_, answer)] = [
            answered
            for answered in task_failure.send(sender=sender, exception=ValueError())
            if answered[0].__name__ == "_say_which_window"
        ]
    assert answer is None, "it raised"
    assert [(line["event"], line["work"]) for line in said] == [("task_failed", work)]
