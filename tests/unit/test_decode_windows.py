"""A window gives of each of its batches what the batch gives alone, whatever its neighbours are."""

import gzip
from collections.abc import Sequence
from functools import cache

import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from tasks.decoders import DecodedBatches, DecodeLimits, RawBatch, decode_windows
from tasks.decoders.parsed import TOGETHER
from tasks.errors import WindowTooLarge
from tests.examples import examples
from tests.unit import decode_samples as samples
from tests.unit.decode_samples import FORMATS, decode, raw


def assert_as_alone(batches: Sequence[RawBatch], **limits: int) -> DecodedBatches:
    """Fails unless the window's outcome is that of its batches, one after the other."""
    window = decode(*batches, **limits)
    each = [decode(batch, **limits) for batch in batches]
    assert window.counts == [one.counts[0] for one in each]
    assert window.events.equals(pa.concat_tables(one.events for one in each).combine_chunks())
    assert [(one.batch, one.row, one.reason, one.detail, one.format, one.data) for one in window.rejects] == [
        (index, bad.row, bad.reason, bad.detail, bad.format, bad.data)
        for index, one in enumerate(each)
        for bad in one.rejects
    ]
    assert {index: (error.reason, error.detail) for index, error in window.unfit.items()} == {
        index: (one.unfit[0].reason, one.unfit[0].detail) for index, one in enumerate(each) if one.unfit
    }
    return window


