"""normalise: operations that name one thing each become operations that name a kind of thing."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from tasks.processors.answers import remembered
from tasks.processors.rows import Rows

PATH = r"^(?:[A-Z]+ )?/"  # a URL path, alone or after a method
QUERY = r"(?s)[?#].*$"
UUID = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
ID_SEGMENT = rf"/(?:[0-9]+|{UUID}|[0-9a-fA-F]{{16,}})(/|$)"
LONGEST = 1_024  # bytes, as of any operation: {id} may be longer than the id was


def normalise(rows: Rows) -> Rows:
    """The rows with ids and queries taken out of the operations that are paths."""
    words = rows.operation.words
    kinds = remembered(("normalise",), words, _kinds)
    return rows if kinds.equals(words) else replace(rows, operation=rows.operation.reworded(kinds))


def _kinds(words: pa.Array) -> pa.Array:
    path = pc.match_substring_regex(words, pattern=PATH)
    return pc.if_else(path, _without_ids(words), words) if pc.any(path).as_py() else words


def _without_ids(paths: pa.Array) -> pa.Array:
    paths = pc.replace_substring_regex(paths, pattern=QUERY, replacement="")
    # Twice: of two ids in a row the first match takes the slash that the second would begin with.
    for _ in range(2):
        paths = pc.replace_substring_regex(paths, pattern=ID_SEGMENT, replacement=r"/{id}\1")
    if pc.all(pc.less_equal(pc.binary_length(paths), LONGEST)).as_py():
        return paths
    return pa.array([path.encode()[:LONGEST].decode(errors="ignore") for path in paths.to_pylist()])
