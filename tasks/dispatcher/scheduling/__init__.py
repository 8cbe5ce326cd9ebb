"""Which customer's window is cut next, and how many may be in flight."""
