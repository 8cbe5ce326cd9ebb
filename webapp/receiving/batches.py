"""POST /v1/batches: Arrow, NDJSON and JSON batches."""

import json

from flask import Blueprint, Response, request

from webapp.metrics import REFUSALS
from webapp.problems import PROBLEM_JSON, Problem
from webapp.receiving.accept import BatchAcceptor
from webapp.receiving.heads import MediaType
from webapp.receiving.when_confirmed import WhenConfirmed

PATH = "/v1/batches"
FORMATS = {
    kind.content_type: kind
    for kind in (
        MediaType("application/vnd.apache.arrow.stream", "arrow"),
        MediaType("application/x-ndjson", "ndjson"),
        MediaType("application/json", "json"),
    )
}


def blueprint(reception: BatchAcceptor) -> Blueprint:
    """The path's routes."""
    routes = Blueprint("receive", __name__)

    @routes.post(PATH)
    def batches() -> Response:
        try:
            kept = reception.accept(request.environ, FORMATS)
        except Problem as problem:
            return answer(problem)
        said = json.dumps({"batch_id": kept.batch_id})
        return WhenConfirmed(said, 202, "application/json", reception=reception, kept=kept, refused=answer)

    return routes


def answer(problem: Problem) -> Response:
    """The problem as problem+json, counted."""
    REFUSALS.labels(problem.kind.slug).inc()
    return Response(problem.body(), problem.kind.status, problem.headers, content_type=PROBLEM_JSON)
