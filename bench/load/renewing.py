"""OTLP protobuf bodies that are encoded once and get new ids and times for each round.

Encoding a span costs 40 µs, renewing it 1: a generator of load must not be the bottleneck.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bench.agents.encode import encode

Octets = npt.NDArray[np.uint8]
_SPAN_ID = 18  # after the start of a span's trace id: 16 bytes of it, a tag, a length
_PARENT_ID = 28  # 8 bytes further, and again a tag and a length
_START, _END, _EVENT = b"\x39", b"\x41", b"\x09"  # tags of the times; fixed64, little endian
_PARENT = b"\x22\x08"
_EXCEPTION = b"\x12\x09exception"  # the name of an event follows its time


class RenewedBodies:
    """The requests of batches, one after another in one array, and where ids and times lie in it."""

    def __init__(self, batches: Sequence[pa.Table]) -> None:
        contents = [encode(batch, "otlp").content for batch in batches]
        self._bounds = np.concatenate([[0], np.cumsum([len(content) for content in contents])])
        self._octets: Octets = np.frombuffer(b"".join(contents), dtype=np.uint8)
        found = [
            (kind, first + at)
            for first, content, batch in zip(self._bounds.tolist(), contents, batches, strict=False)
            for kind, at in _places(content, batch)
        ]
        self._traces, self._spans, self._times = (
            np.array([at for kind, at in found if kind == wanted], dtype=np.int64)
            for wanted in ("trace", "span", "time")
        )

    def renewed(self, trace_mask: bytes, span_mask: bytes, shift_us: int) -> Iterator[bytes]:
        """The requests, ids under the masks (16 and 8 bytes, exclusive or), times later by `shift_us`."""
        octets = self._octets.copy()
        for places, mask in ((self._traces, trace_mask), (self._spans, span_mask)):
            octets[places[:, None] + np.arange(len(mask))] ^= np.frombuffer(mask, dtype=np.uint8)
        where = self._times[:, None] + np.arange(8)
        times = octets[where].view("<u8") + np.uint64(shift_us * 1_000)
        octets[where] = times.view(np.uint8)
        ends = self._bounds.tolist()
        return (octets[first:end].tobytes() for first, end in pairwise(ends))


def _places(content: bytes, batch: pa.Table) -> Iterator[tuple[str, int]]:
    """Kind and place of each id and each time in a request. Raises ValueError for one that is not there."""
    ends = batch["started_at"].cast("int64").to_numpy() + batch["duration_us"].to_numpy()
    rows = zip(
        batch["trace_id"].to_pylist(), batch["span_id"].to_pylist(), ends.tolist(), strict=True
    )  # fmt: skip
    for trace_id, span_id, ended_us in rows:
        at = content.index(trace_id + b"\x12\x08" + span_id)
        yield "trace", at
        yield "span", at + _SPAN_ID
        if content.startswith(_PARENT, at + _PARENT_ID - 2):
            yield "span", at + _PARENT_ID
        ended = (ended_us * 1_000).to_bytes(8, "little")
        end = content.index(_END + ended, at) + 1
        if content[end - 10 : end - 9] != _START:
            raise ValueError("a span whose end does not follow its start")
        yield "time", end - 9
        yield "time", end
        # It may be another span's that ended at the same time: a place that comes twice is written once.
        event = content.find(_EVENT + ended + _EXCEPTION, end)
        if event >= 0:
            yield "time", event + 1
