"""What is said of a span."""

from collections.abc import Mapping
from typing import Literal

Kind = Literal["internal", "server", "producer", "consumer"]
Attributes = Mapping[str, str | int]
CUSTOMER = "sluice.customer"
"""The attribute that names the customer."""
