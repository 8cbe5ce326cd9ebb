"""The decoder of Arrow IPC streams."""
