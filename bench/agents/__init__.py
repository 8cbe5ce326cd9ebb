"""Agents that post batches as the SDKs do."""