@cache
def bodies(form: str) -> list[bytes]:
    """Good bodies of the format, and bodies with whatever can be wrong with one."""
    good = [samples.written(samples.table(rows, rows), form) for rows in (1, 3, 8)]
    events = samples.table(4)
    longs = samples.with_column(events, "kind", pa.array(["server", "k" * 65] * 2))
    if form.startswith("otlp"):
        longs = samples.with_column(events, "operation", pa.array(["o", "o" * 2_000] * 2))
    cut = [good[1][: len(good[1]) * part // 7] for part in range(7)]
    torn = [good[1].replace(b"GET", b"G\xffT"), good[2].replace(b"service-3", b"service-\xc3")]
    ids = events["event_id"].to_pylist()
    zeros = samples.with_column(events, "event_id", pa.array([*ids[:2], bytes(8), ids[3]], pa.binary(8)))
    made = [*good, *cut, *torn, samples.written(longs, form), samples.written(zeros, form), b"\0" * 40]
    if form == "arrow":
        made += [*samples.streams().values(), samples.ipc(events.slice(0, 0)), good[1] + good[1]]
        made += [samples.ipc(samples.with_column(events, "trace_id", pa.array([text] * 4))) for text in WORDS]
    if form in ("ndjson", "json"):
        lines = [samples.one(**change) for change in CHANGES]
        made += [samples.ndjson(*lines), samples.ndjson(*lines).replace(b"}\n{", b"}\n\n{")]
        made += [b"[" + body.replace(b"}\n{", b"},{") + b"]" for body in made[-2:]]
        made += [samples.ndjson(samples.one(**change)) for change in CHANGES]
    return made


WORDS = ("ab" * 16, "AB" * 16, "ab" * 15, "", "zz" * 16)
CHANGES: list[dict[str, object]] = [
    {"event_id": "0" * 15},
    {"trace_id": "x" * 32},
    {"parent_id": ""},
    {"started_at": 1_700_000_000_000_000},
    {"started_at": "2024-01-01T00:00:00.1234567Z"},
    {"started_at": "yesterday"},
    {"started_at": None},
    {"attributes": {"a": 1, "b": None, "c": [1, {"d": 2}], "e": True}},
    {"attributes": None},
    {"duration_us": -1},
    {"service": 5},
    {"unknown": {"field": []}},
]


@pytest.mark.parametrize("form", FORMATS)
def test_of_a_window_in_which_every_second_batch_is_broken_the_others_are_whole(form: str) -> None:
    whole = [samples.written(samples.table(20, seed), form) for seed in range(10)]
    broken = [body[: len(body) * 2 // 3] if index % 2 else body for index, body in enumerate(whole)]
    window = assert_as_alone([raw(body, form) for body in broken])
    assert window.counts[::2] == [20] * 5
    assert max(window.counts[1::2]) < 20


@pytest.mark.parametrize("form", FORMATS)
def test_of_a_window_with_every_kind_of_body_each_becomes_what_it_is_alone(form: str) -> None:
    assert_as_alone([raw(body, form) for body in bodies(form)])


@examples(40)
@given(data=st.data())
def test_batches_of_a_window_become_what_they_are_alone(data: st.DataObject) -> None:
    batches = []
    for form in data.draw(st.lists(st.sampled_from(FORMATS), min_size=2, max_size=8)):
        body = data.draw(st.sampled_from(bodies(form)))
        packed = data.draw(st.booleans())
        batches.append(raw(gzip.compress(body) if packed else body, form, "gzip" if packed else ""))
    assert_as_alone(batches)


@examples(40)
@given(data=st.data())
def test_windows_that_are_decoded_together_become_what_they_are_alone(data: st.DataObject) -> None:
    some = st.sampled_from([raw(body, form) for form in FORMATS for body in bodies(form)])
    windows = data.draw(st.lists(st.lists(some, max_size=4), min_size=1, max_size=5))
    together = decode_windows(windows, DecodeLimits())
    assert len(together) == len(windows)
    for window, found in zip(windows, together, strict=True):
        alone = decode(*window)
        assert found.counts == alone.counts
        assert found.events.equals(alone.events)
        assert [(one.batch, one.row, one.reason, one.data) for one in found.rejects] == [
            (one.batch, one.row, one.reason, one.data) for one in alone.rejects
        ]
        assert {index: error.reason for index, error in found.unfit.items()} == {
            index: error.reason for index, error in alone.unfit.items()
        }


def test_a_format_that_nobody_knows_is_unfit_between_two_others() -> None:
    good, stranger = raw(bodies("ndjson")[1]), raw(bodies("ndjson")[1], "csv")
    assert assert_as_alone([good, stranger, good]).counts == [3, 0, 3]


@pytest.mark.parametrize("form", FORMATS)
def test_a_window_whose_tables_pass_the_bound_is_to_be_split(form: str) -> None:
    body = bodies(form)[2]
    assert decode(raw(body, form), window_bytes=6_000).counts == [8]
    with pytest.raises(WindowTooLarge):
        decode(*[raw(body, form)] * 9, window_bytes=6_000)


@pytest.mark.parametrize("form", FORMATS)
def test_the_only_batch_of_a_window_is_unfit_until_its_table_is_within_the_bound(form: str) -> None:
    events = samples.table(200)
    bare = events.select(["event_id", "trace_id", "started_at", "duration_us", "service", "operation"])
    body = samples.written(bare if form == "arrow" else events, form)
    counts = []
    for most in range(len(body) // 2, 6 * len(body), len(body) // 8):
        made = decode(raw(body, form), window_bytes=most)
        counts += made.counts
        assert [error.reason for error in made.unfit.values()] == ["too_large"] * (made.counts == [0])
    assert counts == sorted(counts)
    assert {*counts} == {0, 200}


@pytest.mark.parametrize("form", ["ndjson", "json", "otlp-json"])
def test_a_window_of_more_events_than_are_read_together_is_read_in_order(form: str) -> None:
    sizes = (TOGETHER // 2, 1, TOGETHER // 2, 700, 1)
    texts = [samples.written(samples.table(size, size), form) for size in sizes]
    batches = [
        raw(body, form) for body in (*texts, texts[3].replace(b"service-5", b"service-\xc3"), texts[1])
    ]
    assert assert_as_alone(batches).counts[:5] == list(sizes)
