"""What the two OTLP decoders share: spans with the attributes of their resource, as columns of events.

Attributes arrive as the bytes they were sent in. Most of them repeat from span to span, so each distinct one
is read once and the rest is index arithmetic.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.decoders.attributes import as_text, from_parts, valid
from tasks.decoders.contract import DecodeLimits, Read, UnfitBatch
from tasks.decoders.ids import Mask
from tasks.decoders.reasons import RejectReason, UnfitReason
from tasks.decoders.rows import bad_rows
from tasks.decoders.times import MICROSECONDS
from tasks.decoders.validate import ATTRIBUTES, VALUE_BYTES
from tasks.events import EVENTS, Detailed, holds_zero

SERVICE: Final = "service.name"
NO_SERVICE: Final = "unknown_service"  # what OpenTelemetry's resource conventions say of one without a name
USERS: Final = ("user.id", "enduser.id")  # the first that a span has
KINDS: Final = pa.array([None, "internal", "server", "client", "producer", "consumer"])
MOST_KIND: Final = len(KINDS) - 1
NO_OPERATION: Final = "unknown_operation"  # of a span without a name, which OTLP says is an unknown one
NUL_IN_JSON: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
Codes = NDArray[np.int64]
Name = Callable[[str, Mapping[str, Any]], str]  # of a key, and of what an object holds already


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """The spans of a request in order, and the resources they belong to."""

    resources: Sequence[Sequence[bytes]]  # the attributes of each
    sizes: Sequence[int]  # spans of each resource
    attributes: Sequence[Sequence[bytes]]  # of each span
    ids: dict[str, tuple[Any, Mask | None]]  # fixed-size binary, and which are wrong
    start_ns: NDArray[np.uint64]
    end_ns: NDArray[np.uint64]
    kinds: NDArray[np.int64]  # as OTLP numbers them
    texts: dict[str, Any]  # operation, status, status_message
    wrong: list[tuple[RejectReason, Mask | None, str]]
    detailed: Sequence[Detailed]  # of each span


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The distinct attributes of a request by their code."""

    keys: Any  # strings
    values: Any  # strings, null for an attribute without value
    read: Mask  # False: can't be read

    @property
    def with_nul(self) -> Mask:
        """Which have U+0000 in their key or their value."""
        if not holds_zero(self.keys) and not holds_zero(self.values):
            return np.zeros(len(self.keys), np.bool_)
        found = (pc.match_substring(texts, "\0").fill_null(False) for texts in (self.keys, self.values))
        keys, values = (np.asarray(mask.to_numpy(zero_copy_only=False), np.bool_) for mask in found)
        return keys | values

    def named(self, key: str) -> Mask:
        """Which have this key."""
        return np.asarray(pc.equal(self.keys, key).to_numpy(zero_copy_only=False))

    @property
    def given(self) -> Mask:
        """Which have a value."""
        return valid(self.values)

    @property
    def filled(self) -> Mask:
        """Which have a value that is not empty."""
        return np.asarray(pc.binary_length(self.values).fill_null(0)) > 0

    @property
    def sizes(self) -> Codes:
        """Bytes of key and value together."""
        sizes = pc.add(pc.binary_length(self.keys), pc.binary_length(self.values).fill_null(0))
        return np.asarray(sizes).astype(np.int64)


