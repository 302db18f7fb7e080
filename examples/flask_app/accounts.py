"""Users and their passwords, which are not the library's business."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from werkzeug.security import check_password_hash, generate_password_hash

if TYPE_CHECKING:
    import os


class User(NamedTuple):
    """Someone who can sign in."""

    id: str
    """Never changes, unlike the address."""
    email: str
    name: str


class Accounts:
    """The table of users."""

    def __init__(self, database: str | os.PathLike[str]) -> None:
        self._database = database
        self._run(
            "CREATE TABLE IF NOT EXISTS account (id TEXT NOT NULL PRIMARY KEY,"
            " email TEXT NOT NULL UNIQUE COLLATE NOCASE, name TEXT NOT NULL, password TEXT NOT NULL) STRICT"
        )

    def add(self, user: User, password: str) -> None:
        """Add a user, unless there already is one of that id."""
        self._run("INSERT OR IGNORE INTO account VALUES (?, ?, ?, ?)", *user, generate_password_hash(password))

    def get(self, user_id: str) -> User | None:
        """Return the user of that id."""
        rows = self._run("SELECT id, email, name FROM account WHERE id = ?", user_id)
        return User(*rows[0]) if rows else None

    def check(self, email: str, password: str) -> User | None:
        """Return the user of that address if the password is right.

        An unknown address costs a hash as well, so that time does not tell which ones exist (ASVS 5.0 6.3.8). Limit
        attempts by address in front of this (6.3.1): the library counts those at the second factor, after it.
        """
        rows = self._run("SELECT id, password FROM account WHERE email = ?", email)
        user_id, hashed = rows[0] if rows else ("", _nobody())
        return self.get(user_id) if check_password_hash(hashed, password) and rows else None

    def _run(self, statement: str, *values: str) -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(self._database)) as connection, connection:
            return connection.execute(statement, values).fetchall()


@cache
def _nobody() -> str:
    return generate_password_hash("")
