"""The two faces. What happens on a connection is written once, and blocking: the awaiting face runs the same functions.

A store takes an engine, and for each call a connection of its own from the engine's pool. What it is told to write is
committed when it answers, whatever becomes of the host's session: a refused code must stay counted even if the request
that submitted it is rolled back.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Engine
from sqlalchemy.pool import SingletonThreadPool, StaticPool
from typing_extensions import override

from twofa.events import EventKind
from twofa.stores.protocol import AsyncStore, Store
from twofa.stores.sqlalchemy import diagnosis
from twofa.stores.sqlalchemy.forks import part_at_fork
from twofa.stores.sqlalchemy.mysql import MySQL
from twofa.stores.sqlalchemy.postgresql import PostgreSQL
from twofa.stores.sqlalchemy.sqlite import SQLite
from twofa.stores.sqlalchemy.tables import MYSQL, POSTGRESQL, check_dialect
from twofa.stores.trail import number_of, seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from sqlalchemy import Connection, Dialect
    from sqlalchemy.ext.asyncio import AsyncEngine

    from twofa.events import Event
    from twofa.stores.protocol import Change, Finding, OutboxEntry, Stored
    from twofa.stores.sqlalchemy.database import Database

P = ParamSpec("P")
T = TypeVar("T")

_BREATH = 0.005
"""Seconds between two batches of `prune_events`, for others to write: SQLite has one writer at a time."""


class SQLAlchemyStore(Store):
    """A store in PostgreSQL, MariaDB, MySQL or SQLite, through an engine of the host's.

    Keeps a trail that is an outbox too, lists its users.
    """

    def __init__(
        self, engine: Engine, *, schema: str | None = None, leave_out: Collection[EventKind] = frozenset()
    ) -> None:
        """Use an engine's database, where `create_tables` or the host's migrations have made the tables.

        `schema` is the database schema of the tables, if it is not the connection's own. Events of the kinds in
        `leave_out` are not kept: with many logins, `CODE_ACCEPTED` takes most of the space. `on_event` and the log are
        told of them all the same.

        Raises `TypeError` for anything but an engine that gives out connections of its own, `ValueError` for a database
        that the store does not know.
        """
        self._engine = _checked(engine, awaits=False)
        part_at_fork(self._engine)
        self._database = database_of(self._engine.dialect, schema)
        self._leave_out = _kinds(leave_out)

    @override
    def load(self, user_id: str) -> Stored | None:
        return self._database.load_from(self._engine, user_id)

    @override
    def swap(self, user_id: str, change: Change) -> bool:
        return self._database.swap_in(self._engine, user_id, without(self._leave_out, change))

    def events(self, user_id: str) -> tuple[Event, ...]:
        """Return the user's events, oldest first."""
        return self._on_a_connection(self._database.events, user_id)

    def events_after(self, cursor: str = "", limit: int = 100) -> tuple[OutboxEntry, ...]:
        """Return up to `limit` events of all users that stand after `cursor`, in the order of their commits.

        Returns nothing for now if a swap that is under way has not ended within a second. No swap waits for it.

        Raises `ValueError` for a cursor that no `events_after` gave, and `RuntimeError` if PostgreSQL's identity column
        has a `CACHE`, by which numbers are used out of order.
        """
        return self._on_a_connection(self._database.events_after, number_of(cursor), limit)

    def prune_events(self, before: datetime) -> int:
        """Erase every event earlier than `before` (an aware datetime), delivered or not; return how many there were.

        Takes a transaction for each thousand of them, with a pause in between; what is interrupted can be called again.

        Raises `ValueError` for a datetime without a time zone.
        """
        seconds, erased = seconds_of(before), 0
        while batch := self._on_a_connection(self._database.prune_events, seconds):
            erased += batch
            time.sleep(_BREATH)
        return erased

    def user_ids(self, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return up to `limit` user ids greater than `after`, in the order of their bytes."""
        return self._on_a_connection(self._database.user_ids, after, limit)

    def diagnose(self, now: float) -> tuple[Finding, ...]:
        """Return what is wrong with the database, for `python -m twofa check`; `now` is the time in Unix seconds."""
        return self._on_a_connection(partial(diagnosis.diagnose, self._database), now)

    def create_tables(self) -> None:
        """Create the tables that are not there. Any number of processes may do so at once.

        Raises `UnsupportedRecord` for tables made by a newer version.
        """
        self._on_a_connection(self._database.create_tables)

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

    def __init__(
        self, engine: AsyncEngine, *, schema: str | None = None, leave_out: Collection[EventKind] = frozenset()
    ) -> None:
        """As `SQLAlchemyStore`, with an `AsyncEngine`."""
        self._engine = engine
        inner = _checked(engine, awaits=True)
        part_at_fork(inner)
        self._database = database_of(inner.dialect, schema)
        self._leave_out = _kinds(leave_out)

    @override
    async def load(self, user_id: str) -> Stored | None:
        return await self._on_a_connection(self._database.load, user_id)

    @override
    async def swap(self, user_id: str, change: Change) -> bool:
        return await self._on_a_connection(self._database.swap, user_id, without(self._leave_out, change))

    async def events(self, user_id: str) -> tuple[Event, ...]:
        """As `SQLAlchemyStore.events`."""
        return await self._on_a_connection(self._database.events, user_id)

    async def events_after(self, cursor: str = "", limit: int = 100) -> tuple[OutboxEntry, ...]:
        """As `SQLAlchemyStore.events_after`."""
        return await self._on_a_connection(self._database.events_after, number_of(cursor), limit)

    async def prune_events(self, before: datetime) -> int:
        """As `SQLAlchemyStore.prune_events`."""
        seconds, erased = seconds_of(before), 0
        while batch := await self._on_a_connection(self._database.prune_events, seconds):
            erased += batch
            await asyncio.sleep(_BREATH)
        return erased

    async def user_ids(self, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """As `SQLAlchemyStore.user_ids`."""
        return await self._on_a_connection(self._database.user_ids, after, limit)

    async def diagnose(self, now: float) -> tuple[Finding, ...]:
        """As `SQLAlchemyStore.diagnose`."""
        return await self._on_a_connection(partial(diagnosis.diagnose, self._database), now)

    async def create_tables(self) -> None:
        """As `SQLAlchemyStore.create_tables`."""
        await self._on_a_connection(self._database.create_tables)

    async def _on_a_connection(
        self, step: Callable[Concatenate[Connection, P], T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        async with self._engine.connect() as connection:
            return await connection.run_sync(step, *arguments, **named)

    def __repr__(self) -> str:
        return f"AsyncSQLAlchemyStore({self._engine!r})"


def database_of(dialect: Dialect, schema: str | None) -> Database:
    """Return what is particular to a database. Raises `ValueError` for one that the store does not know."""
    check_dialect(dialect.name)
    kind: type[Database] = PostgreSQL if dialect.name in POSTGRESQL else MySQL if dialect.name in MYSQL else SQLite
    return kind(dialect, schema)


def without(kinds: frozenset[EventKind], change: Change) -> Change:
    """Return a change without its events of these kinds."""
    if not kinds:
        return change
    return change._replace(events=tuple([event for event in change.events if event.kind not in kinds]))


def _kinds(leave_out: Collection[EventKind]) -> frozenset[EventKind]:
    return frozenset(EventKind(kind) for kind in leave_out)


def _checked(given: Any, *, awaits: bool) -> Engine:
    """Return the blocking engine inside an engine of the right kind; raise `TypeError` for anything else."""
    if isinstance(given, str | URL):
        make = "create_async_engine" if awaits else "create_engine"
        raise TypeError(f"the store takes an engine, not a URL: {make}(url) makes one")
    if isinstance(given, Engine) and awaits:
        raise TypeError("AsyncSQLAlchemyStore takes an AsyncEngine: give a blocking engine to SQLAlchemyStore")
    if not awaits and getattr(getattr(given, "dialect", None), "is_async", False):
        raise TypeError("SQLAlchemyStore is blocking: give an asynchronous engine to AsyncSQLAlchemyStore")
    engine = _inside(given) if awaits else given
    if not isinstance(engine, Engine):
        raise TypeError(
            f"the store takes {'an AsyncEngine' if awaits else 'an Engine'}, not a {type(given).__name__}: it needs "
            "connections of its own, or a rollback of yours would undo the count of a refused code"
        )
    if isinstance(engine.pool, StaticPool | SingletonThreadPool):
        raise TypeError(
            f"the engine's {type(engine.pool).__name__} hands everybody the same connection: the store needs its own, "
            "or a rollback of yours would undo the count of a refused code; for SQLite in memory use SQLiteStore"
        )
    return engine


def _inside(given: Any) -> Any:
    from sqlalchemy.ext.asyncio import AsyncEngine  # needs greenlet, which a blocking host does without

    return given.sync_engine if isinstance(given, AsyncEngine) else given
