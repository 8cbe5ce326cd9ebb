"""The results that a deposit writes: one door to the three tables and their partitions."""

from db.events import write_events
from db.interactions import write_interactions
from db.partitions import prepare
from db.rollups import write_rollups

__all__ = ["prepare", "write_events", "write_interactions", "write_rollups"]
