"""The Arrow IPC streams of a window: those of one schema are opened, validated and cast as one stream."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import compress
from typing import Final

import numpy as np
import pyarrow as pa

from tasks.decoders.arrow.framing import Framed, framed
from tasks.decoders.arrow.ipc_stream import Corrupt, cast, read, validated
from tasks.decoders.arrow.layouts import Unfitting
from tasks.decoders.attributes import either
from tasks.decoders.contract import Allowance, DecodeLimits, UnfitBatch, WindowBody, WindowRead
from tasks.decoders.window_reads import by_batch, in_halves, merged, split_off

END: Final = b"\xff\xff\xff\xff\0\0\0\0"
_read_alone = by_batch(read)


def read_window(bodies: Sequence[WindowBody], limits: DecodeLimits, allowance: Allowance) -> WindowRead:
    """As `Format.read_window`. What can't be read together with others is read alone."""
    groups: defaultdict[bytes, list[tuple[WindowBody, Framed]]] = defaultdict(list)
    alone: list[WindowBody] = []
    for body in bodies:
        stream = framed(body.data, limits)
        if stream is None:
            alone.append(body)
        else:
            groups[stream.schema].append((body, stream))

    def whole(some: Sequence[tuple[WindowBody, Framed]]) -> tuple[WindowRead, list[WindowBody], int] | None:
        return _together(some, limits)

    parts: list[WindowRead] = []
    for group in groups.values():
        for some, done in in_halves(group, whole):
            if done is None:
                alone += [body for body, _ in some]
                continue
            allowance.take(done[0].table.nbytes + done[0].attributes.nbytes + done[2])
            parts.append(done[0])
            alone += done[1]
    return merged([*parts, _read_alone(sorted(alone), limits, allowance)])


def _together(
    streams: Sequence[tuple[WindowBody, Framed]], limits: DecodeLimits
) -> tuple[WindowRead, list[WindowBody], int] | None:
    """Of streams with one schema, what they hold, those that have rows that can't be read, and the bytes of
    their details; None when they can't be read as one.
    """
    if sum(stream.size for _, stream in streams) > limits.window_bytes:
        return None
    joined = b"".join([streams[0][1].schema, *(stream.records for _, stream in streams), END])
    try:
        made = cast(validated(joined, limits).combine_chunks(), limits)
    except (Unfitting, UnfitBatch, *Corrupt):
        return None
    events, detailed = made.events, made.detailed
    rows = [sum(stream.rows) for _, stream in streams]
    if events.num_rows != sum(rows):
        return None
    batch_of = np.repeat(np.array([body.batch for body, _ in streams], np.int64), rows)
    bad = either([mask for _, mask, _ in made.wrong])
    spoilt = set() if bad is None else set(batch_of[bad].tolist())
    spoilt |= {int(batch_of[row]) for row in made.rejected}
    if spoilt:
        good = ~np.isin(batch_of, list(spoilt))
        events, batch_of = events.filter(pa.array(good)), batch_of[good]
        detailed = detailed and list(compress(detailed, good))
    left = [body for body, _ in streams if body.batch in spoilt]
    table, attributes = split_off(events, detailed)
    return WindowRead(table=table, attributes=attributes, batch_of=batch_of), left, made.detail_bytes
