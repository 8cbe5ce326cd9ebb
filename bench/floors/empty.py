"""A Flask handler that takes a body and does nothing with it, as anybody would run it.

gunicorn -w 2 -k gthread --threads 32 --keep-alive 75 bench.floors.empty:app
"""

from flask import Flask, Response, request

app = Flask("empty", static_folder=None)


@app.post("/v1/batches")
@app.post("/v1/traces")
def nothing() -> Response:
    """Reads what was sent, as otherwise the connection could not be kept."""
    request.get_data(cache=False)
    return Response(status=202)
