"""When so much fails that the breaker opens."""

import pytest

from db.ledger.breaker import Outcomes
from tasks.decoders import DecodedBatches, Reject
from tasks.decoders.reasons import RejectReason
from tasks.events import EventTable
from tasks.handover import Header, UnfitRow
from tasks.settings import TaskSettings
from tasks.stages.breaker import failures, spoilt_batches, tripped

SETTINGS = TaskSettings()
NOTHING = Outcomes(batches=0, failures={})


def header(batches: int, **unfit: int) -> Header:
    rows = [
        UnfitRow(offset=0, reason=reason, detail="") for reason, count in unfit.items() for _ in range(count)
    ]
    return Header(
        window_id=1, customer_id=1, customer="c", token=1, batches=batches, pipeline="", decoded=1, unfit=rows
    )


@pytest.mark.parametrize(
    ("past", "headers", "reason"),
    [
        (NOTHING, [header(39, malformed=20)], "malformed"),
        (NOTHING, [header(40, malformed=20)], None),  # half is not more than half
        (NOTHING, [header(19, malformed=19)], None),  # too few to tell
        (NOTHING, [header(40, malformed=15, bad_encoding=15)], None),  # not for one reason
        (NOTHING, [header(15, malformed=15), header(15, malformed=15)], "malformed"),
        (Outcomes(batches=100, failures={"malformed": 60}), [header(1, malformed=1)], "malformed"),
        (Outcomes(batches=100, failures={}), [header(50, malformed=50)], None),  # most of the minute was fine
        (NOTHING, [header(50, expired=50)], None),  # retention's doing
    ],
)
def test_more_than_half_of_the_minute_has_to_fail_for_one_reason(
    past: Outcomes, headers: list[Header], reason: str | None
) -> None:
    assert tripped(past, headers, SETTINGS) == reason


def reject(batch: int, row: int, reason: RejectReason = RejectReason.BAD_TIME) -> Reject:
    return Reject(batch=batch, row=row, reason=reason, detail="", format="ndjson", data=b"")


def test_a_batch_fails_when_more_than_half_of_its_events_are_rejected_for_one_reason() -> None:
    decoded = DecodedBatches(
        good=EventTable.none(),
        counts=[1, 2, 0, 9],
        rejects=[
            *(reject(0, row) for row in range(2)),  # 2 of 3
            *(reject(1, row) for row in range(2)),  # 2 of 4
            *(reject(2, 0), reject(2, 1, RejectReason.BAD_KIND)),  # half for each reason
            reject(3, 0),
        ],
    )
    assert spoilt_batches(decoded) == {"bad_time": 1}
    assert spoilt_batches(DecodedBatches(good=EventTable.none(), counts=[])) == {}


def test_refused_unfit_and_spoilt_batches_are_failures() -> None:
    one = Header(
        **{name: getattr(header(9, malformed=2, expired=3), name) for name in Header.__struct_fields__}
        | {"spoilt": {"bad_time": 1, "malformed": 1}}
    )
    assert failures(one) == {"malformed": 3, "bad_time": 1}
