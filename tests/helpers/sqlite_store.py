"""How the tests of `SQLiteStore` get into the middle of a swap, and look at what is left."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import TYPE_CHECKING

from twofa import Event, EventKind
from twofa.stores import Change, Stored
from twofa.testing.samples import NOW, USER, numbers, stored, version

if TYPE_CHECKING:
    from collections.abc import Callable

    from twofa.stores import SQLiteStore


def is_open(connection: sqlite3.Connection) -> bool:
    """Say whether a connection can be used."""
    try:
        connection.total_changes  # noqa: B018  # raises when it is closed
    except sqlite3.ProgrammingError:
        return False
    return True


class Moment(datetime):
    """A time that does something while it is written: the store is then in the middle of its transaction."""

    do: Callable[[], object]

    def timestamp(self) -> float:
        self.do()
        return super().timestamp()


def meanwhile(do: Callable[[], object], number: int = 2) -> Change:
    """Return the change from version 1 that does something while its event is written."""
    at = Moment.fromtimestamp(NOW.timestamp(), NOW.tzinfo)
    at.do = do
    return Change(version(1), stored(number), (Event(EventKind.CODE_ACCEPTED, USER, at, detail={"number": number}),))


def raising(error: BaseException) -> Callable[[], None]:
    """Return what raises an error."""

    def raise_it() -> None:
        raise error

    return raise_it


def record(store: SQLiteStore) -> Stored:
    """Return the record, which must be there."""
    held = store.load(USER)
    assert held is not None
    return held


def untouched(store: SQLiteStore) -> bool:
    """Say whether the store holds what the fixture put there, and can still be written to."""
    as_it_was = store.load(USER) == stored(1) and numbers(store) == [1]
    return as_it_was and store.swap(USER, Change(version(1), stored(9))) and store.load(USER) == stored(9)
