"""What bends gunicorn: heads, bodies, connections, health, shutting down."""
