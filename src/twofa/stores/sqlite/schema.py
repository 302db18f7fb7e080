"""The tables, and how a file that an older version of twofa has made becomes one of this version.

`twofa_schema` has one row. `version` says by which of the schemas below the tables are made. `needs` says which one a
program must know at least to use them: an older version of twofa goes on working with a file of a newer schema until
that schema changes something that it would get wrong. `in_use` is explained in the module of that name.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

from twofa.errors import UnsupportedRecord
from twofa.stores.sqlite.connections import transaction

SCHEMA = 2

_TABLES = (
    "CREATE TABLE twofa_record"
    " (user_id TEXT NOT NULL PRIMARY KEY, version TEXT NOT NULL, document TEXT NOT NULL) STRICT",
    # AUTOINCREMENT: a number is never used again, so the cursor of an event that was erased keeps its place.
    "CREATE TABLE twofa_event"
    " (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id TEXT NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,"
    " source TEXT, detail TEXT NOT NULL) STRICT",
    "CREATE INDEX twofa_event_user ON twofa_event (user_id)",
    "CREATE INDEX twofa_event_at ON twofa_event (at)",
    "CREATE TABLE twofa_schema"
    " (version INTEGER NOT NULL, needs INTEGER NOT NULL DEFAULT 1, in_use INTEGER NOT NULL DEFAULT 0) STRICT",
)
_MARK = "INSERT INTO twofa_schema (version, needs, in_use) VALUES (2, 1, 0)"
_UPGRADES = {
    1: (
        # Old events are found without a look at all others.
        "CREATE INDEX twofa_event_at ON twofa_event (at)",
        "ALTER TABLE twofa_schema ADD COLUMN needs INTEGER NOT NULL DEFAULT 1",
        "ALTER TABLE twofa_schema ADD COLUMN in_use INTEGER NOT NULL DEFAULT 0",
        "UPDATE twofa_schema SET version = 2",
    ),
}
"""What makes the next schema of each older one."""
_UNMARKED = (0, 0)
"""A host's migrations, which `SQLAlchemyStore` has tables for, make tables of this version and no rows."""
_PAUSE = 0.005
"""Seconds between two tries to switch to WAL."""


def exists(connection: sqlite3.Connection) -> bool:
    """Return whether the file has the tables."""
    return _found(connection) is not None


def prepare(connection: sqlite3.Connection) -> bool:
    """Make the tables, or those of an older version into those of this one; return whether they were made.

    Raises `UnsupportedRecord` for tables that only a newer version can use.
    """
    if _is_current(_found(connection)):
        return False
    # Another process may be doing the same: what is found counts only once nobody else can write.
    with transaction(connection):
        found = _found(connection)
        if found is None:
            _run(connection, (*_TABLES, _MARK))
            return True
        if found == _UNMARKED:
            _run(connection, (_MARK,))
            return False
        version, needs = found
        if needs > SCHEMA:
            raise UnsupportedRecord(
                f"the twofa tables have schema {version}, made by a newer version of twofa: upgrade this instance"
            )
        for older in range(version, SCHEMA):
            _run(connection, _UPGRADES[older])
    return False


def switch_to_wal(connection: sqlite3.Connection, timeout: float) -> None:
    """Switch the file to write-ahead logging, with which readers never wait. It stays with the file.

    Retried by hand for at most `timeout` seconds: this statement fails at once, whatever the connection's time-out is,
    while another connection writes.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE)
        else:
            return


def _run(connection: sqlite3.Connection, statements: tuple[str, ...]) -> None:
    for statement in statements:
        connection.execute(statement)


def _is_current(found: tuple[int, int] | None) -> bool:
    return found is not None and found[0] >= SCHEMA and found[1] <= SCHEMA


def _found(connection: sqlite3.Connection) -> tuple[int, int] | None:
    """Return version and needs of the tables, or `None` where there are none."""
    with closing(connection.cursor()) as cursor:
        columns = {name for (name,) in cursor.execute("SELECT name FROM pragma_table_info('twofa_schema')")}
        if not columns:
            return None
        if "needs" in columns:
            row = cursor.execute("SELECT version, needs FROM twofa_schema").fetchone()
        else:  # schema 1
            row = cursor.execute("SELECT version, 1 FROM twofa_schema").fetchone()
    return _UNMARKED if row is None else (row[0], row[1])
