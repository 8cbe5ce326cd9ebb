"""gunicorn's worker: its loop, connections, heads, bodies, answers; health, and shutting down."""
