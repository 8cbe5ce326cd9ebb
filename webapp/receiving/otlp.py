"""POST /v1/traces and /v1/logs: OTLP/HTTP as its specification says, so that an unmodified OpenTelemetry SDK
is an agent.

opentelemetry.io/docs/specs/otlp: success is 200 with an ExportTraceServiceResponse, or an
ExportLogsServiceResponse, refusals carry a google.rpc.Status, both in the request's content type; SDKs try
only 429, 502, 503 and 504 again.
"""

import json
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus

from flask import Blueprint, Response, request
from google.rpc import code_pb2, status_pb2  # type: ignore[import-untyped] # it ships none

from webapp import problems
from webapp.metrics import REFUSALS
from webapp.problems import Problem
from webapp.receiving.accept import BatchAcceptor
from webapp.receiving.heads import MediaType
from webapp.receiving.when_confirmed import WhenConfirmed

TRACES = "/v1/traces"
LOGS = "/v1/logs"
METRICS = "/v1/metrics"
PROTOBUF = "application/x-protobuf"
JSON = "application/json"
FORMATS = {
    TRACES: {
        PROTOBUF: MediaType(PROTOBUF, "otlp-protobuf", empty=True),
        JSON: MediaType(JSON, "otlp-json"),
    },
    LOGS: {
        PROTOBUF: MediaType(PROTOBUF, "otlp-logs-protobuf", empty=True),
        JSON: MediaType(JSON, "otlp-logs-json"),
    },
}
"""By path. An export without spans, or without log records, is no bytes at all in protobuf."""

EMPTY_RESPONSE = {PROTOBUF: b"", JSON: b"{}"}
"""The response of either signal without partial_success: everything was accepted."""

RPC_CODES = {
    HTTPStatus.BAD_REQUEST: code_pb2.INVALID_ARGUMENT,
    HTTPStatus.UNAUTHORIZED: code_pb2.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: code_pb2.PERMISSION_DENIED,
    HTTPStatus.NOT_FOUND: code_pb2.UNIMPLEMENTED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: code_pb2.INVALID_ARGUMENT,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: code_pb2.INVALID_ARGUMENT,
    HTTPStatus.TOO_MANY_REQUESTS: code_pb2.RESOURCE_EXHAUSTED,
    HTTPStatus.INTERNAL_SERVER_ERROR: code_pb2.INTERNAL,
    HTTPStatus.NOT_IMPLEMENTED: code_pb2.UNIMPLEMENTED,
    HTTPStatus.SERVICE_UNAVAILABLE: code_pb2.UNAVAILABLE,
}


def blueprint(reception: BatchAcceptor) -> Blueprint:
    """The routes of both signals, and the answer to the third."""
    routes = Blueprint("otlp", __name__)

    def received(formats: Mapping[str, MediaType]) -> Response:
        kind = _content_type(request.environ.get("CONTENT_TYPE", ""))
        try:
            kept = reception.accept(request.environ, formats)
        except Problem as problem:
            if problem.kind is problems.BODY_TOO_SLOW:
                # An SDK would not try again after 408.
                problem = reception.later(problems.UNAVAILABLE, problem.detail)
            return status(problem, kind)
        refused = partial(status, content_type=kind)
        return WhenConfirmed(EMPTY_RESPONSE[kind], 200, kind, reception=reception, kept=kept, refused=refused)

    @routes.post(TRACES)
    def traces() -> Response:
        return received(FORMATS[TRACES])

    @routes.post(LOGS)
    def logs() -> Response:
        return received(FORMATS[LOGS])

    @routes.post(METRICS)
    def metrics() -> Response:
        problem = Problem(problems.METRICS_NOT_KEPT, "this is no metrics store")
        return status(problem, _content_type(request.environ.get("CONTENT_TYPE", "")))

    @routes.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        return status(problems.internal(error), _content_type(request.environ.get("CONTENT_TYPE", "")))

    return routes


def status(problem: Problem, content_type: str) -> Response:
    """The problem as google.rpc.Status, counted."""
    REFUSALS.labels(problem.kind.slug).inc()
    code = RPC_CODES.get(HTTPStatus(problem.kind.status), code_pb2.UNKNOWN)
    message = f"{problem.kind.title}: {problem.detail} ({problem.kind.uri})"
    if content_type == PROTOBUF:
        body = status_pb2.Status(code=code, message=message).SerializeToString()
    else:
        body = json.dumps({"code": int(code), "message": message}).encode()
    return Response(body, problem.kind.status, problem.headers, content_type=content_type)


def _content_type(header: str) -> str:
    """The answer's type: the request's own when OTLP knows it, else JSON, which people can read."""
    return PROTOBUF if header.partition(";")[0].strip(" \t").lower() == PROTOBUF else JSON
