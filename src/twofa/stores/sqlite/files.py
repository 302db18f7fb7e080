"""The file itself: its name, who may read it, and whether a part of it is missing."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path
from typing import cast

from twofa.stores.sqlite.connections import IN_MEMORY

OWNER_ONLY = 0o600
_OTHERS = stat.S_IROTH | stat.S_IWOTH
_logger = logging.getLogger("twofa.stores")
_logger.addHandler(logging.NullHandler())


def checked_path(path: object) -> str:
    """Return the path as text. Raises `TypeError` and `ValueError` for what names no file."""
    if isinstance(path, sqlite3.Connection):
        raise TypeError(
            "SQLiteStore takes a path, not a connection: it needs connections of its own, or a rollback of yours would "
            "undo the count of a refused code"
        )
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a str or a path, not {type(path).__name__}")
    text = os.fspath(cast("os.PathLike[str] | os.PathLike[bytes]", path))
    if not isinstance(text, str) or not text or text.startswith("file:") or text.endswith(("/", os.sep)):
        raise ValueError(f"path must name a file, or be {IN_MEMORY!r}, not {text!r}")
    return text


def make_file(path: str) -> None:
    """Create an empty file that only its owner may read, as SQLite will make the files beside it; or do nothing.

    The records are sealed, but the trail of events is not: it tells who signs in, when, and from where.
    """
    with suppress(FileExistsError):
        # The target of a link that leads nowhere yet is created, as by SQLite.
        os.close(os.open(os.path.realpath(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, OWNER_ONLY))


def warn_if_others_can_read(path: str) -> None:
    """Log a warning if every user of the machine may read or write the file."""
    mode = stat.S_IMODE(Path(path).stat().st_mode)
    if mode & _OTHERS and os.name == "posix":
        _warn(
            "every user of this machine can read or write the audit trail in %s: its mode is %o, make it %o",
            Path(path).absolute(),
            mode,
            OWNER_ONLY,
        )


def warn_of_empty_store(path: str) -> None:
    """Log a warning that nobody in this store has a second factor, since it was made just now."""
    _warn(
        "made an empty store in %s: nobody has a second factor there. If users were enrolled before, this is another "
        "file than theirs",
        Path(path).absolute(),
    )


def has_log(path: str) -> bool:
    """Return whether the write-ahead log is beside the file. To be asked before a connection makes one.

    Only the names of files are looked at: to open the file and close it again would take away the locks that other
    connections of this process have on it (https://www.sqlite.org/howtocorrupt.html §2.2).
    """
    return Path(f"{path}-wal").exists()


def warn_of_missing_log(path: str) -> None:
    """Log a warning that a file is probably a copy which lacks the latest commits."""
    _warn(
        "%s was in use when it was written last, and %s-wal is missing. If this is a copy, the latest commits are not "
        "in it: spent codes may be valid again, and new users have no second factor. Restore a copy that was made "
        "together with that file, or by SQLiteStore.backup(). (If a process was killed, and another program has "
        "opened the file since, all is well.)",
        Path(path).absolute(),
        Path(path).name,
    )


def _warn(message: str, *arguments: object) -> None:
    # A handler is the host's code: nothing that it does may keep the store from opening.
    with suppress(Exception):
        _logger.warning(message, *arguments)
