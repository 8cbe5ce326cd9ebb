"""Which queue a stage of a customer is sent to."""

from typing import get_args

from db.customers import Stage
from db.routes import queue_name

__all__ = ("STAGES", "queue_name")

STAGES: tuple[Stage, ...] = get_args(Stage)
