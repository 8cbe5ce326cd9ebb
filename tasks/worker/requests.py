"""What a worker's parent does when a delivery ends badly: it sends the message once more, marked.

Celery would give the message back to the broker, which marks it as redelivered: but so it does after every
restart of a worker or of the broker itself. The mark of a death is made only here, by the one process that
saw it, so that no batch is ever refused for restarts, however many. A marked message goes to the end of its
queue: the windows behind it come first.
"""

import re
from typing import Any

import structlog
from amqp.exceptions import AMQPError
from celery.exceptions import TimeLimitExceeded, WorkerLostError
from celery.worker import state
from celery.worker.request import Request as CeleryRequest
from kombu.exceptions import OperationalError

from tasks.measures.shown import parent_measures
from tasks.worker.failures import Failed

log = structlog.get_logger("worker")

CAUSE, DEATHS = "sluice_cause", "sluice_deaths"  # headers of a marked message
WORKER_DIED, TIME_LIMIT, UNEXPECTED_ERROR = "worker_died", "time_limit", "unexpected_error"
# After so many the message is let go: what cannot be held against a window still must not go round for ever.
# The dispatcher rings the window again, later each time.
MOST_DEATHS = 10
RETRY = {"max_retries": 3, "interval_start": 0.1, "interval_step": 0.3, "interval_max": 1.0}
_LOST = re.compile(r"prematurely: (.*?)\.?(?: Job: \d+\.?)?$")
# Whoever stops a worker sends these to its children, too; billiard's handler then exits with a code.
_STOPPING = ("exitcode", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")


def cause(error: BaseException) -> str | None:
    """`<reason>: <what>` for an end that is perhaps the content's doing, None for any other."""
    if isinstance(error, Failed):
        return f"{UNEXPECTED_ERROR}: {error.kind}"
    if isinstance(error, TimeLimitExceeded):
        return f"{TIME_LIMIT}: {error.args[0] if error.args else ''} s"
    if isinstance(error, WorkerLostError):
        found = _LOST.search(str(error))
        how = found[1] if found else "unknown"
        if "SIGPROF" in how:
            return f"{TIME_LIMIT}: of the processor"
        return None if any(name in how for name in _STOPPING) else f"{WORKER_DIED}: {how}"
    return None


class StageRequest(CeleryRequest):  # type: ignore[misc]  # celery has no types
    """A message that a worker holds. This runs in the worker's parent."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """Send the message again, marked, when its delivery died; all else is as Celery does it.

        Dying between the sending and the acknowledgement delivers the message twice: what is held against the
        window then is one delivery too many, and no death.
        """
        error = exc_info.exception
        found = cause(getattr(error, "exc", error))
        if found is None or self.acknowledged or state.should_terminate:
            super().on_failure(exc_info, send_failed_event, return_ok)
        elif self._sent_again(found):
            state.task_ready(self)
            self.acknowledge()
            self.send_event("task-failed", exception=found, traceback="")
        else:
            super().on_failure(exc_info, send_failed_event, return_ok)

    def _sent_again(self, found: str) -> bool:
        """False when the broker can't be reached: then Celery gives the message back to it, unmarked."""
        deaths = 1 + int(self.request_dict.get(DEATHS) or 0)
        parent_measures().deaths.labels(found.partition(":")[0]).inc()
        log.error("delivery_died", task=self.name, work=self.argsrepr, cause=found, deaths=deaths)
        if deaths >= MOST_DEATHS:
            return True
        try:
            with self.app.producer_or_acquire() as producer:
                producer.publish(
                    self.body,
                    exchange=self.delivery_info["exchange"] or "",
                    routing_key=self.delivery_info["routing_key"],
                    headers=self.message.headers | {CAUSE: found, DEATHS: deaths},
                    content_type=self.content_type,
                    content_encoding=self.content_encoding,
                    correlation_id=self.id,
                    delivery_mode=2,
                    retry=True,
                    retry_policy=RETRY,
                )
        except (OperationalError, AMQPError, OSError) as error:
            log.error("mark_not_sent", work=self.argsrepr, error=type(error).__name__)
            return False
        return True
