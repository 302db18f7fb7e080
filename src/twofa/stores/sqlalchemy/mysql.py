"""MariaDB and MySQL, on InnoDB: a swap is a transaction of several statements.

Readers of the outbox learn which swaps are under way by the rows of `twofa_outbox_lock`. A swap with events locks one
of them, shared, from before its first number is drawn until it is committed: which one depends on its connection. A
reader tries to lock all rows alone, and skips those that are locked (`SKIP LOCKED`). It holds what it gets for the
time of that one statement, and never stands in a queue, so nobody queues behind it. A row that it got once was not
locked by any swap at that moment: when it has got every row, all swaps that were under way at the beginning have ended.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, cast

from sqlalchemy import func, insert, literal_column, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from typing_extensions import override

from twofa.stores.sqlalchemy.database import run
from twofa.stores.sqlalchemy.steps import StepByStep
from twofa.stores.trail import PAUSE, Deadline

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect, Table

    from twofa.stores.protocol import Change

LOCKS = 64
"""Rows of `twofa_outbox_lock`. With many more swaps under way at once than rows, a reader has to look more often."""

_CREATION = "twofa.tables"
"""The named lock of those who create the tables."""


class MySQL(StepByStep):
    """MariaDB 10.6 and later, MySQL 8 and later: the first with `SKIP LOCKED`."""

    conflicts = frozenset({1213, 1020})
    """Deadlock; record changed since last read, under MariaDB's `innodb_snapshot_isolation`."""
    duplicates = frozenset({1062})
    replica = literal_column("CAST(@@GLOBAL.read_only AS CHAR) NOT IN ('0', 'OFF')")
    _TRANSACTION_IN_PROGRESS = 1568
    _STATEMENT_LOG = 1665
    """The binary log has `binlog_format=STATEMENT`, which takes no writes under READ COMMITTED."""

    def __init__(self, dialect: Dialect, schema: str | None) -> None:
        super().__init__(dialect, schema)
        # Under READ UNCOMMITTED a load would see what may yet be rolled back, and under REPEATABLE READ deleting a
        # user's events locks gaps, in which other users' events would have to wait.
        self._isolation_level = "READ COMMITTED"

    # --- connections

    @override
    def prepare(self, connection: Connection) -> None:
        # Each transaction says its isolation level itself: to set one on the connection takes four round trips.
        connection.execution_options(stream_results=False, yield_per=None)

    @override
    def start_afresh(self, connection: Connection) -> None:
        if not connection.in_transaction():
            connection.begin()
        level = f"SET TRANSACTION ISOLATION LEVEL {self._isolation_level}"  # for the next transaction only
        try:
            run(connection, level)
        except DBAPIError as error:
            if self.code(error) != self._TRANSACTION_IN_PROGRESS:
                raise
            self.commit(connection)
            run(connection, level)

    @override
    def commit(self, connection: Connection) -> None:
        run(connection, "COMMIT")  # the drivers do not know for certain whether there is anything to commit

    # --- swap

    @override
    def begin_swap(self, connection: Connection, change: Change) -> None:
        run(connection, "START TRANSACTION")
        while change.events and not self._is_locked(connection):
            # Migrations create tables, and no rows.
            self._create_locks(connection)
            self.start_afresh(connection)
            run(connection, "START TRANSACTION")

    @override
    def is_conflict(self, error: DBAPIError) -> bool:
        if self.code(error) == self._STATEMENT_LOG:
            # Nothing was committed. It is begun again at a level that this log takes, as is every swap from now on.
            self._isolation_level = "REPEATABLE READ"
            return True
        return super().is_conflict(error)

    # --- outbox

    def _is_locked(self, connection: Connection) -> bool:
        mine = self._lock.c.id == literal_column(f"CONNECTION_ID() % {LOCKS}")
        return connection.scalar(select(self._lock.c.id).where(mine).with_for_update(read=True)) is not None

    def _create_locks(self, connection: Connection) -> None:
        with suppress(IntegrityError):  # another was faster
            connection.execute(insert(self._lock).values([{"id": number} for number in range(LOCKS)]))
        self.commit(connection)

    @property
    def _lock(self) -> Table:
        return cast("Table", self.tables.outbox_lock)  # which these databases have

    @override
    def settled_number(self, connection: Connection, after: int) -> int | None:
        number, lock = self.tables.event.c.id, self._lock.c.id
        highest = connection.scalar(select(func.max(number)))
        if highest is None or highest <= after:
            return None
        # So that each statement below is a transaction of its own, which has ended when its answer comes: a reader that
        # is stopped holds no lock.
        self._end(connection)
        connection.execution_options(isolation_level="AUTOCOMMIT")
        locked, deadline = set(connection.scalars(select(lock))), Deadline()
        while locked := locked - set(connection.scalars(select(lock).with_for_update(skip_locked=True))):
            if deadline.is_over:
                return None
            connection.execute(select(func.sleep(PAUSE)))
        return int(highest)

    def _end(self, connection: Connection) -> None:
        self.commit(connection)
        connection.commit()

    # --- tables and errors

    @override
    def create(self, connection: Connection) -> None:
        # Without the lock whoever comes second is told that a table exists, and nothing else happens.
        run(connection, f"SELECT GET_LOCK('{_CREATION}', 60)")
        try:
            self.metadata.create_all(connection)
        finally:
            if not connection.invalidated:
                run(connection, f"SELECT RELEASE_LOCK('{_CREATION}')")

    @override
    def code(self, error: DBAPIError) -> object:
        arguments = getattr(error.orig, "args", ())
        return arguments[0] if arguments else None
