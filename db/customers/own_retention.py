"""How long a customer's results, its quarantine and its batch ids are kept."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from sqlalchemy import Connection

from db.customers.rows import DEFAULT_RETENTION_DAYS, Customer, change, checked_days
from db.errors import Refusal
from db.settings import DatabaseSettings

Kept = Literal["results", "quarantine", "ids"]

MOST_IDS_DAYS = 365
MOST_QUARANTINE_DAYS = 3650


def days(customer: Customer, settings: DatabaseSettings) -> dict[Kept, int]:
    """How many days each is kept: the customer's own number, or that of the settings; batch ids never for
    fewer days than the settings say, which may have been raised since the customer got its own.
    """
    return {
        "results": customer.retention_days,
        "quarantine": customer.quarantine_days or settings.quarantine_days,
        "ids": max(customer.remember_days or 0, settings.remember_days),
    }


def set_days(
    conn: Connection, customer: Customer, settings: DatabaseSettings, changes: Mapping[Kept, int | None]
) -> dict[Kept, int]:
    """Change those that are given, None to the default; returns how many days each is kept from now on.

    Raises Refusal for what would break a promise: batch ids that are forgotten earlier than all agents are
    told, or quarantined rows that go before their batch's id.
    """
    columns: dict[str, Any] = {}
    for name, value in changes.items():
        match name:
            case "results":
                columns["retention_days"] = checked_days(DEFAULT_RETENTION_DAYS if value is None else value)
            case "quarantine":
                columns["quarantine_days"] = _within(value, "quarantine", MOST_QUARANTINE_DAYS)
            case "ids":
                columns["remember_days"] = _within(value, "batch ids", MOST_IDS_DAYS)
    asked = columns.get("remember_days")
    if asked is not None and asked < settings.remember_days:
        raise Refusal(
            f"batch ids must be remembered for {settings.remember_days} days (SLUICE_DB_REMEMBER_DAYS), as"
            f" agents are told: with {asked}, a batch that is sent again later than that would count twice"
        )
    after = days(replace(customer, **columns), settings)
    if after["quarantine"] < after["ids"]:
        raise Refusal(
            f"quarantined rows must be kept for as long as batch ids are remembered ({after['ids']} days):"
            f" with {after['quarantine']}, there would be no receipt for a batch whose id is still known"
        )
    change(conn, customer.id, **columns)
    return after


def _within(value: int | None, what: str, most: int) -> int | None:
    if value is not None and not 1 <= value <= most:
        raise Refusal(f"{what} are kept for 1 to {most:,} days")
    return value
