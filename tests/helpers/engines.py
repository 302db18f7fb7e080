"""SQLAlchemy engines as a host makes them, and stores on them that another process can open. Quick to import."""

from __future__ import annotations

import atexit
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool

from twofa.stores.sqlalchemy import AsyncSQLAlchemyStore, SQLAlchemyStore


def engine_for(url: str, **options: Any) -> Any:
    """Return a blocking engine; on SQLite as its host should set it up."""
    engine = create_engine(url, **_patient(url, options))
    prepare_sqlite(engine)
    return engine


def async_engine_for(url: str, **options: Any) -> Any:
    """Return an asynchronous engine."""
    engine = create_async_engine(url, **{"poolclass": AsyncAdaptedQueuePool, **_patient(url, options)})
    prepare_sqlite(engine.sync_engine)
    return engine


def _patient(url: str, options: dict[str, Any]) -> dict[str, Any]:
    """Let SQLite wait for longer than five seconds: it polls for its lock, and starves some of many on a busy machine."""
    return {"connect_args": {"timeout": 60}, **options} if url.startswith("sqlite") else options


def prepare_sqlite(engine: Any) -> None:
    """Switch an SQLite file to write-ahead logging, without waiting for the disk."""
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def connect(connection: Any, _: Any) -> None:
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=OFF")
            cursor.close()


def open_store(url: str) -> SQLAlchemyStore:
    """Open a store in any process, for as long as that lives."""
    engine = engine_for(url)
    atexit.register(engine.dispose)
    return SQLAlchemyStore(engine)


def open_async_store(url: str) -> AsyncSQLAlchemyStore:
    """Open an asynchronous store in any process."""
    return AsyncSQLAlchemyStore(async_engine_for(url, poolclass=NullPool))


def new_url(server: Any, driver: str) -> str:
    """Return the URL of an empty database, for a driver."""
    return str(server.url(server.new_database(), driver=driver))
