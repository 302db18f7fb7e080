"""The yardsticks: the statements that a login cannot do without, on a table of the stores' shape, and nothing else.

One SELECT of the record, then in one transaction one guarded UPDATE and the INSERT of the event, into a table with an
index on the user's id.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

import psycopg
from accounts import synthetic_record
from measure import NOW

if TYPE_CHECKING:
    from pathlib import Path

USER = "user-42"
_EVENT = (NOW, "code_accepted", None, '{"operation":"verify"}')


class BareSQLite:
    """The statements in `sqlite3`, in a file of their own, with the store's pragmas."""

    TABLES = (
        "CREATE TABLE IF NOT EXISTS record"
        " (user_id TEXT NOT NULL PRIMARY KEY, version TEXT NOT NULL, document TEXT NOT NULL) STRICT",
        "CREATE TABLE IF NOT EXISTS event"
        " (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id TEXT NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,"
        " source TEXT, detail TEXT NOT NULL) STRICT",
        "CREATE INDEX IF NOT EXISTS event_user ON event (user_id)",
    )

    def __init__(self, path: Path, synchronous: str, user_id: str = USER) -> None:
        self._user = user_id
        self._connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute(f"PRAGMA synchronous={synchronous}")
        for statement in self.TABLES:
            self._connection.execute(statement)
        self._version, self._document = synthetic_record(user_id)
        self._connection.execute(
            "INSERT OR REPLACE INTO record VALUES (?, ?, ?)", (user_id, self._version, self._document)
        )

    def select(self) -> tuple[str, str]:
        """Read the record."""
        version, document = self._connection.execute(
            "SELECT version, document FROM record WHERE user_id = ?", (self._user,)
        ).fetchone()
        return version, document

    def login(self) -> None:
        """Read the record and write it again, with its event."""
        version, document = self.select()
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        done = execute(
            "UPDATE record SET version = ?, document = ? WHERE user_id = ? AND version = ?",
            (os.urandom(16).hex(), document, self._user, version),
        )
        if done.rowcount != 1:
            raise AssertionError("the record was changed meanwhile")
        execute("INSERT INTO event (user_id, at, kind, source, detail) VALUES (?, ?, ?, ?, ?)", (self._user, *_EVENT))
        execute("COMMIT")

    def update(self) -> bool:
        """Write the record if its version is still the one read last; read it again if it is not."""
        new = os.urandom(16).hex()
        done = self._connection.execute(
            "UPDATE record SET version = ?, document = ? WHERE user_id = ? AND version = ?",
            (new, self._document, self._user, self._version),
        )
        if done.rowcount == 1:
            self._version = new
            return True
        self._version, _ = self.select()
        return False

    def close(self) -> None:
        self._connection.close()


class BarePostgreSQL:
    """The statements in psycopg, in two round trips: the UPDATE and the INSERT are one statement, which commits."""

    TABLES = (
        'CREATE TABLE IF NOT EXISTS record (user_id text COLLATE "C" PRIMARY KEY, version text NOT NULL,'
        " document text NOT NULL)",
        "CREATE TABLE IF NOT EXISTS event (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        ' user_id text COLLATE "C" NOT NULL, at bigint NOT NULL, kind text NOT NULL, source text,'
        " detail text NOT NULL)",
        "CREATE INDEX IF NOT EXISTS event_user ON event (user_id)",
    )

    def __init__(self, url: str, user_id: str = USER) -> None:
        self._user = user_id
        self._connection = psycopg.connect(url, autocommit=True)
        self._version, self._document = synthetic_record(user_id)
        self._connection.execute(
            "INSERT INTO record VALUES (%s, %s, %s) ON CONFLICT (user_id) DO UPDATE SET version = excluded.version",
            (user_id, self._version, self._document),
        )

    @classmethod
    def make_tables(cls, url: str) -> None:
        """Create the tables, once."""
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in cls.TABLES:
                connection.execute(statement.encode())

    def select(self) -> tuple[str, str]:
        """Read the record."""
        row = self._connection.execute(
            "SELECT version, document FROM record WHERE user_id = %s", (self._user,)
        ).fetchone()
        if row is None:
            raise AssertionError("the record is gone")
        return row[0], row[1]

    def login(self) -> None:
        """Read the record and write it again, with its event."""
        version, document = self.select()
        done = self._connection.execute(
            "WITH put AS (UPDATE record SET version = %s, document = %s WHERE user_id = %s AND version = %s"
            " RETURNING user_id) INSERT INTO event (user_id, at, kind, source, detail)"
            " SELECT user_id, %s, %s, %s, %s FROM put",
            (os.urandom(16).hex(), document, self._user, version, *_EVENT),
        )
        if done.rowcount != 1:
            raise AssertionError("the record was changed meanwhile")

    def update(self) -> bool:
        """Write the record if its version is still the one read last; read it again if it is not."""
        new = os.urandom(16).hex()
        done = self._connection.execute(
            "UPDATE record SET version = %s, document = %s WHERE user_id = %s AND version = %s",
            (new, self._document, self._user, self._version),
        )
        if done.rowcount == 1:
            self._version = new
            return True
        self._version, _ = self.select()
        return False

    def close(self) -> None:
        self._connection.close()
