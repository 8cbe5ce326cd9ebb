"""What happened to a raw stream, in words."""

from datetime import UTC, datetime

from db.ledger.generations import Generation


def told(began: Generation) -> str:
    """What happened to the stream when the generation began."""
    when = "before this release"
    if began.began_at:
        when = datetime.fromtimestamp(began.began_at / 1e6, UTC).isoformat(" ", "seconds")
    if began.kind == "cut":
        what = f"the raw stream had lost all from offset {began.from_offset:,} on"
    else:
        what = "the raw stream was another one; all that it held was read"
    return (
        f"{when}: {what} (the cursor was at {began.cursor_before:,});"
        f" {began.expired:,} batches of open windows are booked as expired"
    )
