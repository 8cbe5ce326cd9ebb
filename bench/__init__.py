"""Load, replay and measurement; nothing here is imported by the product."""
