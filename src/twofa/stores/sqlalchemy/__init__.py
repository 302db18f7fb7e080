"""`SQLAlchemyStore` and `AsyncSQLAlchemyStore`: records in the host's own PostgreSQL, MariaDB, MySQL or SQLite.

Needs SQLAlchemy 2: `pip install "twofa-core[sqlalchemy]"`.
"""

from __future__ import annotations

try:
    import sqlalchemy as _  # noqa: F401  # says what to install before anything else fails for want of it
except ImportError as problem:
    raise ImportError('this store needs SQLAlchemy 2: pip install "twofa-core[sqlalchemy]"') from problem

from twofa.stores.sqlalchemy.store import AsyncSQLAlchemyStore, SQLAlchemyStore
from twofa.stores.sqlalchemy.tables import add_tables

__all__ = ["AsyncSQLAlchemyStore", "SQLAlchemyStore", "add_tables"]
