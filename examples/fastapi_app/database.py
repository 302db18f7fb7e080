"""The service's own tables, in SQLite or PostgreSQL. The second factor has its own, which its store makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Index, MetaData, Table, Text, event, func
from sqlalchemy.ext.asyncio import create_async_engine

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncEngine

METADATA = MetaData()

ACCOUNT = Table(
    "account",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("email", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("password", Text, nullable=False),
)
Index("account_email", func.lower(ACCOUNT.c.email), unique=True)

SESSION = Table(
    "session",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("data", Text, nullable=False),
    Column("used_at", BigInteger, nullable=False),
)


def connect(url: str) -> AsyncEngine:
    """Return an engine: `sqlite+aiosqlite:///app.db` or `postgresql+asyncpg://app@db/app`."""
    engine = create_async_engine(url)
    if engine.dialect.name == "sqlite":
        # Readers then wait for no writer. PostgreSQL needs nothing of the kind.
        event.listen(engine.sync_engine, "connect", _log_ahead)
    return engine


def _log_ahead(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.close()
