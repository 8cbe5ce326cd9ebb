"""What the environment says of the collector, by OpenTelemetry's own variables; the SDK is not needed."""

import os
import re
from urllib.parse import unquote

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_KEY = re.compile(r"bearer +(?P<key>sl_(?P<slug>[a-z0-9-]{1,40})_[A-Za-z0-9_-]{43})", re.IGNORECASE)
SPOKEN = "http/protobuf"


def configured() -> bool:
    """Whether this process is to trace its own work."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return False
    return _first(_ENDPOINTS) is not None


def protocol() -> str:
    """How the collector is to be spoken to; only `SPOKEN` can be."""
    return _first(_PROTOCOLS) or SPOKEN


def own_customer() -> str | None:
    """The customer of Sluice with whose key spans are posted, when the collector is Sluice.

    Nothing of this customer's batches is traced: a span would become a batch, which would become spans.
    """
    return claimed_customer(_authorization())


def claimed_customer(authorization: str) -> str | None:
    """Whose key an Authorization header seems to hold, known to Sluice or not."""
    found = _KEY.fullmatch(authorization)
    return found["slug"] if found else None


def _authorization() -> str:
    for header in (_first(_HEADERS) or "").split(","):
        name, _, value = header.partition("=")
        if name.strip().lower() == "authorization":
            return unquote(value.strip())
    return ""


def _first(names: tuple[str, ...]) -> str | None:
    return next((value for name in names if (value := os.environ.get(name, "").strip())), None)
