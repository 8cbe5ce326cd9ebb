"""The books, lag, receipts, and the coverage that `flask verify` proves."""
