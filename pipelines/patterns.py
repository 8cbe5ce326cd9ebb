"""Whether a regular expression is one that the workers can run: asked of the engine that runs it."""


def fault(pattern: str) -> str | None:
    """What RE2 has against the pattern, or None."""
    # Imported here since it takes 60 MB, and most who import this room never check a definition.
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        # One row, since the engine does not look at the expression when there is none.
        pc.match_substring_regex(pa.array([""]), pattern=pattern)
    except pa.ArrowInvalid as error:
        return str(error)
    return None
