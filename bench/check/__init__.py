"""The independent check: what should be stored, what is stored, and the verdict."""
