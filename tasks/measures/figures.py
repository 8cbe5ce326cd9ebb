"""What is known of one customer, from several looks at the database and at its raw stream."""

from dataclasses import dataclass, field

from db.accounting.measured import OpenWindows
from db.customers.rows import Customer
from db.quarantine.budget import Spent
from streams.settings import RetentionSettings

COST_HALF_LIFE_S = 600.0


@dataclass(slots=True, kw_only=True)
class StreamFigures:
    """A raw stream as it was seen last: times are monotonic seconds, offsets as the stream counts them."""

    looked_s: float = 0.0  # 0: never
    looks: int = 0
    first: int | None = None  # the oldest that is kept
    end: int | None = None  # after the newest; None for an empty stream, or none
    batches_per_s: float = 0.0
    read_offset: int = -1  # of which `read_accepted_at` is known
    read_accepted_at: int | None = None  # µs

    def seen(self, now_s: float, end: int | None) -> None:
        """The stream ends there now."""
        if self.end is not None and end is not None and self.looked_s and now_s > self.looked_s:
            pace = max(0, end - self.end) / (now_s - self.looked_s)
            self.batches_per_s += (pace - self.batches_per_s) / 4
        self.looked_s, self.end, self.looks = now_s, end, self.looks + 1


@dataclass(slots=True, kw_only=True)
class CustomerFigures:
    """One customer. `differences`: equations of its books that do not hold."""

    customer: Customer
    cursor: int = 0
    undispatched: int = 0  # batches behind the cursor, when it was looked at
    open: OpenWindows = field(default_factory=OpenWindows)
    stream: StreamFigures = field(default_factory=StreamFigures)
    day: Spent = field(default_factory=Spent)  # of quarantine, today
    kept_rows: int = 0
    differences: int = 0
    cost: float = 0.0  # bytes deposited, those of `COST_HALF_LIFE_S` ago counted half
    batch_bytes: float = 0.0  # of a batch as it was sent, lately

    def looked(self, cursor: int, open_windows: OpenWindows) -> None:
        """The ledger says so now. The stream's end was seen before the cursor: what is between them waits."""
        self.cursor, self.open = cursor, open_windows
        self.undispatched = max(0, (self.stream.end or 0) - max(cursor, self.stream.first or 0))
        if not self.undispatched:
            self.stream.read_offset, self.stream.read_accepted_at = -1, None

    def worked(self, batches: int, size: int, seconds: float) -> None:
        """So much was deposited in the last so many seconds."""
        self.cost = self.cost * 0.5 ** (seconds / COST_HALF_LIFE_S) + size
        batches, size = batches + self.open.batches, size + self.open.bytes
        if batches:
            self.batch_bytes = size / batches

    @property
    def owed_batches(self) -> int:
        return self.open.batches + self.undispatched

    @property
    def owed_bytes(self) -> float:
        return self.open.bytes + self.undispatched * self.batch_bytes

    @property
    def stream_batches(self) -> int:
        end = self.stream.end
        return 0 if end is None else max(0, end - (self.stream.first or 0))

    @property
    def stream_bytes(self) -> float:
        return self.stream_batches * self.batch_bytes

    @property
    def oldest_accepted_at(self) -> int | None:
        """µs since 1970 of the oldest batch that is owed; None when none is, or nobody knows."""
        found = [self.open.oldest_accepted_at] if self.open.batches else []
        if self.undispatched:
            found.append(self.stream.read_accepted_at)
        return min((at for at in found if at is not None), default=None)

    def oldest_owed_s(self, now_us: int) -> float:
        """Its age; 0 when nothing is owed."""
        oldest = self.oldest_accepted_at
        return 0.0 if oldest is None else max(0.0, (now_us - oldest) / 1e6)

    def expires_in_s(self, now_us: int, retention: RetentionSettings) -> float | None:
        """Until retention may remove the oldest owed batch: by its age, or by what comes after it at the pace
        of now. None when nothing is owed.
        """
        if not self.owed_batches:
            return None
        by_age = retention.raw_age_s - self.oldest_owed_s(now_us)
        pace = self.stream.batches_per_s * self.batch_bytes
        room = retention.raw_bytes - self.owed_bytes
        by_size = room / pace if pace > 0.0 else by_age
        return max(0.0, min(by_age, by_size))

    @property
    def held_back(self) -> bool:
        """Whether its batches wait for an operator, or for a throttle, and not for workers."""
        customer = self.customer
        halted = customer.state == "paused" or customer.breaker_reason is not None
        return halted or customer.events_per_second is not None

    @property
    def troubled(self) -> bool:
        """Whether somebody should look at it, however little it sends."""
        return self.differences > 0 or self.customer.breaker_reason is not None
