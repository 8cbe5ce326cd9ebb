"""Pages in a real Chromium against the whole of Sluice: `make browsers`."""
