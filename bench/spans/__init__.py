"""Spans from a fixed seed, with the statistics of a recorded system."""
