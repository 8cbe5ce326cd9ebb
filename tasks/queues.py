"""Which queue a stage of a customer is sent to."""

from collections.abc import Mapping
from typing import get_args

from db.customers import Stage

PREFIX = "customer-"
STAGES: tuple[Stage, ...] = get_args(Stage)


def queue_name(slug: str, stage: Stage, routes: Mapping[Stage, str]) -> str:
    """The queue of ``stage`` for the customer ``slug``: its own route, else ``customer-<slug>``."""
    return routes.get(stage) or PREFIX + slug
