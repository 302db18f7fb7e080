"""The application whose operator the tests are: `--app operated_app:make_two_factor`, told by the environment.

`OPERATED_STORE` is a file for `SQLiteStore`, or an URL for SQLAlchemy; `OPERATED_ASYNC` asks for `AsyncTwoFactor`.
"""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from twofa import AsyncTwoFactor, KeyRing, TwoFactor
from twofa.stores import AsyncSQLAlchemyStore, SQLAlchemyStore, SQLiteStore, ThreadedStore

_DRIVERS = {"postgresql+psycopg": "postgresql+asyncpg", "mysql+pymysql": "mysql+aiomysql"}


def make_two_factor() -> TwoFactor | AsyncTwoFactor:
    """Return the application's object."""
    store: Any = make_store(os.environ["OPERATED_STORE"], awaits="OPERATED_ASYNC" in os.environ)
    face = AsyncTwoFactor if "OPERATED_ASYNC" in os.environ else TwoFactor
    namespace = os.environ.get("OPERATED_NAMESPACE", "")
    return face(store, keys=KeyRing.from_env("TWOFA_KEYS"), issuer="Example", namespace=namespace)


def make_store(where: str, *, awaits: bool) -> Any:
    """Return the store, on the driver of the face that asks."""
    if "://" not in where:
        return ThreadedStore(SQLiteStore(where)) if awaits else SQLiteStore(where)
    if not awaits:
        return SQLAlchemyStore(create_engine(where))
    driver, _, rest = where.partition("://")
    return AsyncSQLAlchemyStore(create_async_engine(f"{_DRIVERS[driver]}://{rest}"))


text = "no application"


def fail() -> None:
    raise LookupError("the configuration is incomplete")
