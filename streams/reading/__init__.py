"""Reading streams: ranges of offsets, subscriptions with credit, a stream's bounds and gaps."""
