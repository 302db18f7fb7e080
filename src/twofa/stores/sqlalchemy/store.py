"""The two faces. What happens on a connection is written once, and blocking: the awaiting face runs the same functions.

A store takes an engine, and for each call a connection of its own from the engine's pool. What it is told to write is
committed when it answers, whatever becomes of the host's session: a refused code must stay counted even if the request
that submitted it is rolled back.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Engine, delete, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import SingletonThreadPool, StaticPool
from typing_extensions import override

from twofa.stores.protocol import AsyncStore, OutboxEntry, Store, Stored
from twofa.stores.sqlalchemy.dialects import family_of
from twofa.stores.trail import EventRow, number_of, seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection
    from sqlalchemy.ext.asyncio import AsyncEngine

    from twofa.events import Event
    from twofa.stores.protocol import Change

P = ParamSpec("P")
T = TypeVar("T")

_TRIES = 10
"""How often a call is begun that the database gives up for the sake of another transaction."""


class SQLAlchemyStore(Store):
    """A store in PostgreSQL, MariaDB, MySQL or SQLite, through an engine of the host's.

    Keeps a trail that is an outbox too, lists its users.
    """

    def __init__(self, engine: Engine, *, schema: str | None = None) -> None:
        """Use an engine's database, where `create_tables` or the host's migrations have made the tables.

        `schema` is the database schema of the tables, if it is not the connection's own.

        Raises `TypeError` for anything but an engine that gives out connections of its own, `ValueError` for a database
        that the store does not know.
        """
        self._engine = _checked(engine, "an Engine")
        if self._engine.dialect.is_async:
            raise TypeError("SQLAlchemyStore is blocking: give an asynchronous engine to AsyncSQLAlchemyStore")
        self._work = _Work(engine, schema)

    @override
    def load(self, user_id: str) -> Stored | None:
        return self._on_a_connection(self._work.load, user_id)

    @override
    def swap(self, user_id: str, change: Change) -> bool:
        return self._on_a_connection(self._work.swap, user_id, change)

    def events(self, user_id: str) -> tuple[Event, ...]:
        """Return the user's events, oldest first."""
        return self._on_a_connection(self._work.events, user_id)

    def events_after(self, cursor: str = "", limit: int = 100) -> tuple[OutboxEntry, ...]:
        """Return up to `limit` events of all users that stand after `cursor`, in the order of their commits.

        Returns nothing for now if a swap that is under way is not settled within a second.

        Raises `ValueError` for a cursor that no `events_after` gave.
        """
        return self._on_a_connection(self._work.events_after, number_of(cursor), limit)

    def prune_events(self, before: datetime) -> int:
        """Erase every event earlier than `before` (an aware datetime), delivered or not; return how many there were.

        Raises `ValueError` for a datetime without a time zone.
        """
        return self._on_a_connection(self._work.prune_events, seconds_of(before))

    def user_ids(self, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return up to `limit` user ids greater than `after`, in the order of their bytes."""
        return self._on_a_connection(self._work.user_ids, after, limit)

    def create_tables(self) -> None:
        """Create the tables that are not there. Any number of processes may do so at once."""
        self._on_a_connection(self._work.create_tables)

    def _on_a_connection(
        self, step: Callable[Concatenate[Connection, P], T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        with self._engine.connect() as connection:
            return step(connection, *arguments, **named)

    def __repr__(self) -> str:
        return f"SQLAlchemyStore({self._engine!r})"


class AsyncSQLAlchemyStore(AsyncStore):
    """`SQLAlchemyStore` for asyncio, through an asynchronous engine of the host's.

    A swap that is cancelled leaves the old record or the new one.
    """

    def __init__(self, engine: AsyncEngine, *, schema: str | None = None) -> None:
        """As `SQLAlchemyStore`, with an `AsyncEngine`."""
        from sqlalchemy.ext.asyncio import AsyncEngine  # needs greenlet, which a blocking host does without

        given: Any = engine
        if isinstance(given, Engine):
            raise TypeError("AsyncSQLAlchemyStore takes an AsyncEngine: give a blocking engine to SQLAlchemyStore")
        inner = _checked(given.sync_engine if isinstance(given, AsyncEngine) else given, "an AsyncEngine")
        self._engine = engine
        self._work = _Work(inner, schema)

    @override
    async def load(self, user_id: str) -> Stored | None:
        return await self._on_a_connection(self._work.load, user_id)

    @override
    async def swap(self, user_id: str, change: Change) -> bool:
        return await self._on_a_connection(self._work.swap, user_id, change)

    async def events(self, user_id: str) -> tuple[Event, ...]:
        """As `SQLAlchemyStore.events`."""
        return await self._on_a_connection(self._work.events, user_id)

    async def events_after(self, cursor: str = "", limit: int = 100) -> tuple[OutboxEntry, ...]:
        """As `SQLAlchemyStore.events_after`."""
        return await self._on_a_connection(self._work.events_after, number_of(cursor), limit)

    async def prune_events(self, before: datetime) -> int:
        """As `SQLAlchemyStore.prune_events`."""
        return await self._on_a_connection(self._work.prune_events, seconds_of(before))

    async def user_ids(self, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """As `SQLAlchemyStore.user_ids`."""
        return await self._on_a_connection(self._work.user_ids, after, limit)

    async def create_tables(self) -> None:
        """As `SQLAlchemyStore.create_tables`."""
        await self._on_a_connection(self._work.create_tables)

    async def _on_a_connection(
        self, step: Callable[Concatenate[Connection, P], T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        async with self._engine.connect() as connection:
            return await connection.run_sync(step, *arguments, **named)

    def __repr__(self) -> str:
        return f"AsyncSQLAlchemyStore({self._engine!r})"


def _checked(engine: object, wanted: str) -> Engine:
    if not isinstance(engine, Engine):
        raise TypeError(
            f"the store takes {wanted}, not a {type(engine).__name__}: it needs connections of its own, or a rollback "
            "of yours would undo the count of a refused code"
        )
    if isinstance(engine.pool, StaticPool | SingletonThreadPool):
        raise TypeError(
            f"the engine's {type(engine.pool).__name__} hands everybody the same connection: the store needs its own, "
            "or a rollback of yours would undo the count of a refused code; for SQLite in memory use SQLiteStore"
        )
    return engine


# --- on a connection -----------------------------------------------------------------------------------------------


def _repeatable(
    step: Callable[Concatenate[_Work, Connection, P], T],
) -> Callable[Concatenate[_Work, Connection, P], T]:
    """Let a step begin again when the database gave it up, and committed nothing, for the sake of another."""

    @wraps(step)
    def steps(work: _Work, connection: Connection, /, *arguments: P.args, **named: P.kwargs) -> T:
        family = work.family
        family.prepare(connection)
        tries = 1
        while True:
            try:
                family.fresh(connection)
                return step(work, connection, *arguments, **named)
            except DBAPIError as error:
                if tries == _TRIES or not family.is_conflict(error):
                    raise
                connection.rollback()
                tries += 1

    return steps


class _Work:
    """What the store does on a connection that it is lent."""

    def __init__(self, engine: Engine, schema: str | None) -> None:
        self.family = family_of(engine.dialect, schema)
        self.record, self.event, _ = self.family.tables

    @_repeatable
    def load(self, connection: Connection, user_id: str) -> Stored | None:
        row = self.family.load(connection, user_id)
        return None if row is None else Stored(*row)

    def swap(self, connection: Connection, user_id: str, change: Change) -> bool:
        try:
            return self._swap(connection, user_id, change)
        except DBAPIError as error:
            # The database itself says that nothing was committed. After anything else nobody knows.
            if not self.family.is_conflict(error):
                raise
            return False

    @_repeatable
    def _swap(self, connection: Connection, user_id: str, change: Change) -> bool:
        return self.family.swap(connection, user_id, change)

    @_repeatable
    def events(self, connection: Connection, user_id: str) -> tuple[Event, ...]:
        return tuple(event for _, event in self._told(connection, self.event.c.user_id == user_id))

    @_repeatable
    def events_after(self, connection: Connection, after: int, limit: int) -> tuple[OutboxEntry, ...]:
        # Why in three steps, and each in a transaction of its own: see `families`.
        number = self.event.c.id
        highest = connection.scalar(select(func.max(number)))
        if highest is None or highest <= after or not self.family.pass_gate(connection):
            return ()
        self.family.fresh(connection)
        settled = self._told(connection, number > after, number <= highest, limit=limit)
        return tuple(OutboxEntry(str(number), event) for number, event in settled)

    @_repeatable
    def prune_events(self, connection: Connection, seconds: int) -> int:
        erased = connection.execute(delete(self.event).where(self.event.c.at < seconds)).rowcount
        self.family.commit(connection)
        return erased

    @_repeatable
    def user_ids(self, connection: Connection, after: str, limit: int) -> tuple[str, ...]:
        user_id = self.record.c.user_id
        return tuple(connection.scalars(select(user_id).where(user_id > after).order_by(user_id).limit(limit)))

    def create_tables(self, connection: Connection) -> None:
        self.family.prepare(connection)
        self.family.create(connection)

    def _told(
        self, connection: Connection, *which: ColumnElement[bool], limit: int | None = None
    ) -> list[tuple[int, Event]]:
        event = self.event.c
        columns = select(event.id, event.user_id, event.at, event.kind, event.source, event.detail)
        rows = connection.execute(columns.where(*which).order_by(event.id).limit(limit))
        return [(row[0], EventRow(*row[1:]).event()) for row in rows]
