"""The named points of our code at which a process can be made to die or to stand still.

The code itself knows nothing of them: `tests.fault.launch` wraps these functions in the processes that the
tests start. A point is reached before the function runs, or after it has returned.
"""

from dataclasses import dataclass
from typing import Literal

Role = Literal["receiver", "dispatcher", "worker"]


@dataclass(frozen=True, kw_only=True)
class Point:
    """`target` is `module:name` as the caller looks it up; `link`: only calls on that task's signature."""

    name: str
    role: Role
    target: str
    when: Literal["before", "after"]
    says: str
    link: str = ""
    customers: int = 2  # under whose traffic it is reached; groups need several that have no routes


POINTS: tuple[Point, ...] = (
    Point(
        name="publish-before",
        role="receiver",
        target="streams.broker:Broker.submit",
        when="before",
        says="a batch was read and is not published",
    ),
    Point(
        name="confirm-unseen",
        role="receiver",
        target="streams.publishing.stream_publisher:StreamPublisher.confirmed",
        when="before",
        says="the broker has confirmed a batch and nobody has seen it",
    ),
    Point(
        name="publish-after",
        role="receiver",
        target="webapp.receiving.accept:BatchAcceptor._settled",
        when="before",
        says="a batch is confirmed and not answered",
    ),
    Point(
        name="dispatch-before",
        role="dispatcher",
        target="tasks.dispatcher.loop:sort",
        when="before",
        says="a window was cut, its transaction has not begun",
    ),
    Point(
        name="dispatch-uncommitted",
        role="dispatcher",
        target="tasks.dispatcher.loop:record",
        when="after",
        says="cursor, window and batch ids are written and not committed",
    ),
    Point(
        name="ring-before",
        role="dispatcher",
        target="tasks.dispatcher.doorbells:ring",
        when="before",
        says="a window is committed and its chain not sent",
    ),
    Point(
        name="ring-after",
        role="dispatcher",
        target="tasks.dispatcher.doorbells:ring",
        when="after",
        says="a chain was sent and nothing remembered of it",
    ),
    Point(
        name="decode-before",
        role="worker",
        target="tasks.stages.decode:run",
        when="before",
        says="the decode task was taken and has done nothing",
    ),
    Point(
        name="decode-unhanded",
        role="worker",
        target="tasks.stages.decode:packed",
        when="after",
        says="a window is decoded and not handed over",
    ),
    Point(
        name="decode-handed",
        role="worker",
        target="celery.canvas:Signature.apply_async",
        when="after",
        link="process",
        says="the process task is sent and the decode task not acknowledged",
    ),
    Point(
        name="process-before",
        role="worker",
        target="tasks.stages.process:run",
        when="before",
        says="the process task was taken and has done nothing",
    ),
    Point(
        name="process-published",
        role="worker",
        target="streams.broker:Broker.publish",
        when="after",
        says="a window's results are in the processed stream and nobody knows",
    ),
    Point(
        name="process-handed",
        role="worker",
        target="celery.canvas:Signature.apply_async",
        when="after",
        link="deposit",
        says="the deposit task is sent and the process task not acknowledged",
    ),
    Point(
        name="deposit-before",
        role="worker",
        target="tasks.stages.deposit:run",
        when="before",
        says="the deposit task was taken and has done nothing",
    ),
    Point(
        name="deposit-uncommitted",
        role="worker",
        target="db.ledger.deposits:_settle",
        when="after",
        says="rows, ledger and cursor are written and not committed",
    ),
    Point(
        name="deposit-committed",
        role="worker",
        target="tasks.stages.deposit:book",
        when="after",
        says="a deposit is committed and its task not acknowledged",
    ),
    Point(
        name="group-unbooked",
        role="worker",
        target="tasks.stages.group:book_group",
        when="before",
        says="a group of windows is processed, its transaction has not begun",
        customers=6,
    ),
    Point(
        name="group-committed",
        role="worker",
        target="tasks.stages.group:book_group",
        when="after",
        says="a group's deposits are committed and its task not acknowledged",
        customers=6,
    ),
)
BY_NAME = {point.name: point for point in POINTS}
