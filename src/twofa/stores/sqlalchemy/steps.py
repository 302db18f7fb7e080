"""A swap as a transaction of several statements, for databases in which one statement cannot do it all.

It begins, changes the record where its version is still the expected one, adds the events if that has changed one row,
and commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from typing_extensions import override

from twofa.stores.sqlalchemy.database import Database
from twofa.stores.trail import EventRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from twofa.stores.protocol import Change


class StepByStep(Database):
    """A database in which a swap takes several statements."""

    duplicates: frozenset[object]
    """The codes of errors that say: there is a row with this key."""

    @override
    def make_swap(self, connection: Connection, user_id: str, change: Change) -> bool:
        try:
            self.begin_swap(connection, change)
            happened = self._change(connection, user_id, change)
            if happened:
                self._keep_trail(connection, user_id, change)
                self.commit(connection)
            else:
                self.roll_back(connection)
        except BaseException:
            self.roll_back(connection)
            raise
        return happened

    def begin_swap(self, connection: Connection, change: Change) -> None:
        """Begin the transaction of a swap, on a fresh connection."""
        raise NotImplementedError

    def _change(self, connection: Connection, user_id: str, change: Change) -> bool:
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

    def _keep_trail(self, connection: Connection, user_id: str, change: Change) -> None:
        event = self.tables.event
        if change.new is None:
            connection.execute(delete(event).where(event.c.user_id == user_id))
        for happened in change.events:
            connection.execute(insert(event).values(EventRow.of(happened, user_id)._asdict()))
