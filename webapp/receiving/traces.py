"""POST /v1/traces: OTLP/HTTP as its specification says, so that an unmodified OpenTelemetry SDK is an agent.

opentelemetry.io/docs/specs/otlp: success is 200 with an ExportTraceServiceResponse, refusals
carry a google.rpc.Status, both in the request's content type; SDKs try only 429, 502, 503 and 504 again.
"""

import json
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

PATH = "/v1/traces"
PROTOBUF = "application/x-protobuf"
JSON = "application/json"
FORMATS = {
    PROTOBUF: MediaType(PROTOBUF, "otlp-protobuf", empty=True),
    JSON: MediaType(JSON, "otlp-json"),
}
"""An ExportTraceServiceRequest without spans is no bytes at all in protobuf."""

EMPTY_RESPONSE = {PROTOBUF: b"", JSON: b"{}"}
"""ExportTraceServiceResponse without partial_success: everything was accepted."""

RPC_CODES = {
    HTTPStatus.BAD_REQUEST: code_pb2.INVALID_ARGUMENT,
    HTTPStatus.UNAUTHORIZED: code_pb2.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: code_pb2.PERMISSION_DENIED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: code_pb2.INVALID_ARGUMENT,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: code_pb2.INVALID_ARGUMENT,
    HTTPStatus.TOO_MANY_REQUESTS: code_pb2.RESOURCE_EXHAUSTED,
    HTTPStatus.INTERNAL_SERVER_ERROR: code_pb2.INTERNAL,
    HTTPStatus.NOT_IMPLEMENTED: code_pb2.UNIMPLEMENTED,
    HTTPStatus.SERVICE_UNAVAILABLE: code_pb2.UNAVAILABLE,
}


def blueprint(reception: BatchAcceptor) -> Blueprint:
    """The path's routes."""
    routes = Blueprint("traces", __name__)

    @routes.post(PATH)
    def traces() -> Response:
        kind = _content_type(request.environ.get("CONTENT_TYPE", ""))
        try:
            kept = reception.accept(request.environ, FORMATS)
        except Problem as problem:
            if problem.kind is problems.BODY_TOO_SLOW:
                # An SDK would not try again after 408.
                problem = reception.later(problems.UNAVAILABLE, problem.detail)
            return status(problem, kind)
        refused = partial(status, content_type=kind)
        return WhenConfirmed(EMPTY_RESPONSE[kind], 200, kind, reception=reception, kept=kept, refused=refused)

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
