"""How the shipped stores write events down, count where a reader of the outbox is, and how long it waits."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from math import ceil
from typing import NamedTuple

from twofa._time import utc
from twofa.events import Event, read_event

_LARGEST_NUMBER = 2**63 - 1
"""The largest number that a database counts to."""

PATIENCE = 1.0
"""Seconds that a reader of the outbox waits for the swaps that are under way, before it hands nothing on for now."""
PAUSE = 0.005
"""Seconds between two looks at them."""


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
        """Return the event; one that only a newer version of the library knows is an `EventKind.UNKNOWN`."""
        return read_event(self.kind, self.user_id, utc(self.at), self.source, json.loads(self.detail))


def number_of(cursor: str) -> int:
    """Return the number of the event that a cursor made of decimal digits stands after.

    Raises `ValueError` for any other text, and `TypeError` for what is no text.
    """
    check_cursor(cursor)
    if cursor == "":
        return 0
    # The length before the number: of a long text, reading it is slow.
    short = cursor.isascii() and cursor.isdecimal() and len(cursor) <= len(str(_LARGEST_NUMBER))
    if not short or int(cursor) > _LARGEST_NUMBER:
        raise bad_cursor(cursor)
    return int(cursor)


def check_cursor(cursor: object) -> None:
    """Raise `TypeError` for a cursor that is no text; `None` is a likely mistake on the first run."""
    if not isinstance(cursor, str):
        hint = ", and the first run begins with ''" if cursor is None else ""
        raise TypeError(f"a cursor is str{hint}, not {type(cursor).__name__}")


def bad_cursor(cursor: str) -> ValueError:
    """Return the refusal of a cursor that a store did not make."""
    return ValueError(f"{cursor[:80]!r} is no cursor of this store: pass one that events_after() gave, or ''")


def seconds_of(before: datetime) -> int:
    """Return the first whole Unix second that is not earlier than `before`.

    Raises `ValueError` for a time without a time zone, and `TypeError` for anything but a datetime.
    """
    _check_moment(before)
    if before.utcoffset() is None:
        raise ValueError("before must say its time zone: datetime.now(UTC) - timedelta(days=90), for instance")
    return ceil(before.timestamp())


def _check_moment(before: object) -> None:
    if not isinstance(before, datetime):
        hint = ": datetime.now(UTC) minus it, for what is older" if isinstance(before, timedelta) else ""
        raise TypeError(f"before must be a datetime with a time zone, not {type(before).__name__}{hint}")


class Deadline:
    """How long a reader of the outbox waits."""

    def __init__(self) -> None:
        self._end = time.monotonic() + PATIENCE

    @property
    def is_over(self) -> bool:
        """Whether it has waited long enough."""
        return time.monotonic() >= self._end


def check_cache(numbers: int | None) -> None:
    """Raise `RuntimeError` if the events' identity column in PostgreSQL draws more than one number at a time."""
    if numbers is not None and numbers != 1:
        raise RuntimeError(
            f"the identity column of twofa_event has CACHE {numbers}, so numbers are used out of order, and readers "
            "of the outbox would miss events: ALTER TABLE twofa_event ALTER COLUMN id SET CACHE 1, then restart "
            "every process that writes, since each keeps the numbers that it has drawn"
        )
