"""The one place that turns a customer's slug into the names of its streams."""


def raw(slug: str) -> str:
    """Stream of the batches as agents sent them."""
    return f"raw.{slug}"


def processed(slug: str) -> str:
    """Stream of what the customer's pipeline made of its windows."""
    return f"processed.{slug}"
