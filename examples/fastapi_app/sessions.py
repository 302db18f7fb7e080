"""Browsers' sessions, kept in the database: they can be ended, and what they hold is not sent to the browser.

Starlette's own `SessionMiddleware` makes signed cookies: a copy of one stays valid after signing out.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection

from fastapi_app.database import SESSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Delete, Insert, Update
    from sqlalchemy.ext.asyncio import AsyncEngine
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LONGEST_IDLE = 3600
"""Seconds without a request after which a session ends (NIST SP 800-63B-4 §2.2.3: at AAL2 at most an hour)."""

_STALE = 60
"""Seconds after which a session's last use is written down again."""


class ServerSession(dict[str, Any]):
    """What is remembered of one browser: `request.session`."""

    def __init__(self, token: str = "", data: str = "{}", used_at: int = 0) -> None:
        super().__init__(json.loads(data))
        self.token, self.stored, self.used_at = token, data, used_at
        self.rotated = False

    def rotate(self) -> None:
        """Go on under a new id (ASVS 5.0 7.2.4): one that was planted or copied is worthless then."""
        self.rotated = True


class ServerSessions:
    """ASGI middleware. Only a hash of a session's id is kept: a stolen database opens none."""

    def __init__(self, app: ASGIApp, *, engine: AsyncEngine, clock: Callable[[], float], https: bool) -> None:
        self._app, self._engine, self._clock, self._https = app, engine, clock, https
        self._cookie = "__Host-session" if https else "session"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open the session, answer the request, and write the session down before the answer begins."""
        session = await self._open(HTTPConnection(scope).cookies.get(self._cookie))
        scope["session"] = session

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                token = await self._save(session)
                if token is not None:
                    MutableHeaders(scope=message).append("Set-Cookie", self._set_cookie(token))
            await send(message)

        await self._app(scope, receive, send_with_cookie)

    async def _open(self, token: str | None) -> ServerSession:
        """Return the session of a request's cookie, or an empty one."""
        if token is None:
            return ServerSession()
        oldest = int(self._clock()) - LONGEST_IDLE
        wanted = select(SESSION).where(SESSION.c.id == _hashed(token), SESSION.c.used_at > oldest)
        async with self._engine.connect() as connection:
            row = (await connection.execute(wanted)).first()
        return ServerSession() if row is None else ServerSession(token, row.data, row.used_at)

    async def _save(self, session: ServerSession) -> str | None:
        """Write a session down if anything has changed; return what the cookie is to hold if that has."""
        now, data = int(self._clock()), json.dumps(session)
        mine = SESSION.c.id == _hashed(session.token)
        if not session:
            if not session.token:
                return None
            await self._write(SESSION.delete().where(mine))
            return ""
        if not session.token:
            token = secrets.token_urlsafe(32)
            await self._write(
                SESSION.delete().where(SESSION.c.used_at <= now - LONGEST_IDLE),
                SESSION.insert().values((_hashed(token), data, now)),
            )
            return token
        # From here on UPDATE: a request that was under way while its session ended must not revive it.
        if session.rotated:
            token = secrets.token_urlsafe(32)
            await self._write(SESSION.update().where(mine).values(id=_hashed(token), data=data, used_at=now))
            return token
        if data != session.stored or now - session.used_at >= _STALE:
            await self._write(SESSION.update().where(mine).values(data=data, used_at=now))
        return None

    async def _write(self, *statements: Insert | Update | Delete) -> None:
        async with self._engine.begin() as connection:
            for statement in statements:
                await connection.execute(statement)

    def _set_cookie(self, token: str) -> str:
        """Return the header's value. ASVS 5.0 3.3.1 to 3.3.4: the __Host- prefix, Secure, HttpOnly, SameSite."""
        flags = ["Path=/", "HttpOnly", "SameSite=Lax", *(["Secure"] if self._https else [])]
        return "; ".join([f"{self._cookie}={token}", *flags, *([] if token else ["Max-Age=0"])])


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
