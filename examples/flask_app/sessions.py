"""Sessions that live on the server: they can be ended, and what they hold is not sent to the browser.

Flask's own are signed cookies: a copy of one stays valid after signing out, and whoever has it reads it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

from flask.sessions import SessionInterface, SessionMixin

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from flask import Flask, Request, Response

LONGEST_IDLE = 3600
"""Seconds without a request after which a session ends (NIST SP 800-63B-4 §2.2.3: at AAL2 at most an hour)."""

_STALE = 60
"""Seconds after which a session's last use is written down again."""


class ServerSession(dict[str, Any], SessionMixin):
    """What is remembered of one browser."""

    def __init__(self, token: str = "", data: str = "{}", used_at: int = 0) -> None:
        super().__init__(json.loads(data))
        self.token, self.stored, self.used_at = token, data, used_at
        self.rotated = False

    def rotate(self) -> None:
        """Go on under a new id (ASVS 5.0 7.2.4): one that was planted or copied is worthless then."""
        self.rotated = True


class ServerSessions(SessionInterface):
    """Sessions in the application's SQLite file. Only a hash of the id is kept: a stolen file opens none."""

    def __init__(self, database: str | os.PathLike[str], *, clock: Callable[[], float], https: bool) -> None:
        self._database, self._clock = database, clock
        # ASVS 5.0 3.3.1 to 3.3.4: the __Host- prefix, Secure, HttpOnly, SameSite.
        self.cookie = "__Host-session" if https else "session"
        self._flags: dict[str, Any] = {"path": "/", "secure": https, "httponly": True, "samesite": "Lax"}
        self._run(
            "CREATE TABLE IF NOT EXISTS session"
            " (id TEXT NOT NULL PRIMARY KEY, data TEXT NOT NULL, used_at INTEGER NOT NULL) STRICT"
        )

    def open_session(self, app: Flask, request: Request) -> ServerSession:  # noqa: ARG002  # Flask's signature
        """Return the session of a request's cookie, or an empty one."""
        token = request.cookies.get(self.cookie)
        if token is None:
            return ServerSession()
        oldest = int(self._clock()) - LONGEST_IDLE
        rows = self._run("SELECT data, used_at FROM session WHERE id = ? AND used_at > ?", _hashed(token), oldest)
        return ServerSession(token, *rows[0]) if rows else ServerSession()

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:  # noqa: ARG002  # Flask's too
        """Write a session down if anything has changed, and send its cookie if that has."""
        current, now = cast("ServerSession", session), int(self._clock())
        data, old = json.dumps(current), _hashed(current.token)
        if not current:
            if current.token:
                self._run("DELETE FROM session WHERE id = ?", old)
                response.delete_cookie(self.cookie, **self._flags)
        elif not current.token:
            self._run("DELETE FROM session WHERE used_at <= ?", now - LONGEST_IDLE)
            self._run("INSERT INTO session VALUES (?, ?, ?)", self._new_id(response), data, now)
        # From here on UPDATE: a request that was under way while its session ended must not revive it.
        elif current.rotated:
            new = self._new_id(response)
            self._run("UPDATE session SET id = ?, data = ?, used_at = ? WHERE id = ?", new, data, now, old)
        elif data != current.stored:
            self._run("UPDATE session SET data = ?, used_at = ? WHERE id = ?", data, now, old)
        elif now - current.used_at >= _STALE:
            self._run("UPDATE session SET used_at = ? WHERE id = ?", now, old)

    def _new_id(self, response: Response) -> str:
        """Send a new id, and return what of it is kept."""
        token = secrets.token_urlsafe(32)
        response.set_cookie(self.cookie, token, **self._flags)
        return _hashed(token)

    def _run(self, statement: str, *values: str | int) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._database)) as connection, connection:
            return connection.execute(statement, values).fetchall()


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
