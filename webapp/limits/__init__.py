"""A customer's limits, in memory that the workers of a receiver share."""
