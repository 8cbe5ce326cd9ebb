"""GET /healthz and /readyz."""

import json

from flask import Blueprint, Response

from db.customers.rows import Customer
from streams import Broker
from webapp.receiving.keys import KeyCache
from webapp.serving.shutdown_flag import ShutdownFlag

READY_TIMEOUT_S = 1.0


def blueprint(broker: Broker, keys: KeyCache[Customer], shutdown: ShutdownFlag) -> Blueprint:
    """The paths' routes."""
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    def healthz() -> Response:
        return _json({"alive": True}, 200)

    @routes.get("/readyz")
    def readyz() -> Response:
        found = {
            "draining": shutdown.begun,
            "broker": broker.ready(READY_TIMEOUT_S),
            "keys": keys.usable(),
        }
        ready = found["broker"] and found["keys"] and not found["draining"]
        return _json({"ready": ready, **found}, 200 if ready else 503)

    return routes


def _json(document: dict[str, bool], status: int) -> Response:
    return Response(
        json.dumps(document), status, {"Cache-Control": "no-store"}, content_type="application/json"
    )
