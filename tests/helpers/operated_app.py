"""The application whose operator the tests are: `--app operated_app:make_two_factor`, told by the environment.

`OPERATED_STORE` is a file for `SQLiteStore`, or a URL for SQLAlchemy or Redis; `OPERATED_ASYNC` asks for
`AsyncTwoFactor`. Only what is used is imported, since many tests start this as a process.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from twofa import AsyncTwoFactor, KeyRing, TwoFactor

if TYPE_CHECKING:
    from collections.abc import Callable

_DRIVERS = {"postgresql+psycopg": "postgresql+asyncpg", "mysql+pymysql": "mysql+aiomysql"}

_closing: list[Callable[[], object]] = []


def make_two_factor() -> TwoFactor | AsyncTwoFactor:
    """Return the application's object."""
    store: Any = make_store(os.environ["OPERATED_STORE"], awaits="OPERATED_ASYNC" in os.environ)
    face = AsyncTwoFactor if "OPERATED_ASYNC" in os.environ else TwoFactor
    return face(
        store,
        keys=KeyRing.from_env("TWOFA_KEYS"),
        issuer="Example",
        namespace=os.environ.get("OPERATED_NAMESPACE", ""),
        clock=lambda: time.time() + int(os.environ.get("OPERATED_CLOCK", "0")),
    )


def make_store(where: str, *, awaits: bool) -> Any:
    """Return the store, on the driver of the face that asks."""
    if where.startswith("redis://"):
        return _make_redis_store(where, awaits=awaits)
    if "://" in where:
        return _make_sqlalchemy_store(where, awaits=awaits)
    from twofa.stores import SQLiteStore, ThreadedStore

    # Nobody pulls the plug of these tests, and on a busy disk each durable write would take long.
    store = SQLiteStore(where, synchronous="NORMAL")
    return ThreadedStore(store) if awaits else store


def _make_redis_store(where: str, *, awaits: bool) -> Any:
    import redis.asyncio

    from twofa.stores import AsyncRedisStore, RedisStore

    eviction = "OPERATED_EVICTION" in os.environ
    if awaits:
        return AsyncRedisStore(redis.asyncio.Redis.from_url(where), allow_eviction=eviction)
    client = redis.Redis.from_url(where)
    _closing.append(client.close)
    return RedisStore(client, allow_eviction=eviction)


def _make_sqlalchemy_store(where: str, *, awaits: bool) -> Any:
    from sqlalchemy import create_engine
    from sqlalchemy.ext.asyncio import create_async_engine

    from twofa.stores import AsyncSQLAlchemyStore, SQLAlchemyStore

    if awaits:
        driver, _, rest = where.partition("://")
        return AsyncSQLAlchemyStore(create_async_engine(f"{_DRIVERS[driver]}://{rest}"))
    engine = create_engine(where)
    _closing.append(engine.dispose)
    return SQLAlchemyStore(engine)


def opened() -> int:
    """Return how much is open in this process."""
    return len(_closing)


def close(but: int = 0) -> None:
    """Close what was opened in this process, which is not going to end; but not what was open at `but` of them."""
    while len(_closing) > but:
        _closing.pop()()


text = "no application"


def fail() -> None:
    raise LookupError("the configuration is incomplete")
