"""Pure decoding: a window's batches in, one table of events and the rejects out. No IO, clock or state."""

from tasks.decoders.batches import FORMATS, decode_batches, decode_windows, events_at
from tasks.decoders.contract import DecodedBatches, DecodeLimits, RawBatch, Read, Reject, UnfitBatch
from tasks.decoders.decompress import decompress
from tasks.decoders.otlp.scanned import machine_code
from tasks.decoders.reasons import RejectReason, UnfitReason

__all__ = [
    "FORMATS",
    "DecodeLimits",
    "DecodedBatches",
    "RawBatch",
    "Read",
    "Reject",
    "RejectReason",
    "UnfitBatch",
    "UnfitReason",
    "decode_batches",
    "decode_windows",
    "decompress",
    "events_at",
    "machine_code",
]
