"""A cluster of three nodes while nodes are stopped."""
