"""The doorbell of a window: the Celery chain decode → process → deposit.

Where decode and process have one queue, which is so unless an operator routes one of them elsewhere, one
task does both, and the window's events stay in its process. Handed over by message they cost as much again
as decoding them: packed, written to the broker, read from it, written into a child's pipe, and unpacked.
"""

from collections.abc import Mapping
from functools import partial

from celery import Celery, chain, signature
from celery.canvas import Signature

from db.customers.rows import Stage
from tasks.queues import queue_name

RETRY = {"max_retries": 1, "interval_start": 0.1, "interval_step": 0.0, "interval_max": 0.1}
"""A connection that was lost in the meantime is opened once more. No more is tried: whoever rings waits, and
with a dispatcher all of its customers, and a window that was not rung is rung later."""


def ring(
    app: Celery,
    window_id: int,
    customer_id: int,
    slug: str,
    routes: Mapping[Stage, str],
    headers: Mapping[str, str] | None = None,
) -> None:
    """Send the chain of a recorded window; returns after the broker's confirm of its first message.

    A doorbell may be lost or ring twice: the window's row, not the message, says what is owed, and the
    ledger takes each window once. Raises kombu's OperationalError when the broker can't be reached, and of
    amqp's MessageNacked when the queue rejects the message. All of the chain's messages carry `headers`.
    """
    link = partial(_link, app, slug, routes, window_id, headers=headers or {})
    if queue_name(slug, "decode", routes) == queue_name(slug, "process", routes):
        links = [link("decode_process", "decode", (window_id,))]
    else:
        links = [
            link("decode", "decode", (window_id,)),
            link("process", "process", (), immutable=False),
        ]
    chain(*links, link("deposit", "deposit", (customer_id, window_id)), app=app).apply_async(
        retry_policy=RETRY
    )


def ring_group(app: Celery, windows: Mapping[int, str], carried: bytes = b"") -> None:
    """Send one doorbell for windows of several customers, whose slugs are given by window; as `ring`.
    `carried`: as `tasks.carried.pack` packs it.

    It goes to the queue of all shared workers: none of the customers has a worker or a queue of its own.
    """
    shown = f"({len(windows)} windows: {', '.join(f'{slug} {window}' for window, slug in windows.items())})"
    signature(
        "decode_process_deposit",
        args=(list(windows), carried),
        app=app,
        immutable=True,
        queue=app.conf.task_default_queue,
        argsrepr=shown,
        kwargsrepr="",
    ).apply_async(retry_policy=RETRY)


def ring_deposit(
    app: Celery, window_id: int, customer_id: int, slug: str, routes: Mapping[Stage, str]
) -> None:
    """Send the last link alone, for a window whose results are in the processed stream; as `ring`."""
    last = _link(app, slug, routes, window_id, "deposit", "deposit", (customer_id, window_id))
    last.apply_async(retry_policy=RETRY)


def _link(
    app: Celery,
    slug: str,
    routes: Mapping[Stage, str],
    window_id: int,
    task: str,
    stage: Stage,
    args: tuple[object, ...],
    *,
    immutable: bool = True,
    headers: Mapping[str, str] | None = None,
) -> Signature:
    shown = f"({slug}, window {window_id})"
    queue = queue_name(slug, stage, routes)
    options = {"headers": dict(headers)} if headers else {}
    return signature(
        task, args=args, app=app, immutable=immutable, queue=queue, argsrepr=shown, kwargsrepr="", **options
    )
