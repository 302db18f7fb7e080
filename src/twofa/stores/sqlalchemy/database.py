"""What the store does on a connection, as far as it is the same in every database.

`postgresql.py`, `mysql.py` and `sqlite.py` have what differs: how a swap is made in one step, and how the outbox is
read in order.

Everything here is on one connection that nobody else uses, whichever hooks, isolation levels and options the host's
engine brings along: a hook that opens a transaction of its own must neither hold a swap back nor undo it.

The order of the outbox: the number of an event is drawn when it is inserted, but seen when it is committed, so a higher
number can be seen before a lower one. A reader that went on after the higher one would miss the lower one for good. So
a reader takes the highest number that it sees, waits until every swap that was under way at that moment has ended, and
only then reads up to that number. It waits by looking, not by queueing for a lock: no swap ever waits for a reader.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Integer, MetaData, bindparam, delete, insert, inspect, literal, literal_column, select
from sqlalchemy.exc import DBAPIError

from twofa.errors import UnsupportedRecord
from twofa.stores.protocol import OutboxEntry, Stored, UnexpectedAnswer
from twofa.stores.sqlalchemy.answers import Question, new_call
from twofa.stores.sqlalchemy.tables import NEEDS, SCHEMA, add_tables
from twofa.stores.trail import EventRow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import ColumnElement, Connection, Dialect, Engine

    from twofa.events import Event
    from twofa.stores.protocol import Change

P = ParamSpec("P")
T = TypeVar("T")
D = TypeVar("D", bound="Database")

PRUNE_BATCH = 1000
"""Events that are erased in one transaction: a few milliseconds, so that a login beside it hardly waits."""
EVENT_COLUMNS = ("at", "kind", "source", "detail")
"""The columns of an event beside its number and its user, in the order of `EventRow`."""

_TRIES = 10
"""How often a call is begun that the database gives up for the sake of another transaction."""
_IDLE = 0
"""What libpq calls a connection without a transaction."""


def retried(step: Callable[Concatenate[D, Connection, P], T]) -> Callable[Concatenate[D, Connection, P], T]:
    """Make a connection ready for a step, and begin the step again where the database gave it up for another's sake."""

    @wraps(step)
    def steps(database: D, connection: Connection, /, *arguments: P.args, **named: P.kwargs) -> T:
        database.prepare(connection)
        tries = 1
        while True:
            try:
                database.start_afresh(connection)
                database.check_tables(connection)
                return step(database, connection, *arguments, **named)
            except DBAPIError as error:
                if tries == _TRIES or not database.is_conflict(error):
                    raise
                connection.rollback()
                tries += 1

    return steps


