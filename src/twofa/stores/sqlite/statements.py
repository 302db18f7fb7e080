"""What a store does on one connection to an SQLite file, as SQL. Other stores that keep SQLite files share it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twofa.stores.protocol import OutboxEntry, Stored, UnexpectedAnswer
from twofa.stores.trail import EventRow

if TYPE_CHECKING:
    import sqlite3

    from twofa.events import Event
    from twofa.stores.protocol import Change

# One row in any case, with the user that was asked for: "no record" is an answer, and no answer is none.
_LOAD = (
    "SELECT :user_id, record.version, record.document "
    "FROM (SELECT 1) LEFT JOIN twofa_record AS record ON record.user_id = :user_id"
)
_INSERT = "INSERT INTO twofa_record (user_id, version, document) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_UPDATE = "UPDATE twofa_record SET version = ?, document = ? WHERE user_id = ? AND version = ?"
_DELETE = "DELETE FROM twofa_record WHERE user_id = ? AND version = ?"
_ADD_EVENT = "INSERT INTO twofa_event (user_id, at, kind, source, detail) VALUES (?, ?, ?, ?, ?)"
_ERASE_EVENTS = "DELETE FROM twofa_event WHERE user_id = ?"
_PRUNE = "DELETE FROM twofa_event WHERE id IN (SELECT id FROM twofa_event WHERE at < ? ORDER BY at LIMIT ?)"
_EVENTS = "SELECT user_id, at, kind, source, detail FROM twofa_event WHERE user_id = ? ORDER BY id"
_EVENTS_AFTER = "SELECT id, user_id, at, kind, source, detail FROM twofa_event WHERE id > ? ORDER BY id LIMIT ?"
_USER_IDS = "SELECT user_id FROM twofa_record WHERE user_id > ? ORDER BY user_id LIMIT ?"


def load(connection: sqlite3.Connection, user_id: str) -> Stored | None:
    """Return a user's record, or `None` where SQLite says that there is none."""
    row = connection.execute(_LOAD, {"user_id": user_id}).fetchone()
    if row is None or row[0] != user_id:
        raise UnexpectedAnswer("SQLite answered something else than what the store asked: nothing was believed")
    _, version, document = row
    return None if version is None else Stored(version, document)


def swap(connection: sqlite3.Connection, user_id: str, change: Change) -> bool:
    """Apply a change within a transaction of the caller's; return whether it fitted."""
    if not _put(connection, user_id, change):
        return False
    if change.new is None:
        connection.execute(_ERASE_EVENTS, (user_id,))
    for event in change.events:
        connection.execute(_ADD_EVENT, EventRow.of(event, user_id))
    return True


def _put(connection: sqlite3.Connection, user_id: str, change: Change) -> bool:
    expected, new = change.expected, change.new
    if expected is None:
        if new is None:
            return load(connection, user_id) is None
        done = connection.execute(_INSERT, (user_id, *new))
    elif new is None:
        done = connection.execute(_DELETE, (user_id, expected))
    else:
        done = connection.execute(_UPDATE, (*new, user_id, expected))
    return done.rowcount == 1


def events(connection: sqlite3.Connection, user_id: str) -> tuple[Event, ...]:
    """Return a user's events, oldest first."""
    return tuple(EventRow(*row).event() for row in connection.execute(_EVENTS, (user_id,)).fetchall())


def events_after(connection: sqlite3.Connection, number: int, limit: int) -> tuple[OutboxEntry, ...]:
    """Return up to `limit` events with a number above that one.

    SQLite writes one transaction at a time, and a number is never used again, so the order of the numbers is that of
    the commits.
    """
    rows = connection.execute(_EVENTS_AFTER, (number, limit)).fetchall()
    return tuple(OutboxEntry(str(number), EventRow(*row).event()) for number, *row in rows)


def prune_events(connection: sqlite3.Connection, seconds: int, most: int) -> int:
    """Erase up to `most` events that are earlier than a Unix time; return how many there were."""
    return connection.execute(_PRUNE, (seconds, most)).rowcount


def user_ids(connection: sqlite3.Connection, after: str, limit: int) -> tuple[str, ...]:
    """Return up to `limit` user ids greater than `after`, in the order of their bytes."""
    return tuple(user_id for (user_id,) in connection.execute(_USER_IDS, (after, limit)).fetchall())
