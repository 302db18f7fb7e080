"""The embedded store: one SQLite file, no server."""

from twofa.stores.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
