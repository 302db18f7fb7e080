"""What the store does in SQLite: the same as `SQLiteStore`, on Django's connections."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from twofa.stores import findings
from twofa.stores.protocol import Finding
from twofa.stores.sqlite import statements
from twofa.stores.sqlite.connections import transaction

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from twofa.events import Event
    from twofa.stores.protocol import Change, OutboxEntry, Stored


class SQLite:
    """SQLite, in a file."""

    def __init__(self) -> None:
        # SQLite waits for its lock by polling, and starves some of many: threads queue here before.
        self._writing = threading.RLock()

    def load(self, connection: BaseDatabaseWrapper, user_id: str) -> Stored | None:
        """Return a user's record, or `None`."""
        with connection.wrap_database_errors:
            return statements.load(connection.connection, user_id)

    def swap(self, connection: BaseDatabaseWrapper, user_id: str, change: Change) -> bool:
        """Apply a change in one transaction; return whether it happened."""
        with connection.wrap_database_errors, self._writing, transaction(connection.connection):
            return statements.swap(connection.connection, user_id, change)

    def events(self, connection: BaseDatabaseWrapper, user_id: str) -> tuple[Event, ...]:
        """Return a user's events, oldest first."""
        with connection.wrap_database_errors:
            return statements.events(connection.connection, user_id)

    def events_after(self, connection: BaseDatabaseWrapper, number: int, limit: int) -> tuple[OutboxEntry, ...]:
        """Return up to `limit` events with a number above that one."""
        with connection.wrap_database_errors:
            return statements.events_after(connection.connection, number, limit)

    def prune_events(self, connection: BaseDatabaseWrapper, seconds: int, most: int) -> int:
        """Erase up to `most` events that are earlier than a Unix time; return how many there were."""
        with connection.wrap_database_errors, self._writing, transaction(connection.connection):
            return statements.prune_events(connection.connection, seconds, most)

    def user_ids(self, connection: BaseDatabaseWrapper, after: str, limit: int) -> tuple[str, ...]:
        """Return up to `limit` user ids greater than `after`."""
        with connection.wrap_database_errors:
            return statements.user_ids(connection.connection, after, limit)

    def diagnose(self, connection: BaseDatabaseWrapper, now: float) -> list[Finding]:  # noqa: ARG002  # it has no clock
        """Return what is wrong with the file."""
        found = findings.of_file(str(connection.settings_dict["NAME"]))
        ((mode,),) = connection.connection.execute("PRAGMA journal_mode").fetchall()
        if mode not in {"wal", "memory"}:
            message = (
                "whoever reads the file makes a sign-in wait: set OPTIONS in DATABASES to "
                '{"init_command": "PRAGMA journal_mode=WAL"}'
            )
            found.append(Finding(severity="warning", code="no_wal", message=message))
        return found
