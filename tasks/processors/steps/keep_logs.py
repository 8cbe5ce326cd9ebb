"""keep_logs: the log records that are worth a row of their own."""

import hashlib
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.steps import KeepLogs, Match
from tasks.events import SEVERITIES
from tasks.processors.steps.conditions import texts
from tasks.processors.steps.sample import RANDOM_BITS, threshold

Mask = NDArray[np.bool_]
RANDOM: Final[int] = 2**RANDOM_BITS - 1
_attributes = msgspec.json.Decoder(list[dict[str, Any]])


def keep_logs(logs: pa.Table, step: KeepLogs) -> pa.Table:
    """Those records that are severe enough, have the attributes, or are of a chosen trace."""
    mask = np.zeros(len(logs), np.bool_)
    if step.min_severity is not None:
        mask |= logs["severity_number"].to_numpy() >= _number(step.min_severity)
    if step.attributes:
        mask |= _having(logs, step.attributes)
    if step.percent:
        mask |= _chosen(logs, step.percent)
    return logs if mask.all() else logs.filter(pa.array(mask))


def _number(severity: int | str) -> int:
    return SEVERITIES[severity] if isinstance(severity, str) else severity


def _having(logs: pa.Table, attributes: dict[str, Match]) -> Mask:
    """Which records have an attribute of each key whose value matches, as text."""
    found = [_texts(_attributes.decode(text)) for text in logs["attributes"].to_pylist()]
    mask = np.ones(len(logs), np.bool_)
    for key, match in attributes.items():
        values = pa.array([one.get(key) for one in found], pa.string())
        mask &= texts(values, match).to_numpy(zero_copy_only=False)
    return mask


def _texts(pairs: list[dict[str, Any]]) -> dict[str, str]:
    """The attributes that are text, numbers or truth values, as text; of a key that comes twice, the last."""
    found = {}
    for pair in pairs:
        for value in pair["value"].values():
            if isinstance(value, bool):
                found[pair["key"]] = "true" if value else "false"
            elif isinstance(value, str | int | float):
                found[pair["key"]] = str(value)
    return found


def _chosen(logs: pa.Table, percent: float) -> Mask:
    """Whether a record's trace is among this share of all traces, as `sample` chooses them; or the record,
    when it has no trace.
    """
    least = threshold(percent)
    said = ("trace_id", "time_ns", "observed_ns", "body", "attributes")
    columns = (logs[name].to_pylist() for name in said)
    return np.fromiter(
        (_randomness(*record) >= least for record in zip(*columns, strict=True)), np.bool_, len(logs)
    )


def _randomness(trace_id: bytes | None, *content: object) -> int:
    """The low 56 bits of the trace id, else of a digest of what the record says: the same in each try."""
    octets = trace_id or hashlib.blake2b(repr(content).encode(), digest_size=16).digest()
    return int.from_bytes(octets, "big") & RANDOM
