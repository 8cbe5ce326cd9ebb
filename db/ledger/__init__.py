"""What became of every batch: cursor, windows, deposits, leases, and the breaker."""
