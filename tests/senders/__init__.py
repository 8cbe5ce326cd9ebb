"""Senders that users have, unmodified, against the whole of Sluice: `make senders`."""
