"""Figures of a run: latencies, costs, accounts, and the file that keeps them."""
