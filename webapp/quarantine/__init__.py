"""Replay, export and withheld bytes of quarantine, as the commands do them."""
