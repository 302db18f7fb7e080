"""What differs from database to database: how a swap is made in one step, and how the outbox is read in order.

Everything here is on one connection that nobody else uses, whichever hooks and isolation levels the host's engine
brings along: a hook that opens a transaction of its own must neither hold a swap back nor undo it.

The outbox: the numbers of events are drawn when they are inserted, but seen when they are committed, so that a higher
one can be seen before a lower one. A reader that went on after the higher one would miss the lower for good. So a
writer holds a gate, shared with all other writers, from before its number is drawn until it has committed. A reader
takes the highest number that it sees, then passes the gate alone, which waits for every writer that was under way, and
only then reads up to that number. It never holds the gate: writers wait for writers only.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from typing import cast as cast_type

from sqlalchemy import (
    CTE,
    Integer,
    MetaData,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import OID, REGCLASS
from sqlalchemy.dialects.postgresql import insert as insert_if_absent
from sqlalchemy.exc import DBAPIError, IntegrityError
from typing_extensions import override

from twofa.stores.sqlalchemy.tables import MYSQL, POSTGRESQL, add_tables, check_dialect
from twofa.stores.trail import EventRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, CursorResult, Dialect, Select, Table

    from twofa.stores.protocol import Change

_PATIENCE = 1
"""Seconds that a reader of the outbox waits at the gate. Writers that come meanwhile wait behind it, so it is short."""
_GATE = 0x2FA0_6A7E
"""Tells the gate's lock from other advisory locks; a table's number tells it from the gate of another schema."""
_CREATION = 0x2FA0_C4EA
"""The lock of those who create the tables."""
_IDLE = 0
"""What libpq calls a connection without a transaction."""


class Family:
    """A kind of database. One object for a store; it keeps no state."""

    conflicts: frozenset[object]
    """The codes of errors that say: given up for the sake of another transaction, and nothing was committed."""

    def __init__(self, dialect: Dialect, schema: str | None) -> None:
        self.dialect = dialect
        self.metadata = MetaData()
        self.tables = add_tables(self.metadata, dialect=dialect.name, schema=schema)
        record = self.tables.record.c
        whose = bindparam("whose", type_=record.user_id.type)
        self._select = select(record.version, record.document).where(record.user_id == whose)

    def prepare(self, connection: Connection) -> None:
        """Make a connection, just taken from the pool, independent of the engine's isolation level."""
        # Not on an engine of our own: a host's engine may have an isolation level that would prevail over it.
        if connection.in_transaction():  # a hook of the host's ran a statement
            connection.commit()
        connection.execution_options(isolation_level="AUTOCOMMIT")

    def fresh(self, connection: Connection) -> None:
        """End whatever transaction is open, so that the next statement sees what is committed now."""
        if not connection.in_transaction():
            connection.begin()  # here hooks of the host's run that would otherwise run with our statement
        self.commit(connection)

    def commit(self, connection: Connection) -> None:
        """Commit, although no transaction is open unless we or a hook of the host's opened it."""
        if _may_be_open(connection):
            _run(connection, "COMMIT")

    def load(self, connection: Connection, user_id: str) -> Sequence[str] | None:
        """Return a record's version and document, on a fresh connection."""
        return connection.execute(self._select, {"whose": user_id}).first()

    def swap(self, connection: Connection, user_id: str, change: Change) -> bool:
        """Apply a change in one step, on a fresh connection; return whether it happened, and so is committed."""
        raise NotImplementedError

    def pass_gate(self, connection: Connection) -> bool:
        """Wait for every swap with events that is under way; return whether they all ended in time."""
        raise NotImplementedError

    def create(self, connection: Connection) -> None:
        """Create the tables that are not there, one process at a time."""
        raise NotImplementedError

    def is_conflict(self, error: DBAPIError) -> bool:
        """Return whether the database says that it gave up for the sake of another transaction."""
        return self.code(error) in self.conflicts

    def code(self, error: DBAPIError) -> object:
        """Return the database's own code for an error."""
        raise NotImplementedError


# --- PostgreSQL ----------------------------------------------------------------------------------------------------

