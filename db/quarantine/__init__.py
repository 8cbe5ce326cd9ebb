"""Rows of quarantine: kept within a budget, replayed, exported, discarded."""
