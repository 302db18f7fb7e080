"""The connections of one store in this process.

Each thread at work has a connection of its own, which is kept for the next one. Writers of one process queue at a lock,
since SQLite's own waiting polls, and under load some of them starve.
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from twofa.stores.sqlite import forks, in_use

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

IN_MEMORY = ":memory:"

inherited: list[sqlite3.Connection] = []
"""Connections that a child got all the same: a database in memory, or every one if a server forks without the hook
before. They are neither used nor closed, since closing would tidy up files that the parent is using."""


@dataclass(slots=True)
class Kept:
    """What a store leaves behind if it is forgotten: apart from the store, so that it can be closed after it."""

    idle: list[sqlite3.Connection] = field(default_factory=list[sqlite3.Connection])
    """The connections that wait for their next use."""
    marked: bool = False
    """Whether this process has marked the file as in use, and has to take the mark away with its last connection."""

    def pop(self) -> sqlite3.Connection | None:
        """Take one of the idle connections, if there is one."""
        try:
            return self.idle.pop()
        except IndexError:
            return None

    def close(self) -> None:
        """Close the idle connections."""
        while (connection := self.pop()) is not None:
            if self.marked and not self.idle:
                self.marked = False
                in_use.unmark(connection)
            connection.close()


class Connections:
    """Lends connections to one database, and closes them. In memory there is only one, which is the database."""

    def __init__(self, path: str, timeout: float, synchronous: str) -> None:
        self.in_memory = path == IN_MEMORY
        self._path, self._timeout, self._synchronous = path, timeout, synchronous
        # Connections are made at any time, also after a daemon has changed its directory. `mode=rw`: a file that was
        # deleted meanwhile is an error, and never again an empty database.
        self._uri = "file::memory:" if self.in_memory else f"{Path(path).absolute().as_uri()}?mode=rw"
        self._closed = self._inherited = False
        self._kept = Kept()
        self._make_locks()
        weakref.finalize(self, self._kept.close)
        forks.take_part(self)

    def _make_locks(self) -> None:
        # Reentrant, since it then knows which thread holds it: see `only_writer`.
        self._writing = threading.RLock()
        # A database in memory is its connection, which only one thread at a time may use.
        self._alone: AbstractContextManager[object] = threading.Lock() if self.in_memory else nullcontext()

    @contextmanager
    def only_writer(self) -> Generator[None]:
        """Wait until no other thread of this process writes, at most for the time-out."""
        writing = self._writing
        try:
            if not writing.acquire(timeout=self._timeout):
                raise sqlite3.OperationalError(f"{self._path} is locked: another thread kept writing to it")
            yield
        finally:
            # A signal handler may raise after any call: after that of the lock, so that nothing could remember having
            # it, or before the release, such as in `suppress`.
            try:  # noqa: SIM105
                writing.release()
            except RuntimeError:  # it is not this thread's
                pass

    @contextmanager
    def write(self) -> Generator[sqlite3.Connection]:
        """Lend a connection in a transaction, as the only writer of the file."""
        with self.only_writer(), self.use() as connection:
            if not self._kept.marked and not self.in_memory:
                in_use.mark(connection)
                self._kept.marked = True
            with transaction(connection):
                yield connection

    @contextmanager
    def use(self) -> Generator[sqlite3.Connection]:
        """Lend a connection that nobody else uses meanwhile."""
        with self._alone, forks.gate:
            self._check()
            connection = self._kept.pop() or self._connect()
            sound = self.in_memory
            try:
                yield connection
                sound = True
            finally:
                # Whatever went wrong, the next caller starts on a fresh connection, unless this one is the database.
                if sound:
                    self._kept.idle.append(connection)
                else:
                    connection.close()
                if self._closed:
                    self._kept.close()

    def _check(self) -> None:
        if self._closed:
            raise ValueError(f"SQLiteStore({self._path!r}) is closed: make a new one")
        if self._inherited:
            raise RuntimeError("a store in memory belongs to the process that made it: use a file across a fork")

    def _connect(self) -> sqlite3.Connection:
        connection = None
        try:
            connection = sqlite3.connect(
                self._uri, uri=True, timeout=self._timeout, isolation_level=None, check_same_thread=False
            )
            connection.execute(f"PRAGMA synchronous={self._synchronous}")
        except sqlite3.Error as error:
            error.add_note(f"while opening {Path(self._path).absolute()}")
            if connection is not None:
                connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close them all, those in use when they come back."""
        self._closed = True
        self._kept.close()

    def close_idle(self) -> None:
        """Close those that can be opened again."""
        if not self.in_memory:
            self._kept.close()

    def adopt(self) -> None:
        """Start anew in a forked child."""
        self._make_locks()
        self._inherited = self.in_memory
        inherited.extend(self._kept.idle)
        self._kept.idle.clear()
        self._kept.marked = False


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """Write in one step, from the beginning as the only writer of the file."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
