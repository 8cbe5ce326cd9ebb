"""What the environment says of the collector, by OpenTelemetry's own variables; the SDK is not needed."""

import os
import re
from urllib.parse import unquote

from environment.secret_files import from_file

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_KEY = re.compile(r"(?:bearer +)?(?P<key>sl_(?P<slug>[a-z0-9-]{1,40})_[A-Za-z0-9_-]{43})", re.IGNORECASE)
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


def headers_from_file() -> dict[str, str]:
    """The headers for the collector, when they lie in a file; those in variables are the SDK's to read.

    Raises environment.errors.Misconfigured.
    """
    text = next((found for name in _HEADERS if (found := from_file(name))), "")
    return {name.lower(): value for name, value in _parsed(text)}


def own_customer() -> str | None:
    """The customer of Sluice with whose key spans are posted, when the collector is Sluice.

    Nothing of this customer's batches is traced: a span would become a batch, which would become spans.
    Raises environment.errors.Misconfigured.
    """
    return claimed_customer(_authorization())


def claimed_customer(authorization: str) -> str | None:
    """Whose key an Authorization header seems to hold, known to Sluice or not."""
    found = _KEY.fullmatch(authorization)
    return found["slug"] if found else None


def _authorization() -> str:
    in_file = headers_from_file()
    headers = in_file or dict(_parsed(_first(_HEADERS) or ""))
    return next((value for name, value in headers.items() if name.lower() == "authorization"), "")


def _parsed(text: str) -> list[tuple[str, str]]:
    """As OpenTelemetry writes headers: `name=value,name=value`, quoted as in a URL."""
    pairs = (header.partition("=") for header in text.split(",") if "=" in header)
    return [(unquote(name.strip()), unquote(value.strip())) for name, _, value in pairs]


def _first(names: tuple[str, ...]) -> str | None:
    return next((value for name in names if (value := os.environ.get(name, "").strip())), None)
