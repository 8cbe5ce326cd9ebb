"""Which traces are told, by OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG."""

import os

import structlog
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    ParentBasedTraceIdRatio,
    Sampler,
    TraceIdRatioBased,
)

log = structlog.get_logger("tracing")

RATIO = 0.01
"""Of the requests, and of the windows, when nothing else is said."""
_DEFAULT = "parentbased_traceidratio"


def sampler() -> Sampler:
    """As OpenTelemetry names them, but the default is a hundredth: of thousands of requests a second, each
    would be a span. What is not understood is logged, and the default stands.
    """
    name = os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() or _DEFAULT
    match name:
        case "always_on":
            return ALWAYS_ON
        case "always_off":
            return ALWAYS_OFF
        case "traceidratio":
            return TraceIdRatioBased(_ratio())
        case "parentbased_always_on":
            return ParentBased(ALWAYS_ON)
        case "parentbased_always_off":
            return ParentBased(ALWAYS_OFF)
        case "parentbased_traceidratio":
            return ParentBasedTraceIdRatio(_ratio())
    log.warning("traces_misconfigured", detail="OTEL_TRACES_SAMPLER is none of OpenTelemetry's samplers")
    return ParentBasedTraceIdRatio(RATIO)


def _ratio() -> float:
    text = os.environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    try:
        ratio = float(text) if text else RATIO
    except ValueError:
        ratio = -1.0
    if 0.0 <= ratio <= 1.0:
        return ratio
    log.warning("traces_misconfigured", detail="OTEL_TRACES_SAMPLER_ARG is no number from 0 to 1")
    return RATIO
