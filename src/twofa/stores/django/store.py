"""`DjangoStore`, on connections of its own to one of the host's databases."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from django.db import DatabaseError, OperationalError, connections
from typing_extensions import override

from twofa.errors import UnsupportedRecord
from twofa.stores.django.connections import Connections
from twofa.stores.django.postgresql import PostgreSQL
from twofa.stores.django.sqlite import SQLite
from twofa.stores.protocol import Finding, Store
from twofa.stores.sqlite.pruning import in_batches
from twofa.stores.sqlite.schema import SCHEMA
from twofa.stores.trail import number_of, seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from django.db.backends.base.base import BaseDatabaseWrapper

    from twofa.events import Event
    from twofa.stores.protocol import Change, OutboxEntry, Stored

P = ParamSpec("P")
T = TypeVar("T")

TABLES = ("twofa_record", "twofa_event", "twofa_schema")
_MIGRATE = 'put "twofa.stores.django" into INSTALLED_APPS and run manage.py migrate'


class DjangoStore(Store):
    """A store in one of the databases of a Django project: PostgreSQL or SQLite.

    It opens connections of its own, by the project's settings, so that no transaction of the project undoes the count
    of a wrong code. Safe across threads, processes and forks. Keeps a trail that is an outbox too, lists its users.
    """

    def __init__(self, using: str = "default") -> None:
        """Use the database of that name in `DATABASES`, where the app's migration has made the tables.

        Nothing is opened yet: a store may be made while Django's settings or apps are being loaded. The first call
        raises `ImproperlyConfigured` for a database that the store does not know, and `RuntimeError` where the tables
        are missing; every call raises what Django raises.
        """
        self.using = using
        self._connections = Connections(using)
        self._tables_are_right = False

    @cached_property
    def _database(self) -> PostgreSQL | SQLite:
        return PostgreSQL() if connections[self.using].vendor == "postgresql" else SQLite()

    @override
    def load(self, user_id: str) -> Stored | None:
        return self._on_a_connection(self._database.load, user_id)

    @override
    def swap(self, user_id: str, change: Change) -> bool:
        try:
            return self._on_a_connection(self._database.swap, user_id, change)
        except OperationalError as error:
            if isinstance(self._database, SQLite) and connections[self.using].in_atomic_block:
                error.add_note(
                    "SQLite has one writer at a time, and this call was made within transaction.atomic() or "
                    "ATOMIC_REQUESTS: once that has written, the store waits for it in vain. Give twofa a database of "
                    "its own"
                )
            raise

    def events(self, user_id: str) -> tuple[Event, ...]:
        """Return the user's events, oldest first."""
        return self._on_a_connection(self._database.events, user_id)

    def events_after(self, cursor: str = "", limit: int = 100) -> tuple[OutboxEntry, ...]:
        """Return up to `limit` events of all users that stand after `cursor`, in the order of their commits.

        On PostgreSQL it returns nothing for now if a swap that is under way has not ended within a second. No swap
        waits for it.

        Raises `ValueError` for a cursor that no `events_after` gave, and `RuntimeError` if PostgreSQL's identity column
        has a `CACHE`, by which numbers are used out of order.
        """
        return self._on_a_connection(self._database.events_after, number_of(cursor), limit)

    def prune_events(self, before: datetime) -> int:
        """Erase every event earlier than `before` (an aware datetime), delivered or not; return how many there were.

        Erases in batches, with pauses that let others write: what is erased stays so if it is interrupted. Raises
        `ValueError` for a datetime without a time zone.
        """
        return in_batches(partial(self._prune, seconds_of(before)))

    def _prune(self, seconds: int, most: int) -> int:
        return self._on_a_connection(self._database.prune_events, seconds, most)

    def user_ids(self, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return up to `limit` user ids greater than `after`, in the order of their bytes."""
        return self._on_a_connection(self._database.user_ids, after, limit)

    def diagnose(self, now: float) -> tuple[Finding, ...]:
        """Return what is wrong with the database, for `python -m twofa check`; `now` is the time in Unix seconds."""
        with self._connections.use() as connection:
            missing = missing_tables(connection)
            if missing:
                message = f"there is no table {', '.join(missing)}: {_MIGRATE}"
                return (Finding(severity="critical", code="missing_tables", message=message),)
            return tuple(self._database.diagnose(connection, now))

    def close(self) -> None:
        """Close the connections that are not in use. The store opens others when it is used again."""
        self._connections.close_idle()

    def _on_a_connection(
        self, step: Callable[Concatenate[BaseDatabaseWrapper, P], T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        with self._connections.use() as connection:
            if not self._tables_are_right:
                check_tables(connection)
                self._tables_are_right = True
            return step(connection, *arguments, **named)

    def __repr__(self) -> str:
        return f"DjangoStore({self.using!r})"


def missing_tables(connection: BaseDatabaseWrapper) -> list[str]:
    """Return the tables that are not there."""
    there = connection.introspection.table_names()
    return [table for table in TABLES if table not in there]


def check_tables(connection: BaseDatabaseWrapper) -> None:
    """Raise `RuntimeError` unless the tables are there, and `UnsupportedRecord` for those of a newer version."""
    try:
        needs = _needed_shape(connection)
    except DatabaseError as error:
        if not missing_tables(connection):
            raise
        raise RuntimeError(f"there are no twofa tables in the database {connection.alias!r}: {_MIGRATE}") from error
    if needs > SCHEMA:
        raise UnsupportedRecord("the twofa tables were made by a newer version of twofa: upgrade this instance")


def _needed_shape(connection: BaseDatabaseWrapper) -> int:
    """Return the shape that a program must know at least."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT needs FROM twofa_schema ORDER BY version")
        row: Any = cursor.fetchone()
        if row is None:  # migrations create tables, and no rows: the first store that comes by says what they are
            cursor.execute(
                "INSERT INTO twofa_schema (version, needs, in_use) VALUES (%s, 1, 0) ON CONFLICT DO NOTHING", [SCHEMA]
            )
    return 1 if row is None else int(row[0])
