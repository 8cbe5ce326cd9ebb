"""What a posting path's query says, for those who cannot send headers."""

from urllib.parse import parse_qsl

from webapp.receiving.body import Environ

MOST_FIELDS = 16


def asked(environ: Environ, name: str) -> str | None:
    """The first value of this name, None when there is none, or more fields than MOST_FIELDS."""
    query = environ.get("QUERY_STRING", "")
    if name not in query:
        return None
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        return None
    return next((value for field, value in pairs if field == name), None)
