"""Sessions that live on the server: they can be ended, and what they hold is not sent to the browser.

Flask's own are signed cookies: a copy of one stays valid after signing out, and whoever has it reads it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, cast

import flask
from flask.sessions import SessionInterface, SessionMixin

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator

    from flask import Flask, Request, Response

# NIST SP 800-63B-4 §2.2.3: at AAL2 at most a day in all, and an hour without activity.
LONGEST, LONGEST_IDLE = 12 * 3600, 3600
_STALE = 60
"""Seconds after which a session's last use is written down again."""


class ServerSession(dict[str, Any], SessionMixin):
    """What is remembered of one browser."""

    def __init__(self, token: str = "", data: str = "{}", used_at: int = 0) -> None:
        super().__init__(json.loads(data))
        self.token, self.stored, self.used_at = token, data, used_at
        self.renewed = False


def renew() -> None:
    """Give the session a new id, as each step up must (ASVS 5.0 7.2.4): an id that was planted or seen is worthless."""
    cast("ServerSession", flask.session).renewed = True


class ServerSessions(SessionInterface):
    """Sessions in the application's SQLite file. Only a hash of the id is kept: a stolen file opens none."""

    def __init__(self, database: str | os.PathLike[str], *, clock: Callable[[], float], https: bool) -> None:
        self._database, self._clock, self._https = database, clock, https
        # ASVS 5.0 3.3.1 to 3.3.4: Secure, SameSite, the __Host- prefix, HttpOnly.
        self.cookie = "__Host-session" if https else "session"
        with self._connection() as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS session"
                " (id TEXT NOT NULL PRIMARY KEY, data TEXT NOT NULL, began_at INTEGER, used_at INTEGER) STRICT"
            )

    def open_session(self, app: Flask, request: Request) -> ServerSession:  # noqa: ARG002  # Flask's signature
        """Return the session of a request's cookie, or an empty one."""
        token, now = request.cookies.get(self.cookie, ""), int(self._clock())
        with self._connection() as connection:
            row = connection.execute(
                "SELECT data, used_at FROM session WHERE id = ? AND began_at > ? AND used_at > ?",
                (_hashed(token), now - LONGEST, now - LONGEST_IDLE),
            ).fetchone()
        return ServerSession(token, *row) if row else ServerSession()

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:  # noqa: ARG002  # Flask's too
        """Write a session down if anything has changed, and send its cookie if that has."""
        current, now = cast("ServerSession", session), int(self._clock())
        data = json.dumps(current)
        if current.token and (current.renewed or not current):
            self._end(current.token)
            current.token = ""
        if not current:
            response.delete_cookie(self.cookie, secure=self._https, httponly=True, samesite="Lax")
        elif not current.token:
            token = secrets.token_urlsafe(32)
            self._begin(token, data, now)
            response.set_cookie(self.cookie, token, secure=self._https, httponly=True, samesite="Lax", path="/")
        elif data != current.stored or now - current.used_at >= _STALE:
            self._touch(current.token, data, now)

    def _begin(self, token: str, data: str, now: int) -> None:
        with self._connection() as connection:
            connection.execute(
                "DELETE FROM session WHERE began_at <= ? OR used_at <= ?", (now - LONGEST, now - LONGEST_IDLE)
            )
            connection.execute("INSERT INTO session VALUES (?, ?, ?, ?)", (_hashed(token), data, now, now))

    def _touch(self, token: str, data: str, now: int) -> None:
        # An UPDATE: a request that was under way while its session ended must not revive it.
        with self._connection() as connection:
            connection.execute("UPDATE session SET data = ?, used_at = ? WHERE id = ?", (data, now, _hashed(token)))

    def _end(self, token: str) -> None:
        with self._connection() as connection:
            connection.execute("DELETE FROM session WHERE id = ?", (_hashed(token),))

    @contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._database)) as connection, connection:
            yield connection


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
