"""The scan of a window's OTLP protobuf: what it takes becomes, to the last byte, what it is when read alone.

Each window is scanned twice: by the functions as plain Python, and by the machine code made of them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tasks.decoders import DecodeLimits
from tasks.decoders.contract import Allowance, WindowBody, WindowRead
from tasks.decoders.otlp import protobuf_export, protobuf_window
from tasks.decoders.otlp.scan_tables import OK
from tasks.decoders.otlp.scan_texts import strings
from tasks.decoders.otlp.scanned import PLAIN, Kernels, machine_code, scanned
from tasks.decoders.window_reads import by_batch
from tasks.errors import WindowTooLarge
from tests.examples import examples
from tests.unit import decode_samples as samples
from tests.unit.otlp_wire import GOOD, NASTY, SPAN, field, pair, sdk, spans
from tests.unit.test_decode_hostile import EDIT, edited

BOTH = pytest.mark.parametrize("kernels", [PLAIN, None], ids=["python", "machine-code"])
alone = by_batch(protobuf_export.read)


def bodies_of(bodies: Sequence[bytes]) -> list[WindowBody]:
    return [WindowBody(2 * index, body) for index, body in enumerate(bodies)]


def said(read: WindowRead) -> dict[str, Any]:
    return {
        "rows": read.table.to_pylist(),
        "maps": read.attributes.maps().to_pylist(),
        "batches": read.batch_of.tolist(),
        "rejects": {index: list(bad) for index, bad in read.rejects.items() if bad},
        "unfit": {index: (error.reason, error.detail) for index, error in read.unfit.items()},
        "places": None if not read.rejects or read.places is None else read.places.tolist(),
    }


def assert_as_alone(bodies: Sequence[bytes], kernels: Kernels | None = None, **bounds: int) -> WindowRead:
    """Fails unless a window of these bodies becomes what the decoder of one batch makes of each."""
    limits = DecodeLimits(**bounds)
    window = bodies_of(bodies)
    want = alone(window, limits, Allowance(2**40, len(bodies)))
    got = protobuf_window.read_window(window, limits, Allowance(2**40, len(bodies)), kernels)
    assert said(got) == said(want)
    if not want.rejects:
        assert got.table.combine_chunks().equals(want.table.combine_chunks())
    rows = np.arange(len(want.table))[::-2]
    assert got.attributes.take(rows).equals(want.attributes.take(rows))
    nul = want.attributes.with_nul()
    fit = rows if nul is None else rows[~nul[rows]]
    assert got.attributes.details(fit) == want.attributes.details(fit)
    assert exceptional(got) == exceptional(want)
    assert got.attributes.exceptions(fit) == want.attributes.exceptions(fit)
    for key in ("a", "user.id", "service.name", "nobody's"):
        (left, texts), (right, others) = (
            read.attributes.values_of(key, np.arange(len(want.table)) % 3 != 1) for read in (got, want)
        )
        assert sorted(zip(left.tolist(), texts.to_pylist(), strict=True)) == sorted(
            zip(right.tolist(), others.to_pylist(), strict=True)
        )
    return got


def exceptional(read: WindowRead) -> list[int]:
    """The rows that tell of an exception."""
    marks = read.attributes.exceptional()
    return [] if marks is None else np.flatnonzero(marks).tolist()


def plain(bodies: Sequence[bytes], **bounds: int) -> list[bool]:
    """Which bodies the scan takes."""
    taken = scanned(list(bodies), DecodeLimits(**bounds), PLAIN).outcome[:, 0] == OK
    assert (
        taken.tolist()
        == (scanned(list(bodies), DecodeLimits(**bounds), machine_code()).outcome[:, 0] == OK).tolist()
    )
    return [bool(one) for one in taken]


@BOTH
def test_what_sdks_send_is_scanned_and_becomes_the_same(kernels: Kernels | None) -> None:
    body = sdk().SerializeToString()
    assert plain([body, body]) == [True, True]
    assert len(assert_as_alone([body, body], kernels).batch_of) == 8


@BOTH
def test_nasty_bodies_become_what_they_are_alone_and_so_do_their_neighbours(kernels: Kernels | None) -> None:
    window = [body for nasty in NASTY.values() for body in (nasty, GOOD)]
    read = assert_as_alone(window, kernels)
    rows = np.bincount(read.batch_of, minlength=2 * len(window))
    assert (rows[2::4] == 3).all()


@BOTH
def test_a_body_cut_at_each_byte_becomes_what_it_is_alone(kernels: Kernels | None) -> None:
    made = sdk()
    del made.resource_spans[1:], made.resource_spans[0].scope_spans[0].spans[1:]
    body = made.SerializeToString()
    assert_as_alone([body[:end] for end in range(len(body))] + [body], kernels)


@examples(60)
@given(data=st.data())
def test_bodies_that_were_tampered_with_become_what_they_are_alone(data: st.DataObject) -> None:
    whole = [sdk().SerializeToString(), GOOD]
    edits = st.lists(EDIT, min_size=1, max_size=3)
    torn = [edited(body, data.draw(edits), len(body)) for body in 2 * whole]
    window = [body for one in torn for body in (one, GOOD)]
    assert_as_alone(window, data.draw(st.sampled_from([PLAIN, None])))


KEYS = st.sampled_from(["a", "b", "service.name", "user.id", "enduser.id", "ключ", ""])
TEXTS = st.text(max_size=6)


@st.composite
def attributes(draw: st.DrawFn, owner: Any) -> None:
    for key in draw(st.lists(KEYS, max_size=6)):
        fill(draw, owner.attributes.add(key=key).value, 3)


def fill(draw: st.DrawFn, value: Any, depth: int) -> None:
    kind = draw(st.integers(0, 7 if depth else 5))
    if kind == 1:
        value.string_value = draw(TEXTS)
    elif kind == 2:
        value.bool_value = draw(st.booleans())
    elif kind == 3:
        value.int_value = draw(st.integers(-(2**63), 2**63 - 1))
    elif kind == 4:
        value.double_value = draw(st.floats())
    elif kind == 5:
        value.bytes_value = draw(st.binary(max_size=5))
    elif kind == 6:
        value.array_value.SetInParent()
        for _ in range(draw(st.integers(0, 2))):
            fill(draw, value.array_value.values.add(), depth - 1)
    elif kind == 7:
        value.kvlist_value.SetInParent()
        for key in draw(st.lists(KEYS, max_size=2)):
            fill(draw, value.kvlist_value.values.add(key=key).value, depth - 1)


@st.composite
def exports(draw: st.DrawFn) -> bytes:
    made = ExportTraceServiceRequest()
    for _ in range(draw(st.integers(1, 2))):
        group = made.resource_spans.add()
        if draw(st.booleans()):
            draw(attributes(group.resource))
        for _ in range(draw(st.integers(1, 2))):
            scope = group.scope_spans.add()
            for _ in range(draw(st.integers(1, 2))):
                span = scope.spans.add(
                    trace_id=draw(st.sampled_from([b"t" * 16, b"", bytes(16)])),
                    span_id=draw(st.sampled_from([b"s" * 8, b"", b"s" * 7])),
                    parent_span_id=draw(st.sampled_from([b"p" * 8, b"", bytes(8)])),
                    name=draw(TEXTS),
                    kind=draw(st.integers(0, 5)),
                    start_time_unix_nano=draw(st.integers(0, 2**64 - 1)),
                    end_time_unix_nano=draw(st.integers(0, 2**64 - 1)),
                )
                draw(attributes(span))
                if draw(st.booleans()):
                    span.status.code = draw(st.integers(0, 2))  # type: ignore[assignment]
                    span.status.message = draw(TEXTS)
    return made.SerializeToString()


@examples(60)
@given(window=st.lists(exports(), min_size=1, max_size=3), interpreted=st.booleans())
def test_random_exports_become_what_they_are_alone(window: list[bytes], interpreted: bool) -> None:
    assert_as_alone(window, PLAIN if interpreted else None)


@pytest.mark.parametrize(
    "bounds", [{"events": 3}, {"events": 4}, {"values": 60}, {"values": 100}, {"window_bytes": 2_000}]
)
def test_a_body_beyond_its_bounds_is_unfit_alone(bounds: dict[str, int]) -> None:
    bodies = [GOOD, sdk().SerializeToString(), GOOD]
    assert assert_as_alone(bodies, PLAIN, **bounds).batch_of[-1] == 4
    assert assert_as_alone(bodies, None, **bounds).batch_of[-1] == 4


def test_tables_grow_with_what_is_there_and_never_beyond_the_windows_bound() -> None:
    many = [spans(*[b""] * 3_000), *[spans(b"")] * 300, spans(*[10 * pair(field(1, b"v"), b"k")] * 300)]
    assert plain(many) == [True] * 302
    assert_as_alone(many)
    with pytest.raises(WindowTooLarge):
        scanned(many, DecodeLimits(window_bytes=100_000), machine_code())
    assert_as_alone(many[:1], window_bytes=100_000)  # one batch can't be split


def test_more_keys_than_the_dictionary_holds_are_read_alone() -> None:
    many = [
        spans(*(SPAN + pair(field(1, b"v"), b"%d-%d" % (body, key)) for key in range(3_000)))
        for body in range(7)
    ]
    taken = scanned(many, DecodeLimits(), machine_code()).outcome[:, 0] == OK
    assert taken.tolist() == [True] * 5 + [False] * 2
    assert_as_alone(many[:1] + many[5:])


def test_a_span_may_have_as_many_attributes_as_its_resource_lends_it() -> None:
    made = samples.otlp(samples.table(1))
    for number in range(120):
        samples.attribute(made.resource_spans[0].resource, f"r{number}", "v")
        samples.attribute(made.resource_spans[0].scope_spans[0].spans[0], f"s{number}", "v")
    body = made.SerializeToString()
    assert plain([body]) == [True]
    decoded = samples.decode(samples.raw(body, "otlp-protobuf"))
    assert len(decoded.events["attributes"][0].as_py()) > 240


def test_a_service_is_not_written_for_each_of_its_spans_before_the_window_is_bounded() -> None:
    service = field(1, b"service.name") + field(2, field(1, b"s" * 16_000))
    body = spans(*[b""] * 1_000, resource=field(1, field(1, service)))
    pool = pa.default_memory_pool()
    before = pool.max_memory()
    with pytest.raises(WindowTooLarge):
        samples.decode(*[samples.raw(body, "otlp-protobuf")] * 12, window_bytes=20 * 2**20)
    assert pool.max_memory() <= max(before, 100 * 2**20)


def test_texts_that_offsets_of_32_bits_cannot_count_are_not_written() -> None:
    sizes = np.full(2**17, 2**15, np.int32)
    with pytest.raises(OverflowError):
        strings(b"", np.zeros_like(sizes), sizes, PLAIN.copy)
