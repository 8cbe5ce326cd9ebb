"""A handler that takes a body and does nothing with it, under the receiver's own gunicorn settings.

gunicorn -c python:bench.floors.empty bench.floors.empty:app
"""

from flask import Flask, Response, request

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

app = Flask("empty", static_folder=None)


@app.post("/v1/batches")
@app.post("/v1/traces")
def nothing() -> Response:
    """Reads what was sent, as otherwise the connection could not be kept."""
    request.get_data(cache=False)
    return Response(status=202)
