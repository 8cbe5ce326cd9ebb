"""The SQLite file of a run, when everything has stopped."""

import sqlite3
from contextlib import closing
from pathlib import Path

WAIT_S = 10.0


def checkpoint(url: str) -> str:
    """Move what lies in the file's WAL into the file, so that a copy of the file is whole; says what went
    wrong. Does nothing for another database, or without a file.

    The last process that closes the file does the same, unless it was killed.
    """
    kind, _, rest = url.partition(":///")
    path = Path(rest.partition("?")[0])
    if not kind.startswith("sqlite") or not rest or not path.exists():
        return ""
    try:
        with closing(sqlite3.connect(path, timeout=WAIT_S)) as database:
            (busy, *_) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        return f"{path} was not checkpointed ({error}): copy it together with its -wal file"
    return f"{path} is in use: copy it together with its -wal file" if busy else ""
