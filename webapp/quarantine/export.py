"""Quarantined rows written to a folder: a file of bytes for each, and an index of JSON lines."""

import dataclasses
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from sqlalchemy import Engine

import db.quarantine.acts
import db.quarantine.rows
from db.clock import now_us
from db.customers.rows import Customer
from db.engine import begin
from db.errors import Refusal
from db.quarantine.acts import Note
from db.quarantine.rows import Quarantined, Selection
from webapp.quarantine.portions import OnProgress, portions
from webapp.quarantine.withheld import Withheld
from webapp.terminal.dates import iso

INDEX = "index.jsonl"
SUFFIXES = {
    "arrow": ".arrow",
    "ndjson": ".ndjson",
    "json": ".json",
    "otlp-protobuf": ".otlp.pb",
    "otlp-json": ".otlp.json",
    "otlp-logs-protobuf": ".otlp-logs.pb",
    "otlp-logs-json": ".otlp-logs.json",
}
ENCODED = {"gzip": ".gz", "deflate": ".zz", "zstd": ".zst", "br": ".br"}


def export(
    engine: Engine,
    customer: Customer,
    selection: Selection,
    folder: Path,
    withheld: Withheld,
    *,
    by: str,
    why: str,
    progress: OnProgress,
) -> int:
    """Write the selected rows to a new folder, readable by its owner only; returns how many.

    The folder appears when it is complete. Dying before leaves a hidden one beside it, `.<name>.<8 digits>`.
    Raises Refusal when there is something of that name, OSError, db.errors.DatabaseUnavailable, and
    streams.errors.BrokerUnavailable for rows whose bytes are in the raw stream only.
    """
    if folder.exists() or folder.is_symlink():
        raise Refusal(f"{folder} is there already; nothing is written over")
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    draft.mkdir(mode=0o700, parents=True)
    try:
        note = Note(act="export", who=by, why=why, noted_at=now_us(engine))
        written = _fill(engine, customer, selection, draft, withheld, note, progress)
        _appear(draft, folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return written


def file_name(row: Quarantined) -> str | None:
    """`<id>.<format>[.<encoding>]`; None for a row without bytes."""
    if not row.size:
        return None
    return f"{row.id}{SUFFIXES.get(row.format, '.bin')}{ENCODED.get(row.content_encoding, '')}"


def _fill(
    engine: Engine,
    customer: Customer,
    selection: Selection,
    draft: Path,
    withheld: Withheld,
    note: Note,
    progress: OnProgress,
) -> int:
    written = 0
    with _create(draft / INDEX) as index:
        for rows in portions(engine, selection):
            fetched = withheld.fetch_all(rows)
            # Noted before the folder appears: better an export that nobody got than one that nobody knows of.
            with begin(engine) as connection:
                contents = db.quarantine.rows.contents(connection, [row.id for row in rows])
                db.quarantine.acts.note(connection, customer.id, contents, note)
            there = {row_id: fetched.get(row_id) or data for row_id, data in contents.items()}
            index.write(_lines(customer, rows, there, draft))
            written += len(contents)
            progress(len(rows))
        index.flush()
        os.fsync(index.fileno())
    return written


def _lines(customer: Customer, rows: Sequence[Quarantined], contents: dict[int, bytes], draft: Path) -> bytes:
    """The rows' lines of the index; their files are written on the way. A row that is gone since has none."""
    lines = b""
    for row in rows:
        data = contents.get(row.id)
        if data is None:
            continue
        row = dataclasses.replace(row, size=len(data))  # another may have discarded it since
        name = file_name(row)
        if name is not None:
            with _create(draft / name) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        facts = {"customer": customer.slug, "file": name}
        digest = {"sha256": row.sha256 or hashlib.sha256(data).hexdigest()}
        times = {
            name: iso(at_us) if (at_us := getattr(row, name)) else None
            for name in ("accepted_at", "created_at", "replayed_at")
        }
        lines += json.dumps(facts | dataclasses.asdict(row) | digest | times).encode() + b"\n"
    return lines


def _create(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _appear(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError as error:
        if folder.exists():
            raise Refusal(f"{folder} has appeared meanwhile; nothing is written over") from error
        raise