def table(spans: Spans, read: Callable[[Any], Words], limits: DecodeLimits) -> Read:
    """Events of spans. `read` makes words of a binary array of distinct attributes.

    Raises `UnfitBatch`: too_many_values, too_large, too_many_rejects.
    """
    rows = len(spans.attributes)
    raws = pa.array(chain(*spans.resources, *spans.attributes), pa.binary()).dictionary_encode()
    words, codes = read(raws.dictionary), raws.indices.to_numpy().astype(np.int64)
    nul = words.with_nul
    of_resources = sum(map(len, spans.resources))
    resource_codes, span_codes = codes[:of_resources], codes[of_resources:]
    resource_of = np.repeat(np.arange(len(spans.sizes)), spans.sizes)
    counts = np.fromiter(map(len, spans.resources), np.int64, len(spans.resources))
    services = _services(words, counts, resource_codes)
    named = (words.named(SERVICE) & ~nul)[resource_codes]
    counts -= np.bincount(np.repeat(np.arange(len(counts)), counts)[named], minlength=len(counts))
    span_counts = np.fromiter(map(len, spans.attributes), np.int64, rows)
    lent = resource_codes[~named]
    merged, row_of, own = _merged(lent, counts, resource_of, span_codes, span_counts, limits)
    unread = np.zeros(rows, np.bool_)
    unread[row_of[~(words.read & (words.given | ~nul))[merged]]] = True
    user_id = _users(words, merged, row_of, rows)
    attributes, lent_to = _maps(words, merged, row_of, own, rows, limits)
    bound_bytes(int(np.asarray(pc.binary_length(services))[resource_of].sum()), limits)
    events = pa.table(
        {
            **{name: ids for name, (ids, _) in spans.ids.items()},
            "started_at": pa.array((spans.start_ns // 1_000).view(np.int64)).cast(MICROSECONDS),
            "duration_us": pa.array(durations(spans.start_ns, spans.end_ns)),
            "service": services.take(pa.array(resource_of)),
            "kind": KINDS.take(
                pa.array(np.where((spans.kinds < 0) | (spans.kinds > MOST_KIND), 0, spans.kinds))
            ),
            "user_id": user_id,
            "attributes": attributes,
            **spans.texts,
            "operation": operations(spans.texts["operation"]),
        }
    ).select(EVENTS.names)
    wrong = [*spans.wrong, (RejectReason.BAD_ATTRIBUTES, unread, "one of them can't be read")]
    return Read.of(events.cast(EVENTS), bad_rows(wrong, limits), lent_to, spans.detailed)


def nested_text(value: Any) -> str:
    """As `as_text`; but U+0000 within an array or an object stands there as it is, for validation to find."""
    text = as_text(value)
    if type(value) in (list, dict) and NUL_IN_JSON.search(text):
        return text.replace("\\u0000", "\0")
    return text


def last(key: str, _made: Mapping[str, Any]) -> str:
    """Of a key that comes again in a list of keys and values, the last value counts."""
    return key


def whole_text(make: Callable[[Name], Any]) -> str | None:
    """The text of what `make` gives, None for none; `make` asks by what name a key goes into an object.

    A value that another one of its key hides is kept among the details, so it counts in what validation looks
    for: where it holds U+0000, or makes the text too long, the text has it under a name of its own. Raises
    RecursionError, mostly as `TooDeep`, and what `make` does.
    """
    repeated = False

    def apart(key: str, made: Mapping[str, Any]) -> str:
        nonlocal repeated
        while key in made:
            repeated, key = True, f"{key}#{len(made)}"
        return key

    value = make(apart)
    if value is None:
        return None
    text = nested_text(value)
    if repeated and "\0" not in text and len(text.encode()) <= VALUE_BYTES:
        return nested_text(make(last))
    return text


def operations(names: Any) -> Any:
    """The operations of spans with these names."""
    nameless = pc.equal(pc.binary_length(names).fill_null(0), 0)
    return pc.if_else(nameless, NO_OPERATION, names) if pc.any(nameless).as_py() else names


def _services(words: Words, counts: Codes, codes: Codes) -> Any:
    """The service that each resource names; `counts` of `codes` belong to each."""
    named = (words.named(SERVICE) & words.filled)[codes]
    places = np.full(len(counts), -1, np.int64)
    places[np.repeat(np.arange(len(counts)), counts)[named]] = codes[named]
    return words.values.take(pa.array(places, mask=places < 0)).fill_null(NO_SERVICE)


def _merged(
    resource_codes: Codes,
    counts: Codes,
    resource_of: Codes,
    span_codes: Codes,
    span_counts: Codes,
    limits: DecodeLimits,
) -> tuple[Codes, Codes, Mask]:
    """Each span's attributes behind those of its resource: codes, whose each is, whether it is its own."""
    lead = counts[resource_of]
    if int(lead.sum()) + len(span_codes) > limits.values:  # a resource's count once for each of its spans
        raise UnfitBatch(UnfitReason.TOO_MANY_VALUES, f"more than {limits.values} attributes")
    row_of = np.repeat(np.arange(len(span_counts)), lead + span_counts)
    ends = np.cumsum(lead + span_counts)
    place = np.arange(len(row_of)) - (ends - lead - span_counts)[row_of]  # within the row
    from_resource = place < lead[row_of]
    merged = np.empty(len(row_of), np.int64)
    merged[~from_resource] = span_codes
    firsts = (np.cumsum(counts) - counts)[resource_of]
    merged[from_resource] = resource_codes[(firsts[row_of] + place)[from_resource]]
    return merged, row_of, ~from_resource


def _users(words: Words, codes: Codes, row_of: Codes, rows: int) -> Any:
    users = np.full(rows, -1, np.int64)
    for key in reversed(USERS):
        named = (words.named(key) & words.filled)[codes]
        users[row_of[named]] = codes[named]
    return words.values.take(pa.array(users, mask=users < 0))


def _maps(
    words: Words, codes: Codes, row_of: Codes, own: Mask, rows: int, limits: DecodeLimits
) -> tuple[Any, Codes | None]:
    """One value a key: the last, which is the span's own where its resource has one too; and how many of each
    row's are its resource's, None where nobody has so many that it matters. None with U+0000 is left out.
    """
    given = words.given[codes]
    codes, row_of, own = codes[given], row_of[given], own[given]
    key_codes = np.asarray(words.keys.dictionary_encode().indices).astype(np.int64)
    key_codes = np.where(words.with_nul, len(key_codes) + np.arange(len(key_codes)), key_codes)
    marks = row_of * max(1, 2 * len(words.keys)) + key_codes[codes]
    _, last = np.unique(marks[::-1], return_index=True)
    if len(last) < len(marks):
        kept = np.sort(len(marks) - 1 - last)
        codes, row_of, own = codes[kept], row_of[kept], own[kept]
    bound_bytes(int(words.sizes[codes].sum()), limits)
    indices = pa.array(codes)
    counts = np.bincount(row_of, minlength=rows).astype(np.int32)
    many = len(counts) and counts.max() > ATTRIBUTES
    lent = np.bincount(row_of[~own], minlength=rows).astype(np.int64) if many else None
    return from_parts(counts, words.keys.take(indices), words.values.take(indices)), lent


def durations(start_ns: NDArray[np.uint64], end_ns: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Whole microseconds; a negative one stays below zero."""
    most = np.uint64(2**63 - 1)
    start, end = (np.minimum(ns, most).astype(np.int64) for ns in (start_ns, end_ns))
    return np.asarray((end - start) // 1_000, np.int64)


def bound_bytes(size: int, limits: DecodeLimits) -> None:
    """Raises `UnfitBatch` (too_large) for more bytes of events than `limits` allow."""
    if size > limits.window_bytes:
        raise UnfitBatch(UnfitReason.TOO_LARGE, f"its resources and scopes make {size} bytes of events")
