"""Until when what a customer has is forgotten."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from db.clock import DAY_US
from db.customers import own_retention
from db.customers.rows import Customer
from db.settings import DatabaseSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionBounds:
    """What is of a time before `..._from` is forgotten, µs but of results; batch ids are remembered for
    `ids_days` (`db.retention.forgetting.remembered_from`).
    """

    customer: Customer
    now_us: int
    ids_days: int
    quarantined_from: int
    windows_from: int
    results_from: datetime

    def rows_from(self, batches_from: int) -> int:
        """Quarantine goes not before its batch id is forgotten: a receipt needs both."""
        return min(self.quarantined_from, batches_from)


def bounds(customer: Customer, settings: DatabaseSettings, now_us: int) -> RetentionBounds:
    """Of that customer at that time."""
    days = own_retention.days(customer, settings)
    return RetentionBounds(
        customer=customer,
        now_us=now_us,
        ids_days=days["ids"],
        quarantined_from=now_us - days["quarantine"] * DAY_US,
        windows_from=now_us - settings.windows_days * DAY_US,
        results_from=kept_from(customer, now_us),
    )


def kept_from(customer: Customer, now_us: int) -> datetime:
    """Results of a time before that are forgotten."""
    return datetime.fromtimestamp(now_us / 1e6, UTC) - timedelta(days=customer.retention_days)
