"""What dispatchers and workers count and measure for their operators; the names are in docs/metrics.md."""