# Not named as the columns are: SQLAlchemy would take them for values to set.
_WHOSE = bindparam("whose", type_=Text(collation="C"))
_EXPECTED = bindparam("expected", type_=Text())
_VERSION = bindparam("new_version", type_=Text())
_DOCUMENT = bindparam("new_document", type_=Text())
_Kind = Literal["create", "update", "delete", "nothing"]


class _Written:
    """A statement in the database's own words, written once: writing it for each login took a third of its time."""

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        self._statement = statement
        compiled = statement.compile(dialect=dialect)
        self._text, self._fixed = compiled.string, compiled.params
        self._order: Sequence[str] | None = getattr(compiled, "positiontup", None)
        """The parameters, for a driver that knows them by their place."""

    def run(self, connection: Connection, parameters: dict[str, Any]) -> CursorResult[Any]:
        """Carry it out."""
        if "schema_translate_map" in connection.get_execution_options():
            return connection.execute(self._statement, parameters)  # a host with a schema for each of its tenants
        named = {**self._fixed, **parameters}
        if self._order is None:
            return connection.exec_driver_sql(self._text, named)
        return connection.exec_driver_sql(self._text, tuple([named[name] for name in self._order]))


class PostgreSQL(Family):
    """One statement a swap, and so one round trip, committed when its answer comes."""

    conflicts = frozenset({"40001", "40P01"})
    """Serialization failure, deadlock."""
    _LOCK_NOT_AVAILABLE = "55P03"

    def __init__(self, dialect: Dialect, schema: str | None) -> None:
        super().__init__(dialect, schema)
        self._statements: dict[tuple[_Kind, int], _Written] = {}
        self._written_select = _Written(self._select, dialect)

    @override
    def load(self, connection: Connection, user_id: str) -> Sequence[str] | None:
        return self._written_select.run(connection, {"whose": user_id}).first()

    @override
    def swap(self, connection: Connection, user_id: str, change: Change) -> bool:
        kind = _kind_of(change)
        parameters: dict[str, Any] = {"whose": user_id, "expected": change.expected}
        if change.new is not None:
            parameters |= {"new_version": change.new.version, "new_document": change.new.document}
        for number, event in enumerate(change.events):
            row = EventRow.of(event, user_id)._asdict()
            parameters |= {f"{name}_{number}": row[name] for name in _EVENT_COLUMNS}
        key = kind, len(change.events)
        statement = self._statements.get(key)
        if statement is None:
            statement = self._statements[key] = _Written(self._statement(*key), self.dialect)
        happened = statement.run(connection, parameters).scalar() == 1
        self.commit(connection)
        return happened

    def _statement(self, kind: _Kind, events: int) -> Select[int]:
        # The row that is changed is joined with the gate's, and each event with the row that was changed, so that the
        # lock is held before the number of an event is drawn. It is let go at the end of the transaction, after the
        # commit can be seen.
        event = self.tables.event
        gate = None
        if events:
            lock = func.pg_advisory_xact_lock_shared(_GATE, self._table_number).label("held")
            gate = select(lock, _WHOSE.label("user_id")).cte("gate").prefix_with("MATERIALIZED")
        done = self._change(kind, gate)
        told: list[CTE] = []
        if kind in {"delete", "nothing"}:
            told.append(delete(event).where(event.c.user_id == done.c.user_id).cte("erased"))
        if events:
            rows = union_all(
                *(
                    select(
                        done.c.user_id,
                        *(bindparam(f"{name}_{n}", type_=event.c[name].type).label(name) for name in _EVENT_COLUMNS),
                        literal(n, Integer).label("n"),
                    )
                    for n in range(events)
                )
            ).subquery("rows")
            columns = ("user_id", *_EVENT_COLUMNS)
            ordered = select(*(rows.c[name] for name in columns)).order_by(rows.c.n)
            told.append(insert(event).from_select(columns, ordered).cte("told"))
        return select(func.count()).select_from(done).add_cte(*told)

    def _change(self, kind: _Kind, gate: CTE | None) -> CTE:
        record = self.tables.record
        passed = true() if gate is None else gate.c.held.is_not(None)
        joined = passed if gate is None else and_(passed, gate.c.user_id == record.c.user_id)
        found = record.c.user_id == _WHOSE
        if kind == "update":
            put = update(record).where(found, record.c.version == _EXPECTED, joined)
            return put.values(version=_VERSION, document=_DOCUMENT).returning(record.c.user_id).cte("done")
        if kind == "delete":
            gone = delete(record).where(found, record.c.version == _EXPECTED, joined)
            return gone.returning(record.c.user_id).cte("done")
        if kind == "create":
            row = select(_WHOSE, _VERSION, _DOCUMENT).where(passed)
            add = insert_if_absent(record).from_select(["user_id", "version", "document"], row)
            return add.on_conflict_do_nothing(index_elements=["user_id"]).returning(record.c.user_id).cte("done")
        return select(_WHOSE.label("user_id")).where(~exists().where(found), passed).cte("done")

    @cached_property
    def _table_number(self) -> Any:
        name = self.dialect.identifier_preparer.format_table(self.tables.event)
        return cast(cast(cast(literal(name), REGCLASS), OID), Integer)

    @override
    def pass_gate(self, connection: Connection) -> bool:
        self.fresh(connection)
        # In one statement, which is one transaction: the lock is let go as soon as it is had.
        patience = select(func.set_config("lock_timeout", f"{_PATIENCE}s", True).label("set"))
        hurry = patience.cte("patience").prefix_with("MATERIALIZED")
        lock = func.pg_advisory_xact_lock(_GATE, self._table_number)
        try:
            connection.execute(select(lock).where(hurry.c.set.is_not(None)))
        except DBAPIError as error:
            if self.code(error) != self._LOCK_NOT_AVAILABLE:
                raise
            return False
        return True

    @override
    def create(self, connection: Connection) -> None:
        self.fresh(connection)
        _run(connection, "BEGIN")
        connection.execute(select(func.pg_advisory_xact_lock(_CREATION)))
        self.metadata.create_all(connection)
        self.commit(connection)

    @override
    def code(self, error: DBAPIError) -> object:
        return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)