class Database:
    """A kind of database. One object for a store."""

    conflicts: frozenset[object]
    """The codes of errors that say: given up for the sake of another transaction, and nothing was committed."""
    replica: ColumnElement[Any] = literal_column("0")
    """What to select to learn whether this server is a replica, where the database can tell."""

    def __init__(self, dialect: Dialect, schema: str | None) -> None:
        self.dialect, self.schema = dialect, schema
        self.metadata = MetaData()
        self.tables = add_tables(self.metadata, dialect=dialect.name, schema=schema)
        self.tables_are_right = False
        self.question = Question.named("load", schema)
        record = self.tables.record.c
        asked = select(literal_column("1", Integer).label("one")).subquery("asked")
        found = record.user_id == bindparam("whose", type_=record.user_id.type)
        # An outer join with one row: where there is no record, the row says so.
        self.select_record = select(
            *self.question.columns(record.user_id.type), self.replica, record.version, record.document
        ).select_from(asked.outerjoin(self.tables.record, found))

    # --- what the store calls

    def load_from(self, engine: Engine, user_id: str) -> Stored | None:
        """Do `load` on a connection of a blocking engine."""
        with engine.connect() as connection:
            return self.load(connection, user_id)

    def swap_in(self, engine: Engine, user_id: str, change: Change) -> bool:
        """Do `swap` on a connection of a blocking engine."""
        with engine.connect() as connection:
            return self.swap(connection, user_id, change)

    @retried
    def load(self, connection: Connection, user_id: str) -> Stored | None:
        """Return a user's record, or `None` where the database says that there is none."""
        return self.stored(*self.ask_for_record(connection, user_id))

    def stored(self, replica: object, version: str | None, document: str | None) -> Stored | None:
        """Return the record that the database has answered with. Raises `UnexpectedAnswer` if it is a replica."""
        if replica:
            raise UnexpectedAnswer(
                "a replica has answered, which may be behind: give the store the engine of the primary. (MariaDB and "
                "MySQL: a server with read_only is taken for a replica)"
            )
        if version is None or document is None:
            return None
        return Stored(version=version, document=document)

    def swap(self, connection: Connection, user_id: str, change: Change) -> bool:
        """Apply a change in one step; return whether it happened, and so is committed."""
        try:
            return self._swap(connection, user_id, change)
        except DBAPIError as error:
            # The database itself says that nothing was committed. After anything else nobody knows.
            if not self.is_conflict(error):
                raise
            return False

    @retried
    def _swap(self, connection: Connection, user_id: str, change: Change) -> bool:
        return self.make_swap(connection, user_id, change)

    @retried
    def events(self, connection: Connection, user_id: str) -> tuple[Event, ...]:
        """Return a user's events, oldest first."""
        return tuple(event for _, event in self._select_events(connection, self.tables.event.c.user_id == user_id))

    @retried
    def events_after(self, connection: Connection, after: int, limit: int) -> tuple[OutboxEntry, ...]:
        """Return up to `limit` events with a number above `after`, in their order. None below them will ever appear."""
        number = self.tables.event.c.id
        highest = self.settled_number(connection, after)
        if highest is None:
            return ()
        # In a transaction of its own, so that it sees what was committed while we waited.
        self.start_afresh(connection)
        settled = self._select_events(connection, number > after, number <= highest, limit=limit)
        return tuple(OutboxEntry(str(number), event) for number, event in settled)

    @retried
    def prune_events(self, connection: Connection, seconds: int) -> int:
        """Erase up to `PRUNE_BATCH` events that are earlier than a Unix time; return how many there were."""
        event = self.tables.event
        # By their numbers: a DELETE with a LIMIT is another one in each database, and not safe in MySQL's binary log.
        old = select(event.c.id).where(event.c.at < seconds).order_by(event.c.at).limit(PRUNE_BATCH)
        numbers = connection.scalars(old).all()
        if not numbers:
            return 0
        erased = connection.execute(delete(event).where(event.c.id.in_(numbers))).rowcount
        self.commit(connection)
        return erased

    @retried
    def user_ids(self, connection: Connection, after: str, limit: int) -> tuple[str, ...]:
        """Return up to `limit` user ids greater than `after`."""
        user_id = self.tables.record.c.user_id
        return tuple(connection.scalars(select(user_id).where(user_id > after).order_by(user_id).limit(limit)))

    def create_tables(self, connection: Connection) -> None:
        """Create the tables that are not there, one process at a time."""
        self.prepare(connection)
        self.start_afresh(connection)
        self.create(connection)
        self._use(connection)

    @retried
    def _use(self, connection: Connection) -> None:
        """Do nothing with the tables but to see whether they are right, which every step begins with."""

    def _select_events(
        self, connection: Connection, *which: ColumnElement[bool], limit: int | None = None
    ) -> list[tuple[int, Event]]:
        event = self.tables.event.c
        columns = select(event.id, event.user_id, *(event[name] for name in EVENT_COLUMNS))
        rows: Any = connection.execute(columns.where(*which).order_by(event.id).limit(limit))
        return [(row[0], EventRow(*row[1:]).event()) for row in rows]

    # --- what differs

    def ask_for_record(self, connection: Connection, user_id: str) -> Sequence[Any]:
        """Return whether this is a replica, and the version and document of a record, on a fresh connection."""
        call = new_call()
        row = connection.execute(self.select_record, {"call": call, "whose": user_id}).first()
        return self.question.check(row, call, user_id)

    def make_swap(self, connection: Connection, user_id: str, change: Change) -> bool:
        """Apply a change in one step, on a fresh connection; return whether it happened, and so is committed."""
        raise NotImplementedError

    def settled_number(self, connection: Connection, after: int) -> int | None:
        """Return a number up to which no event is under way any more, or `None` if none above `after` is settled."""
        raise NotImplementedError

    def create(self, connection: Connection) -> None:
        """Create the tables that are not there, one process at a time, on a fresh connection."""
        raise NotImplementedError

    def code(self, error: DBAPIError) -> object:
        """Return the database's own code for an error."""
        raise NotImplementedError

    def is_conflict(self, error: DBAPIError) -> bool:
        """Return whether the database says that it gave up for the sake of another transaction."""
        return self.code(error) in self.conflicts

    # --- connections

    def prepare(self, connection: Connection) -> None:
        """Make a connection, just taken from the pool, independent of the engine's isolation level and options."""
        # Not on an engine of our own: a host's engine may have an isolation level that would prevail over it.
        if connection.in_transaction():  # a hook of the host's has run a statement
            connection.commit()
        if may_be_in_transaction(connection):
            # A hook has run a statement on the driver's connection, such as SET: committed, so that it stays set.
            # Drivers refuse to change to autocommit within a transaction.
            connection.connection.commit()
        connection.execution_options(isolation_level="AUTOCOMMIT", stream_results=False, yield_per=None)

    def start_afresh(self, connection: Connection) -> None:
        """End whatever transaction is open, so that the next statement sees what is committed now."""
        if not connection.in_transaction():
            connection.begin()  # here hooks of the host's run that would otherwise run with our statement
        self.commit(connection)

    def commit(self, connection: Connection) -> None:
        """Commit, although no transaction is open unless we or a hook of the host's opened it."""
        if may_be_in_transaction(connection):
            run(connection, "COMMIT")

    def roll_back(self, connection: Connection) -> None:
        """Undo what was not committed, now: some engines return a connection to the pool without a rollback."""
        if connection.invalidated:
            return
        try:
            run(connection, "ROLLBACK")
        except DBAPIError:
            connection.invalidate()

    # --- the shape of the tables

    def check_tables(self, connection: Connection) -> None:
        """Once for a store: raise unless the tables are there and have a shape that this version knows."""
        if self.tables_are_right:
            return
        found = self._shape(connection)
        if found is None:
            # Migrations create tables, and no rows. The first store that comes by says what they are.
            marker = self.tables.schema
            new = select(literal(SCHEMA), literal(NEEDS)).where(~select(marker.c.version).exists())
            connection.execute(insert(marker).from_select(["version", "needs"], new))
            self.commit(connection)
            found = SCHEMA, NEEDS
        version, needs = found
        if needs > SCHEMA:
            raise UnsupportedRecord(
                f"the twofa tables have shape {version}, made by a newer version of twofa: upgrade this instance"
            )
        if version < SCHEMA:
            raise RuntimeError(
                f"the twofa tables have shape {version}, made by an older version of twofa, and this one uses shape "
                f"{SCHEMA}: call create_tables(), or let your migrations bring them to what add_tables() describes, "
                f"and set twofa_schema to version {SCHEMA}, needs {NEEDS}"
            )
        self.tables_are_right = True
        self.start_afresh(connection)

    def _shape(self, connection: Connection) -> tuple[int, int] | None:
        marker = self.tables.schema.c
        try:
            row: Any = connection.execute(select(marker.version, marker.needs).order_by(marker.version)).first()
        except DBAPIError as error:
            if connection.invalidated:
                raise
            connection.rollback()
            if inspect(connection).has_table(self.tables.schema.name, schema=self.schema):
                raise
            raise RuntimeError(
                "there are no twofa tables in this database: call the store's create_tables() once, or add them to "
                "your migrations by twofa.stores.sqlalchemy.add_tables()"
            ) from error
        return None if row is None else (row[0], row[1])


def run(connection: Connection, statement: str) -> None:
    """Carry out a statement as it stands."""
    connection.exec_driver_sql(statement)


def may_be_in_transaction(connection: Connection) -> bool:
    """Ask the driver, which knows it without a round trip, whether a transaction is open on the server.

    SQLAlchemy would not know: a host's hook may have opened it with a statement. Where a driver does not tell, one may
    be open.
    """
    driver: Any = connection.connection.driver_connection
    status = getattr(getattr(driver, "info", None), "transaction_status", None)
    if status is not None:  # psycopg
        return int(status) != _IDLE
    if hasattr(driver, "is_in_transaction"):  # asyncpg
        return bool(driver.is_in_transaction())
    return bool(getattr(driver, "in_transaction", True))  # sqlite3 and aiosqlite
