"""Which queue a stage of a customer is sent to."""

from typing import get_args

from db.customers.routes import queue_name
from db.customers.rows import Stage

__all__ = ("STAGES", "queue_name")

STAGES: tuple[Stage, ...] = get_args(Stage)
