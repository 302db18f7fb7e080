"""How the shipped stores write events down, and count where a reader of the outbox is."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from math import ceil
from typing import NamedTuple

from twofa.events import Event, EventKind

_LARGEST_NUMBER = 2**63 - 1
"""The largest number that a database counts to."""


class EventRow(NamedTuple):
    """An event as a database keeps it."""

    user_id: str
    at: int
    """Unix seconds."""
    kind: str
    source: str | None
    detail: str
    """A JSON object."""

    @classmethod
    def of(cls, event: Event, user_id: str) -> EventRow:
        """Write an event down, as the event of the user whose record was swapped."""
        detail = json.dumps(dict(event.detail), separators=(",", ":"))
        return cls(user_id, int(event.at.timestamp()), event.kind.value, event.source, detail)

    def event(self) -> Event:
        """Return the event.

        While servers are upgraded one by one, the trail has events of kinds that the older ones do not know. To raise
        would hold up the outbox for all users, and to skip them would lose them: they come as `EventKind.UNKNOWN`, with
        the name of the kind in the detail.
        """
        at = datetime.fromtimestamp(self.at, UTC)
        detail = json.loads(self.detail)
        try:
            kind = EventKind(self.kind)
        except ValueError:
            kind, detail["kind"] = EventKind.UNKNOWN, self.kind
        return Event(kind, self.user_id, at, source=self.source, detail=detail)


def number_of(cursor: str) -> int:
    """Return the number of the event that a cursor made of decimal digits stands after. Raises `ValueError`."""
    if cursor == "":
        return 0
    # The length before the number: of a long text, reading it is slow.
    short = cursor.isascii() and cursor.isdecimal() and len(cursor) <= len(str(_LARGEST_NUMBER))
    if not short or int(cursor) > _LARGEST_NUMBER:
        raise bad_cursor(cursor)
    return int(cursor)


def bad_cursor(cursor: str) -> ValueError:
    """Return the refusal of a cursor that a store did not make."""
    return ValueError(f"{cursor[:80]!r} is no cursor of this store: pass one that events_after() gave, or ''")


def seconds_of(before: datetime) -> int:
    """Return the first whole Unix second that is not earlier than `before`. Raises `ValueError` without a time zone."""
    if before.utcoffset() is None:
        raise ValueError("before must say its time zone: datetime.now(UTC) - timedelta(days=90), for instance")
    return ceil(before.timestamp())
