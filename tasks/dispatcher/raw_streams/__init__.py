"""How the dispatcher reads raw streams: feeds, following, and what is done when a stream changed."""
