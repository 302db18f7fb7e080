"""Was this file copied while it was in use, without the write-ahead log that has its latest commits?

Nothing in the file itself tells: `cp app.db` gives an older state that looks sound, in which spent codes are valid
again and whoever enrolled since then has no second factor. So the first swap of a process writes a mark into the file,
and whoever closes the store takes it away. A file that is marked and has no log beside it was copied in between.

The mark is a hint and no proof. A process that is killed leaves it behind; that does no harm, since it leaves its log
behind as well, unless another program opens the file next and tidies the log away. And of several processes the first
one that closes the store takes the mark from all.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress


def mark(connection: sqlite3.Connection) -> None:
    """Say in the file itself, and not only in its log, that it is in use. Not inside a transaction."""
    connection.execute("UPDATE twofa_schema SET in_use = 1 WHERE in_use = 0")
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def unmark(connection: sqlite3.Connection) -> None:
    """Say that it is not, unless another process is just writing, and so is using it."""
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("UPDATE twofa_schema SET in_use = 0 WHERE in_use = 1")


def is_marked(connection: sqlite3.Connection) -> bool:
    """Return whether the file says that it is in use."""
    (in_use,) = connection.execute("SELECT in_use FROM twofa_schema").fetchone()
    return bool(in_use)
