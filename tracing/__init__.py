"""What a process tells of its own work: spans, by the OpenTelemetry SDK, when a collector is named.

The SDK is imported by `Tracer.start`, and only when one of the variables OTEL_EXPORTER_OTLP_…ENDPOINT is set.
"""

from tracing.attributes import CUSTOMER, Attributes
from tracing.collector import claimed_customer, configured
from tracing.tracer import Tracer

__all__ = ["CUSTOMER", "Attributes", "Tracer", "claimed_customer", "configured"]
