"""A task's span: below the dispatch of its window, in the trace that its message carries."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from tracing import Tracer


def traced(tracer: Tracer, task: str, request: Any) -> AbstractContextManager[None]:
    """Around the work of a task (`celery.app.task.Context`), whose message was sent within a span.

    A message that carries no trace makes none: the dispatcher decides whose windows are traced.
    """
    traceparent = getattr(request, "traceparent", None)
    if not isinstance(traceparent, str):
        return nullcontext()
    carried = {"traceparent": traceparent}
    customer = getattr(request, "baggage", None)
    if isinstance(customer, str):
        carried["baggage"] = customer
    return tracer.span(
        f"run/{task}",
        "consumer",
        {
            "messaging.system": "rabbitmq",
            "messaging.destination.name": str((request.delivery_info or {}).get("routing_key")),
            "messaging.message.id": str(request.id),
            "messaging.operation.type": "process",
            "messaging.operation.name": task,
        },
        parent=carried,
    )
