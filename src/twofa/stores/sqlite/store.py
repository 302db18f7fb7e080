"""`SQLiteStore`: the embedded default, on the standard library's `sqlite3`.

A few things here are not what one would write first; each has its reason:

- WAL is switched on once per store and that switch is retried by hand, because it ignores the busy time-out.
- Writers of one process queue at a lock, since SQLite's own waiting polls, and starves some of them under load.
- No connection is open across a fork. SQLite keeps its account of a file's locks in the memory of the process: a child
  that inherits one believes to hold locks that only the parent has, and once the parent is gone, whoever closes the
  file next deletes the log that the child still writes to. Seen: swaps of a daemon, committed, that no other process
  could read, so that a spent code lived again (https://www.sqlite.org/howtocorrupt.html §2.6).
- `synchronous=FULL`, although WAL is safe against corruption without it: a lost last commit would revive a spent code.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
import weakref
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal, cast

from typing_extensions import override

from twofa.errors import UnsupportedRecord
from twofa.stores.protocol import OutboxEntry, Store, Stored
from twofa.stores.trail import EventRow, number_of, seconds_of

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager
    from datetime import datetime
    from typing import Self

    from twofa.events import Event
    from twofa.stores.protocol import Change

SCHEMA = 1
_OLDEST_SQLITE = (3, 37, 0)
"""The first with STRICT tables."""
_DAY = 86_400
_PAUSE = 0.005
"""Seconds between two tries to switch to WAL."""
_FORK_PATIENCE = 30.0
"""Seconds that a fork waits for other threads to be done with their connections."""

_TABLES = (
    "CREATE TABLE IF NOT EXISTS twofa_schema (version INTEGER NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS twofa_record"
    " (user_id TEXT NOT NULL PRIMARY KEY, version TEXT NOT NULL, document TEXT NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS twofa_event"
    " (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id TEXT NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,"
    " source TEXT, detail TEXT NOT NULL) STRICT",
    "CREATE INDEX IF NOT EXISTS twofa_event_user ON twofa_event (user_id)",
)


class SQLiteStore(Store):
    """A store in an SQLite file, which may be the host's own: its tables are named `twofa_…` and it makes them itself.

    Safe across threads, processes and forks. Keeps a trail that is an outbox too, lists its users.

    Switches the file to write-ahead logging, which stays with the file, and so does not belong on a network file
    system; it changes nothing else of the host's. A host that opens the same file itself must keep no connection of its
    own open across a fork: that would spoil the locks of the child for this store too.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        timeout: float = 10.0,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
    ) -> None:
        """Open or create the file at `path`, or a database in memory for `":memory:"`.

        `timeout` is how many seconds to wait for another process's lock, and for other threads of this one.
        `synchronous="NORMAL"` trades the last commits before a power failure, and with them perhaps a spent code, for
        speed.

        Raises `TypeError` for an open connection, `ValueError` for a path that is none, `UnsupportedRecord` for tables
        made by a newer version, `RuntimeError` for SQLite before 3.37, and what `sqlite3` raises.
        """
        self.path = _checked_path(path)
        if not 0 <= timeout <= _DAY:
            raise ValueError(f"timeout must be 0 to {_DAY} seconds, not {timeout!r}")
        if synchronous not in ("FULL", "NORMAL"):
            raise ValueError(f"synchronous must be 'FULL' or 'NORMAL', not {synchronous!r}")
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise RuntimeError(f"SQLiteStore needs SQLite 3.37 or newer, and this Python has {sqlite3.sqlite_version}")
        self._connections = _Connections(self.path, timeout, synchronous)
        with self._connections.use() as connection:
            if not self._connections.in_memory:
                _switch_to_wal(connection, timeout)
            _make_tables(connection)
        # An application is often made before its server forks workers, and some servers leave out the hook before.
        self._connections.close_idle()

    @override
    def load(self, user_id: str) -> Stored | None:
        with self._connections.use() as connection:
            row = connection.execute(
                "SELECT version, document FROM twofa_record WHERE user_id = ?", (user_id,)
            ).fetchone()
        return None if row is None else Stored(*row)

    @override
    def swap(self, user_id: str, change: Change) -> bool:
        with self._connections.turn_to_write(), self._connections.use() as connection, _transaction(connection):
            if not _put(connection, user_id, change):
                return False
            if change.new is None:
                connection.execute("DELETE FROM twofa_event WHERE user_id = ?", (user_id,))
            for event in change.events:
                connection.execute(
                    "INSERT INTO twofa_event (user_id, at, kind, source, detail) VALUES (?, ?, ?, ?, ?)",
                    EventRow.of(event, user_id),
                )
        return True

    def events(self, user_id: str) -> tuple[Event, ...]:
        """Return the user's events, oldest first."""
        with self._connections.use() as connection:
            rows = connection.execute(
                "SELECT user_id, at, kind, source, detail FROM twofa_event WHERE user_id = ? ORDER BY id", (user_id,)
            ).fetchall()
        return tuple(EventRow(*row).event() for row in rows)

    def events_after(self, cursor: str = "", limit: int = 100) -> tuple[OutboxEntry, ...]:
        """Return up to `limit` events of all users that stand after `cursor`, in the order of their commits.

        SQLite writes one transaction at a time, and a number is never used again, so the order of the numbers is that
        of the commits. Raises `ValueError` for a cursor that no `events_after` gave.
        """
        number = number_of(cursor)
        with self._connections.use() as connection:
            rows = connection.execute(
                "SELECT id, user_id, at, kind, source, detail FROM twofa_event WHERE id > ? ORDER BY id LIMIT ?",
                (number, limit),
            ).fetchall()
        return tuple(OutboxEntry(str(number), EventRow(*row).event()) for number, *row in rows)

    def prune_events(self, before: datetime) -> int:
        """Erase every event earlier than `before` (an aware datetime), delivered or not; return how many there were.

        Raises `ValueError` for a datetime without a time zone.
        """
        seconds = seconds_of(before)
        with self._connections.turn_to_write(), self._connections.use() as connection, _transaction(connection):
            return connection.execute("DELETE FROM twofa_event WHERE at < ?", (seconds,)).rowcount

    def user_ids(self, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return up to `limit` user ids greater than `after`, in the order of their bytes."""
        with self._connections.use() as connection:
            rows = connection.execute(
                "SELECT user_id FROM twofa_record WHERE user_id > ? ORDER BY user_id LIMIT ?", (after, limit)
            ).fetchall()
        return tuple(user_id for (user_id,) in rows)

    def close(self) -> None:
        """Close every connection, one in use as soon as it is done. The store cannot be used afterwards."""
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SQLiteStore({self.path!r})"


def _checked_path(path: object) -> str:
    if isinstance(path, sqlite3.Connection):
        raise TypeError(
            "SQLiteStore takes a path, not a connection: it needs connections of its own, or a rollback of yours would "
            "undo the count of a refused code"
        )
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a str or a path, not {type(path).__name__}")
    text = os.fspath(cast("os.PathLike[str] | os.PathLike[bytes]", path))
    if not isinstance(text, str) or not text or text.startswith("file:"):
        raise ValueError(f"path must name a file, or be ':memory:', not {text!r}")
    return text


# --- statements ----------------------------------------------------------------------------------------------------


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[None]:
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _switch_to_wal(connection: sqlite3.Connection, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE)
        else:
            return


def _make_tables(connection: sqlite3.Connection) -> None:
    if _schema(connection) is None:
        with _transaction(connection):
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute(
                "INSERT INTO twofa_schema (version) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM twofa_schema)", (SCHEMA,)
            )
    found = _schema(connection)
    if found != SCHEMA:
        raise UnsupportedRecord(
            f"the twofa tables have schema {found}, made by a newer version of twofa: upgrade this instance"
        )


def _schema(connection: sqlite3.Connection) -> int | None:
    with closing(connection.cursor()) as cursor:
        if not cursor.execute("SELECT 1 FROM sqlite_master WHERE name = 'twofa_schema'").fetchone():
            return None
        row = cursor.execute("SELECT version FROM twofa_schema").fetchone()
    return None if row is None else int(row[0])


def _put(connection: sqlite3.Connection, user_id: str, change: Change) -> bool:
    expected, new = change.expected, change.new
    if new is None and expected is None:
        held = connection.execute("SELECT 1 FROM twofa_record WHERE user_id = ?", (user_id,))
        return held.fetchone() is None
    if new is None:
        done = connection.execute("DELETE FROM twofa_record WHERE user_id = ? AND version = ?", (user_id, expected))
    elif expected is None:
        done = connection.execute(
            "INSERT INTO twofa_record (user_id, version, document) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (user_id, new.version, new.document),
        )
    else:
        done = connection.execute(
            "UPDATE twofa_record SET version = ?, document = ? WHERE user_id = ? AND version = ?",
            (new.version, new.document, user_id, expected),
        )
    return done.rowcount == 1


# --- connections ---------------------------------------------------------------------------------------------------


class _Connections:
    """A store's connections in this process: one for each thread at work, kept for the next. In memory only one."""

    def __init__(self, path: str, timeout: float, synchronous: str) -> None:
        self._path, self._timeout, self._synchronous = path, timeout, synchronous
        self.in_memory = path == ":memory:"
        # Connections are made at any time, also after a daemon has changed its directory.
        self._database = path if self.in_memory else os.path.abspath(path)  # noqa: PTH100  # Path would drop a final /
        self._closed = self._inherited = False
        self._idle: list[sqlite3.Connection] = []
        self._make_locks()
        weakref.finalize(self, _close_all, self._idle)
        _every.add(self)

    def _make_locks(self) -> None:
        self._writing = threading.RLock()  # for it knows whose it is: see `turn_to_write`
        # A database in memory is its connection: there is only one, and it is used by one thread at a time.
        self._alone: AbstractContextManager[object] = threading.Lock() if self.in_memory else nullcontext()

    @contextmanager
    def turn_to_write(self) -> Generator[None]:
        """Wait until the other threads of this process that came earlier have written."""
        writing = self._writing
        try:
            if not writing.acquire(timeout=self._timeout):
                raise sqlite3.OperationalError(f"{self._path} is locked: another thread kept writing to it")
            yield
        finally:
            # A signal handler may raise after any call: that of the lock, so that nothing could remember having it, or
            # one before the release, such as `suppress`.
            try:  # noqa: SIM105
                writing.release()
            except RuntimeError:  # it is not this thread's
                pass

    @contextmanager
    def use(self) -> Generator[sqlite3.Connection]:
        """Lend a connection that nobody else uses meanwhile."""
        with self._alone, _gate:
            self._check()
            connection = _pop(self._idle) or self._connect()
            sound = self.in_memory
            try:
                yield connection
                sound = True
            finally:
                # Whatever went wrong, the next caller starts on a fresh connection, unless this one is the database.
                if sound:
                    self._idle.append(connection)
                else:
                    connection.close()
                if self._closed:
                    _close_all(self._idle)

    def _check(self) -> None:
        if self._closed:
            raise ValueError(f"SQLiteStore({self._path!r}) is closed: make a new one")
        if self._inherited:
            raise RuntimeError("a store in memory belongs to the process that made it: use a file across a fork")

    def _connect(self) -> sqlite3.Connection:
        connection = None
        try:
            connection = sqlite3.connect(
                self._database, timeout=self._timeout, isolation_level=None, check_same_thread=False
            )
            connection.execute(f"PRAGMA synchronous={self._synchronous}")
        except sqlite3.Error as error:
            error.add_note(f"while opening {self._database}")
            if connection is not None:
                connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close them all, those in use when they come back."""
        self._closed = True
        _close_all(self._idle)

    def close_idle(self) -> None:
        """Close those that can be had again."""
        if not self.in_memory:
            _close_all(self._idle)

    def adopt(self) -> None:
        """Start anew in a forked child."""
        self._make_locks()
        self._inherited = self.in_memory
        _inherited.extend(self._idle)
        self._idle.clear()


def _pop(idle: list[sqlite3.Connection]) -> sqlite3.Connection | None:
    try:
        return idle.pop()
    except IndexError:
        return None


def _close_all(idle: list[sqlite3.Connection]) -> None:
    while (connection := _pop(idle)) is not None:
        connection.close()


# --- forks ---------------------------------------------------------------------------------------------------------


class _Gate:
    """Where every use of a connection goes through, so that a fork can wait until none is in use."""

    def __init__(self) -> None:
        # The lock is taken itself, not through the condition: between a method in Python that has taken a lock and the
        # `with` that would give it back, a signal handler can raise.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._shut = False
        self._inside: set[int] = set()

    def __enter__(self) -> None:
        with self._lock:
            self._changed.wait_for(lambda: not self._shut)
            self._inside.add(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside.discard(threading.get_ident())
            self._changed.notify_all()

    def shut(self) -> None:
        """Let no one in, and wait for the other threads to come out."""
        own = {threading.get_ident()}
        with self._lock:
            self._shut = True
            self._changed.wait_for(lambda: self._inside <= own, _FORK_PATIENCE)

    def open(self) -> None:
        """Let everyone in."""
        with self._lock:
            self._shut = False
            self._changed.notify_all()


_gate = _Gate()
_every: weakref.WeakSet[_Connections] = weakref.WeakSet()
_inherited: list[sqlite3.Connection] = []
"""What a child got all the same (a database in memory; every connection, if a server forks without the hook before):
neither used nor closed, since closing would tidy up files that the parent is using."""


def _before_fork() -> None:
    _gate.shut()
    for connections in list(_every):
        connections.close_idle()


def _after_fork_in_parent() -> None:
    _gate.open()


def _after_fork_in_child() -> None:
    global _gate  # noqa: PLW0603  # the parent's waits for threads that the child does not have
    _gate = _Gate()
    for connections in list(_every):
        connections.adopt()


if sys.platform != "win32":  # pragma: no branch  # Windows has no fork
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
