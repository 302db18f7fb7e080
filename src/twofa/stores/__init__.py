"""Where records are kept: the protocol that a host implements, and the stores that come with the library.

Each store is loaded when it is first asked for, so that none costs anything to those who use another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twofa.stores.protocol import (
    AsyncStore,
    Change,
    Listing,
    Outbox,
    OutboxEntry,
    Store,
    Stored,
    Trail,
    UnexpectedAnswer,
)

if TYPE_CHECKING:
    from twofa.stores.django import DjangoStore
    from twofa.stores.memory import MemoryStore
    from twofa.stores.redis import AsyncRedisStore, RedisStore
    from twofa.stores.sharded import AsyncShardedStore, ShardedStore
    from twofa.stores.sqlalchemy import AsyncSQLAlchemyStore, SQLAlchemyStore
    from twofa.stores.sqlite.store import SQLiteStore
    from twofa.stores.threaded import ThreadedStore

__all__ = [
    "AsyncRedisStore",
    "AsyncSQLAlchemyStore",
    "AsyncShardedStore",
    "AsyncStore",
    "Change",
    "DjangoStore",
    "Listing",
    "MemoryStore",
    "Outbox",
    "OutboxEntry",
    "RedisStore",
    "SQLAlchemyStore",
    "SQLiteStore",
    "ShardedStore",
    "Store",
    "Stored",
    "ThreadedStore",
    "Trail",
    "UnexpectedAnswer",
]

_MODULES = {
    "AsyncRedisStore": "redis",
    "AsyncSQLAlchemyStore": "sqlalchemy",
    "AsyncShardedStore": "sharded",
    "DjangoStore": "django",
    "MemoryStore": "memory",
    "RedisStore": "redis",
    "SQLAlchemyStore": "sqlalchemy",
    "SQLiteStore": "sqlite",
    "ShardedStore": "sharded",
    "ThreadedStore": "threaded",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # a host with a store of its own does without

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