_EVENT_COLUMNS = ("at", "kind", "source", "detail")


def _kind_of(change: Change) -> _Kind:
    if change.new is None:
        return "nothing" if change.expected is None else "delete"
    return "create" if change.expected is None else "update"


# --- step by step --------------------------------------------------------------------------------------------------


class _StepByStep(Family):
    """A transaction of several statements."""

    duplicates: frozenset[object]
    """The codes of errors that say: there is a row with this key."""

    @override
    def swap(self, connection: Connection, user_id: str, change: Change) -> bool:
        self.begin(connection, gate="shared" if change.events else None)
        event = self.tables.event
        if not self._put(connection, user_id, change):
            _run(connection, "ROLLBACK")
            return False
        if change.new is None:
            connection.execute(delete(event).where(event.c.user_id == user_id))
        for happened in change.events:
            connection.execute(insert(event).values(EventRow.of(happened, user_id)._asdict()))
        self.commit(connection)
        return True

    def _put(self, connection: Connection, user_id: str, change: Change) -> bool:
        record = self.tables.record
        held = record.c.user_id == user_id
        if change.expected is not None:
            held = and_(held, record.c.version == change.expected)
        elif change.new is None:
            return connection.execute(select(record.c.version).where(held)).first() is None
        else:
            return self._create(connection, {"user_id": user_id, **change.new._asdict()})
        statement = delete(record) if change.new is None else update(record).values(change.new._asdict())
        return connection.execute(statement.where(held)).rowcount == 1

    def _create(self, connection: Connection, row: dict[str, str]) -> bool:
        try:
            connection.execute(insert(self.tables.record).values(row))
        except IntegrityError as error:
            if self.code(error) not in self.duplicates:
                raise
            return False
        return True

    def begin(self, connection: Connection, *, gate: Literal["shared", "alone"] | None = None) -> None:
        """Begin a transaction that writes, on a fresh connection, and hold the gate where there is one."""
        raise NotImplementedError


