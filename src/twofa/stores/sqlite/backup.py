"""A complete copy of a file that is in use.

`cp app.db` is none: the latest commits are in `app.db-wal`. A copy without them is an older state, in which spent codes
are valid again, or an empty one, in which nobody has a second factor.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from twofa.stores.sqlite import in_use
from twofa.stores.sqlite.files import OWNER_ONLY

if TYPE_CHECKING:
    from pathlib import Path


def copy_to(target: Path, source: sqlite3.Connection) -> None:
    """Write everything that `source` sees at this moment to a new file, which appears once it is complete.

    Raises `FileExistsError` if there is a file already.
    """
    if target.exists():
        raise FileExistsError(f"{target} is there already: nothing was written, name a new file")
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)  # of a backup that was killed
    os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, OWNER_ONLY))
    try:
        with closing(sqlite3.connect(part, isolation_level=None)) as copy:
            # In one step, so that all of it is of one moment. In WAL mode nobody waits for it.
            source.backup(copy)
            in_use.unmark(copy)
            # One file, whole without a log beside it. The store switches back when it opens it.
            copy.execute("PRAGMA journal_mode=DELETE")
        _sync(part)
        part.rename(target)
        _sync(target.parent)
    finally:
        part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk."""
    if os.name == "posix" or path.is_file():  # pragma: no branch  # Windows opens no folders, and needs not to
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
