"""What serves an agent's request: paths, body, digests, keys, refusals, CORS, and the way to the confirm."""