class MySQL(_StepByStep):
    """MariaDB and MySQL, on InnoDB."""

    conflicts = frozenset({1213, 1020})
    """Deadlock; record changed since last read, under MariaDB's `innodb_snapshot_isolation`."""
    duplicates = frozenset({1062})
    _LOCK_WAIT_TIMEOUT = 1205
    _TRANSACTION_IN_PROGRESS = 1568

    @override
    def prepare(self, connection: Connection) -> None:
        # Each transaction says its isolation level itself: to set one on the connection takes four round trips.
        return

    @override
    def fresh(self, connection: Connection) -> None:
        if not connection.in_transaction():
            connection.begin()
        # For the next transaction only. Under READ UNCOMMITTED a load would see what may yet be rolled back.
        level = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
        try:
            _run(connection, level)
        except DBAPIError as error:
            if self.code(error) != self._TRANSACTION_IN_PROGRESS:
                raise
            self.commit(connection)
            _run(connection, level)

    @override
    def commit(self, connection: Connection) -> None:
        _run(connection, "COMMIT")  # the drivers do not know for certain whether there is anything to commit

    @override
    def begin(self, connection: Connection, *, gate: Literal["shared", "alone"] | None = None) -> None:
        _run(connection, "START TRANSACTION")
        while gate and not self._at_gate(connection, gate):
            # Alembic creates tables, and no rows.
            self._create_gate(connection)
            self.fresh(connection)
            _run(connection, "START TRANSACTION")

    def _at_gate(self, connection: Connection, gate: Literal["shared", "alone"]) -> bool:
        row = select(self._gate.c.id).where(self._gate.c.id == 1)
        return connection.scalar(row.with_for_update(read=gate == "shared")) is not None

    def _create_gate(self, connection: Connection) -> None:
        with suppress(IntegrityError):  # another was faster
            connection.execute(insert(self._gate).values(id=1))
        self.commit(connection)

    @property
    def _gate(self) -> Table:
        return cast_type("Table", self.tables.gate)  # which these databases have

    @override
    def pass_gate(self, connection: Connection) -> bool:
        setting = "SESSION innodb_lock_wait_timeout"
        _run(connection, f"SET @twofa_patience = @@{setting.replace(' ', '.')}, {setting} = {_PATIENCE}")
        try:
            self.fresh(connection)
            self.begin(connection, gate="alone")
        except DBAPIError as error:
            if self.code(error) != self._LOCK_WAIT_TIMEOUT:
                raise
            return False
        else:
            return True
        finally:
            if not connection.invalidated:
                _run(connection, "ROLLBACK")
                _run(connection, f"SET {setting} = @twofa_patience")

    @override
    def create(self, connection: Connection) -> None:
        self.fresh(connection)
        # Without the lock whoever comes second is told that a table exists, and nothing else happens.
        _run(connection, f"SELECT GET_LOCK('twofa.{_CREATION}', 60)")
        try:
            self.metadata.create_all(connection)
        finally:
            if not connection.invalidated:
                _run(connection, f"SELECT RELEASE_LOCK('twofa.{_CREATION}')")

    @override
    def code(self, error: DBAPIError) -> object:
        arguments = getattr(error.orig, "args", ())
        return arguments[0] if arguments else None


class SQLite(_StepByStep):
    """One writer at a time, so that the order of the numbers is that of the commits."""

    conflicts = frozenset()
    """None: whoever writes says so at the beginning, and waits there."""
    duplicates = frozenset({1555})
    """`SQLITE_CONSTRAINT_PRIMARYKEY`."""

    @override
    def begin(self, connection: Connection, *, gate: Literal["shared", "alone"] | None = None) -> None:
        _run(connection, "BEGIN IMMEDIATE")

    @override
    def pass_gate(self, connection: Connection) -> bool:
        return True

    @override
    def create(self, connection: Connection) -> None:
        self.fresh(connection)
        self.begin(connection)
        self.metadata.create_all(connection)
        self.commit(connection)

    @override
    def code(self, error: DBAPIError) -> object:
        return getattr(error.orig, "sqlite_errorcode", None)


# --- connections ---------------------------------------------------------------------------------------------------


def family_of(dialect: Dialect, schema: str | None) -> Family:
    """Return what is particular to a database. Raises `ValueError` for one that the store does not know."""
    check_dialect(dialect.name)
    family: type[Family] = PostgreSQL if dialect.name in POSTGRESQL else MySQL if dialect.name in MYSQL else SQLite
    return family(dialect, schema)


def _run(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement)


def _may_be_open(connection: Connection) -> bool:
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
