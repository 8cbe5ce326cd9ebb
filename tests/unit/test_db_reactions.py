"""What the database's errors are called: all classes of SQLSTATE, each with the reaction it calls for."""

import sqlite3

import psycopg
import pytest
from psycopg.errors import lookup

from db import engine
from db.errors import DatabaseMisconfigured, DatabaseUnavailable

UNFORESEEN = None
# One code of each class of PostgreSQL's, and all of those that their class does not decide.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
REACTIONS = {
    DatabaseUnavailable: (
        *("08000", "08001", "08003", "08006", "08P01"),
        *("28000", "28P01"),
        *("40001", "40P01"),
        *("53100", "53200", "53300", "53400"),
        *("55000", "55006", "55P03"),
        *("57014", "57P01", "57P02", "57P03", "57P05"),
        *("58000", "58030"),
        *("F0000", "72000"),
        *("25006", "25P03", "XX001", "XX002"),
    ),
    DatabaseMisconfigured: ("42P01", "42501"),
    UNFORESEEN: (
        *("02000", "03000", "09000", "0A000", "0B000", "0F000", "0L000", "0P000", "0Z000", "20000", "21000"),
        *("22001", "22003", "22021", "22P02", "22P05", "23502", "23505", "23514"),
        *("24000", "25001", "25P02", "26000", "27000", "2B000", "2D000", "2F000", "34000", "38000", "39000"),
        *("3B000", "3D000", "3F000", "42601", "42703", "42804", "44000"),
        *("54000", "54001", "54011", "54023"),
        *("HV000", "P0001", "XX000"),
    ),
}


def raised_for(error: Exception) -> type[Exception]:
    """What a transaction lets out when the driver raises this error within it."""
    with pytest.raises((type(error), DatabaseUnavailable, DatabaseMisconfigured)) as found, engine._named():
        raise error
    return found.type


@pytest.mark.parametrize(
    ("code", "reaction"), [(code, reaction) for reaction, codes in REACTIONS.items() for code in codes]
)
def test_each_class_of_sqlstate_has_its_reaction(code: str, reaction: type[Exception] | None) -> None:
    kind = lookup(code)
    assert raised_for(kind("what a server says")) is (reaction or kind)


def test_an_error_without_a_code_is_a_connection_that_is_gone() -> None:
    assert raised_for(psycopg.OperationalError("gone")) is DatabaseUnavailable
    assert raised_for(psycopg.InterfaceError("used wrongly")) is psycopg.InterfaceError


@pytest.mark.parametrize(
    ("code", "reaction"),
    [
        (sqlite3.SQLITE_FULL, DatabaseUnavailable),
        (sqlite3.SQLITE_CORRUPT, DatabaseUnavailable),
        (sqlite3.SQLITE_NOTADB, DatabaseMisconfigured),
        (sqlite3.SQLITE_TOOBIG, sqlite3.DataError),
        (sqlite3.SQLITE_CONSTRAINT, sqlite3.IntegrityError),
        (sqlite3.SQLITE_ERROR, sqlite3.OperationalError),
    ],
)
def test_so_have_the_codes_of_sqlite(code: int, reaction: type[Exception]) -> None:
    error = (reaction if issubclass(reaction, sqlite3.Error) else sqlite3.DatabaseError)("what SQLite says")
    error.sqlite_errorcode = code
    assert raised_for(error) is reaction
