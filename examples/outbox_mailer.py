"""Hand on what happened, to a mailer or an audit log, and lose nothing when it is killed: see docs/outbox.md.

    python examples/outbox_mailer.py app.db mailer.db

hands on all that there is and ends: have it run every minute. What it tells goes to the terminal here; put your mail
server in the place of `tell`.
"""

import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from twofa import EventKind
from twofa.stores import Outbox, OutboxEntry, SQLiteStore

WORTH_A_MAIL = {
    EventKind.AUTHENTICATOR_CONFIRMED,
    EventKind.AUTHENTICATOR_RESET,
    EventKind.AUTHENTICATOR_BLOCKED,
    EventKind.RECOVERY_CODES_ISSUED,
    EventKind.RECOVERY_CODE_USED,
    EventKind.RECOVERY_CODES_BLOCKED,
    EventKind.DISABLED,
}


class Place:
    """Where a reader of the outbox is, in a file of its own, which only one process at a time can open."""

    def __init__(self, path: str | Path) -> None:
        self._file = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            # The lock that the first transaction takes is held until the file is closed, or the process is gone.
            self._file.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._file.execute("PRAGMA synchronous=FULL")
            self._file.execute("BEGIN EXCLUSIVE")
            self._file.execute("CREATE TABLE IF NOT EXISTS place (cursor TEXT NOT NULL)")
            self._file.execute("INSERT INTO place SELECT '' WHERE NOT EXISTS (SELECT 1 FROM place)")
            self._file.execute("COMMIT")
        except sqlite3.Error:
            self._file.close()
            raise

    def cursor(self) -> str:
        """Return the cursor of the last event that was dealt with, or `""`."""
        (cursor,) = self._file.execute("SELECT cursor FROM place").fetchone()
        return str(cursor)

    def keep(self, cursor: str) -> None:
        """Write down that the event with this cursor was dealt with; it is on the disk when this returns."""
        self._file.execute("UPDATE place SET cursor = ?", (cursor,))

    def close(self) -> None:
        """Let another process have its turn."""
        self._file.close()


def hand_on(store: Outbox, place: Place, deal_with: Callable[[OutboxEntry], object]) -> int:
    """Deal with all events that are there, one after the other; return how many there were.

    An exception of `deal_with` ends it, and the same event comes first the next time.
    """
    count = 0
    while page := store.events_after(place.cursor(), limit=100):
        for entry in page:
            deal_with(entry)
            place.keep(entry.cursor)
            count += 1
    return count


def tell(entry: OutboxEntry) -> None:
    """Stand in for a mail server. The cursor makes an id by which a mail that is sent twice is known again."""
    cursor, event = entry
    if event.kind in WORTH_A_MAIL:
        print(f"Message-ID: <{cursor}@twofa.example.com> To: {event.user_id!r} {event.at:%Y-%m-%d %H:%M} {event.kind}")


def main(database: str, place: str) -> None:
    """Hand on what there is."""
    with SQLiteStore(database) as store, closing(Place(place)) as mine:
        hand_on(store, mine, tell)


if __name__ == "__main__":
    main(*sys.argv[1:])
