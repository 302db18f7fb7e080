"""Users and their passwords, which are not the library's business."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from sqlalchemy import func, select

from fastapi_app.database import ACCOUNT

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


class User(NamedTuple):
    """Someone who can sign in."""

    id: str
    """Never changes, unlike the address."""
    email: str
    name: str


class Accounts:
    """The table of users."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        # Off the event loop, which would stand still for a hash of 50 ms; and few at once, since each takes 64 MiB.
        self._in_a_thread = partial(run_sync, limiter=CapacityLimiter(4))

    async def add(self, user: User, password: str) -> None:
        """Add a user, unless there already is one of that id."""
        if await self.get(user.id) is None:
            hashed = await self._in_a_thread(_HASHER.hash, password)
            async with self._engine.begin() as connection:
                await connection.execute(ACCOUNT.insert().values((*user, hashed)))

    async def get(self, user_id: str) -> User | None:
        """Return the user of that id."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(select(ACCOUNT).where(ACCOUNT.c.id == user_id))).first()
        return None if row is None else User(row.id, row.email, row.name)

    async def check(self, email: str, password: str) -> User | None:
        """Return the user of that address if the password is right.

        An unknown address costs a hash as well, so that time does not tell which ones exist (ASVS 5.0 6.3.8). Limit
        attempts by address in front of this (6.3.1): the library counts those at the second factor, after it.
        """
        wanted = func.lower(ACCOUNT.c.email) == email.replace("\0", "").lower()  # PostgreSQL refuses text with a NUL
        async with self._engine.connect() as connection:
            row = (await connection.execute(select(ACCOUNT).where(wanted))).first()
        right = await self._in_a_thread(_is_right, password, None if row is None else row.password)
        return User(row.id, row.email, row.name) if row is not None and right else None


_HASHER = PasswordHasher()


def _is_right(password: str, hashed: str | None) -> bool:
    try:
        return _HASHER.verify(hashed or _nobody(), password)
    except VerifyMismatchError:
        return False


@cache
def _nobody() -> str:
    return _HASHER.hash("")
