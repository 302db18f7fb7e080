"""`MemoryStore`: everything in one process's memory, gone with it. For tests and demonstrations."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from typing_extensions import override

from twofa.stores import findings
from twofa.stores.protocol import OutboxEntry, Store
from twofa.stores.trail import number_of, seconds_of

if TYPE_CHECKING:
    from datetime import datetime

    from twofa.events import Event
    from twofa.stores.protocol import Change, Finding, Stored


class MemoryStore(Store):
    """A store that forgets: one process only, never for production.

    Keeps a trail that is an outbox too, lists its users.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, Stored] = {}
        self._trail: list[tuple[int, str, Event]] = []
        self._last = 0

    @override
    def load(self, user_id: str) -> Stored | None:
        return self._records.get(user_id)

    @override
    def swap(self, user_id: str, change: Change) -> bool:
        with self._lock:
            held = self._records.get(user_id)
            if (None if held is None else held.version) != change.expected:
                return False
            if change.new is None:
                self._records.pop(user_id, None)
                self._trail = [entry for entry in self._trail if entry[1] != user_id]
            else:
                self._records[user_id] = change.new
            for event in change.events:
                self._last += 1
                self._trail.append((self._last, user_id, event))
            return True

    def events(self, user_id: str) -> tuple[Event, ...]:
        """Return the user's events, oldest first."""
        with self._lock:
            return tuple(event for _, whose, event in self._trail if whose == user_id)

    def events_after(self, cursor: str = "", limit: int = 100) -> tuple[OutboxEntry, ...]:
        """Return up to `limit` events of all users that stand after `cursor`, in the order of their swaps.

        Raises `ValueError` for a cursor that no `events_after` gave.
        """
        after = number_of(cursor)
        with self._lock:
            later = [entry for entry in self._trail if entry[0] > after]
        return tuple(OutboxEntry(str(number), event) for number, _, event in later[:limit])

    def prune_events(self, before: datetime) -> int:
        """Erase every event earlier than `before` (an aware datetime), delivered or not; return how many there were.

        Raises `ValueError` for a datetime without a time zone.
        """
        seconds = seconds_of(before)
        with self._lock:
            there = len(self._trail)
            self._trail = [entry for entry in self._trail if entry[2].at.timestamp() >= seconds]
            return there - len(self._trail)

    def user_ids(self, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return up to `limit` user ids greater than `after`, in the order of their code points."""
        with self._lock:
            return tuple(sorted(user_id for user_id in self._records if user_id > after)[:limit])

    def diagnose(self, now: float) -> tuple[Finding, ...]:  # noqa: ARG002  # there is no database's clock
        """Say that this is no store for production, for `python -m twofa check`."""
        return (findings.in_memory(),)

    def __repr__(self) -> str:
        return "MemoryStore()"
