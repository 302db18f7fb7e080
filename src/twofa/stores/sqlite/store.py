"""`SQLiteStore`: the embedded default, on the standard library's `sqlite3`."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from typing_extensions import override

from twofa.stores import findings
from twofa.stores.protocol import Store, Stored
from twofa.stores.sqlite import files, in_use, schema, statements
from twofa.stores.sqlite.backup import copy_to
from twofa.stores.sqlite.connections import Connections
from twofa.stores.sqlite.pruning import in_batches
from twofa.stores.trail import number_of, seconds_of

if TYPE_CHECKING:
    import os
    from datetime import datetime
    from typing import Self

    from twofa.events import Event
    from twofa.stores.protocol import Change, Finding, OutboxEntry

_OLDEST_SQLITE = (3, 37, 0)
"""The first with STRICT tables."""
_DAY = 86_400
_SAY_CREATE = "if a new and empty store is meant, open it once with create=True"


class SQLiteStore(Store):
    """A store in an SQLite file, which may be the host's own: its tables are named `twofa_…` and it makes them itself.

    Safe across threads, processes and forks. Keeps a trail that is an outbox too, lists its users.

    Switches the file to write-ahead logging, which stays with the file, and so does not belong on a network file
    system; it changes nothing else of the host's. A host that opens the same file itself must keep no connection of its
    own open across a fork: that would spoil the locks of the child for this store too. To copy a file that is in use
    takes `backup`, not `cp`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        create: bool = True,
        timeout: float = 10.0,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
    ) -> None:
        """Open the file at `path`, or a database in memory for `":memory:"`.

        If there is no file, or the tables are not in it, they are made, and a warning goes to the logger
        `twofa.stores`: in an empty store nobody has a second factor. `create=False` makes that an error: pass it in
        production, where a wrong directory, a forgotten volume or half a backup would let everybody in with the
        password alone. A new file can be read by its owner only.

        `timeout` is how many seconds to wait for another process's lock, and for other threads of this one.
        `synchronous="NORMAL"` trades the last commits before a power failure, and with them perhaps a spent code, for
        speed; with `"FULL"` they survive it.

        Raises `TypeError` for an open connection, `ValueError` for a path that is none, `FileNotFoundError` with
        `create=False` where there is no store, `UnsupportedRecord` for tables made by a newer version, `RuntimeError`
        for SQLite before 3.37, and what `sqlite3` raises.
        """
        self.path = files.checked_path(path)
        if not 0 <= timeout <= _DAY:
            raise ValueError(f"timeout must be 0 to {_DAY} seconds, not {timeout!r}")
        if synchronous not in ("FULL", "NORMAL"):
            raise ValueError(f"synchronous must be 'FULL' or 'NORMAL', not {synchronous!r}")
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise RuntimeError(f"SQLiteStore needs SQLite 3.37 or newer, and this Python has {sqlite3.sqlite_version}")
        self._connections = Connections(self.path, timeout, synchronous)
        if self._connections.in_memory:
            with self._connections.use() as connection:
                schema.prepare(connection)
        else:
            self._open(create=create, timeout=timeout)

    def _open(self, *, create: bool, timeout: float) -> None:
        if create:
            files.make_file(self.path)
        elif not Path(self.path).is_file():
            raise FileNotFoundError(f"there is no file {Path(self.path).absolute()}: {_SAY_CREATE}")
        had_log = files.has_log(self.path)
        with self._connections.use() as connection:
            if not create and not schema.exists(connection):
                raise FileNotFoundError(
                    f"{Path(self.path).absolute()} has no tables of twofa: is it the right file? {_SAY_CREATE}"
                )
            schema.switch_to_wal(connection, timeout)
            made = schema.prepare(connection)
            incomplete = in_use.is_marked(connection) and not had_log
        # An application is often made before its server forks workers, and some servers leave out the hook before.
        self._connections.close_idle()
        files.warn_if_others_can_read(self.path)
        if made:
            files.warn_of_empty_store(self.path)
        if incomplete:
            files.warn_of_missing_log(self.path)

    @override
    def load(self, user_id: str) -> Stored | None:
        with self._connections.use() as connection:
            return statements.load(connection, user_id)

    @override
    def swap(self, user_id: str, change: Change) -> bool:
        with self._connections.write() as connection:
            return statements.swap(connection, user_id, change)

    def events(self, user_id: str) -> tuple[Event, ...]:
        """Return the user's events, oldest first."""
        with self._connections.use() as connection:
            return statements.events(connection, user_id)

    def events_after(self, cursor: str = "", limit: int = 100) -> tuple[OutboxEntry, ...]:
        """Return up to `limit` events of all users that stand after `cursor`, in the order of their commits.

        Raises `ValueError` for a cursor that no `events_after` gave.
        """
        number = number_of(cursor)
        with self._connections.use() as connection:
            return statements.events_after(connection, number, limit)

    def prune_events(self, before: datetime) -> int:
        """Erase every event earlier than `before` (an aware datetime), delivered or not; return how many there were.

        Erases in batches, with pauses that let others write: what is erased stays so if it is interrupted. Raises
        `ValueError` for a datetime without a time zone.
        """
        return in_batches(partial(self._prune, seconds_of(before)))

    def _prune(self, seconds: int, most: int) -> int:
        with self._connections.write() as connection:
            return statements.prune_events(connection, seconds, most)

    def user_ids(self, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return up to `limit` user ids greater than `after`, in the order of their bytes."""
        with self._connections.use() as connection:
            return statements.user_ids(connection, after, limit)

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Write a complete copy of the file, with all that is in it, to a new file at `path`.

        The copy has everything that was committed when this was called, and is one file, readable by its owner only.
        Others read and write meanwhile. It takes about as long as to copy the file, and appears under its name once it
        is complete. Raises `FileExistsError` if there is a file already.
        """
        with self._connections.use() as connection:
            copy_to(Path(path), connection)

    def diagnose(self, now: float) -> tuple[Finding, ...]:  # noqa: ARG002  # the database has no clock of its own
        """Return what is wrong with the file, for `python -m twofa check`."""
        return (findings.in_memory(),) if self._connections.in_memory else tuple(findings.of_file(self.path))

    def close(self) -> None:
        """Close every connection, one in use as soon as it is done. The store cannot be used afterwards."""
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SQLiteStore({self.path!r})"
