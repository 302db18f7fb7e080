"""SQLite: there is one writer at a time, so the order of the events' numbers is that of the commits.

Hence a reader of the outbox has nothing to wait for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select
from typing_extensions import override

from twofa.stores.sqlalchemy.database import run
from twofa.stores.sqlalchemy.steps import StepByStep

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.exc import DBAPIError

    from twofa.stores.protocol import Change


class SQLite(StepByStep):
    """SQLite by the standard library's driver, or aiosqlite."""

    conflicts = frozenset()
    """None: whoever writes says so at the beginning, and waits there."""
    duplicates = frozenset({1555})
    """`SQLITE_CONSTRAINT_PRIMARYKEY`."""

    @override
    def begin_swap(self, connection: Connection, change: Change) -> None:
        run(connection, "BEGIN IMMEDIATE")

    @override
    def settled_number(self, connection: Connection, after: int) -> int | None:
        highest = connection.scalar(select(func.max(self.tables.event.c.id)))
        return None if highest is None or highest <= after else int(highest)

    @override
    def create(self, connection: Connection) -> None:
        try:
            run(connection, "BEGIN IMMEDIATE")
            self.metadata.create_all(connection)
            run(connection, "COMMIT")
        except BaseException:
            self.roll_back(connection)
            raise

    @override
    def code(self, error: DBAPIError) -> object:
        return getattr(error.orig, "sqlite_errorcode", None)
