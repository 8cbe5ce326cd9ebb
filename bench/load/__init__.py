"""The load generator: postings, trickles, idle connections, and a delaying proxy."""
