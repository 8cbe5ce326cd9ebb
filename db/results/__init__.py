"""The results that a deposit writes: one door to the three tables and their partitions."""

from db.results.columns import of_customer
from db.results.events import write_events
from db.results.interactions import write_interactions
from db.results.rollups import write_rollups
from db.retention.partitions import prepare

__all__ = ["of_customer", "prepare", "write_events", "write_interactions", "write_rollups"]
