"""A handler that takes a body and does nothing with it, under the receiver's own gunicorn settings.

gunicorn -c python:bench.floors.empty bench.floors.empty:app
"""

import time
from typing import Any, cast

from flask import Flask, Response, request

from webapp import problems
from webapp.gunicorn import (  # gunicorn takes its settings from this module's names
    backlog as backlog,
    bind as bind,
    control_socket_disable as control_socket_disable,
    graceful_timeout as graceful_timeout,
    keepalive as keepalive,
    post_fork as post_fork,
    pre_fork as pre_fork,
    threads as threads,
    timeout as timeout,
    worker_class as worker_class,
    worker_connections as worker_connections,
    workers as workers,
)
from webapp.problems import Problem
from webapp.receiving.accept import Admitted
from webapp.settings import HttpSettings, http_settings


class Anything:
    """What `webapp.serving.worker` asks of a receiver: every body is wanted, and nobody's."""

    def __init__(self, settings: HttpSettings) -> None:
        self.settings = settings
        self.head_check = self.reception = self

    def decide(self, environ: object) -> Admitted:
        """No head is refused."""
        return Admitted(
            customer=cast("Any", None),
            kind=cast("Any", None),
            encoding="identity",
            batch_id=None,
            limit=self.settings.body_bytes,
            admission=None,
            begun=time.perf_counter(),
        )

    def release(self, admitted: Admitted) -> None:
        """Nothing was taken for it."""

    def too_slow(self) -> Problem:
        """The refusal of a body that is not waited for any longer."""
        return problems.too_slow(self.settings.body_deadline_s)

    def no_room(self) -> Problem:
        """The refusal of a body when all together hold too much."""
        return problems.later(problems.OVERLOADED, "too many bodies come too slowly", least_s=1, most_s=5)


app = Flask("empty", static_folder=None)
app.extensions["sluice"] = Anything(http_settings())


@app.post("/v1/batches")
@app.post("/v1/traces")
def nothing() -> Response:
    """Reads what was sent, as otherwise the connection could not be kept."""
    request.get_data(cache=False)
    return Response(status=202)
