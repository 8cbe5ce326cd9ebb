"""OTLP exports in JSON, with parts put in other places than OTLP has them, and what becomes of them."""

import json
import re
from typing import Any, Final

from tasks.decoders import DecodedBatches
from tests.unit import decode_samples as samples
from tests.unit.decode_samples import decode, raw, varint
from tests.unit.test_rejects_replayed import fail_again

Path = tuple[str | int, ...]
EVENTS: Final = samples.table(30)  # in ten groups of three spans
LONE: Final = '"\\ud83d"'  # half of an emoji, as JavaScript's '😀'.slice(0, 1) is written


def document(spans: int = 30) -> Any:
    return json.loads(samples.otlp_json(samples.otlp(EVENTS.slice(0, spans))))


def sent(export: Any, form: str = "otlp-json") -> DecodedBatches:
    """What becomes of an export; `"@…@"` in it stands for what is between as it is."""
    body = export if isinstance(export, bytes) else written(export)
    fail_again(body, form)
    return decode(raw(body, form))


def written(export: Any) -> bytes:
    return re.sub(r'"@(.*?)@"', lambda found: json.loads(f'"{found[1]}"'), json.dumps(export)).encode()


def as_it_is(text: str) -> str:
    return f"@{text}@"


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def put(export: Any, path: Path, value: Any) -> Any:
    """`export` with another value at a place; objects on the way are made."""
    place = export
    for step in path[:-1]:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
    place[path[-1]] = value
    return export
