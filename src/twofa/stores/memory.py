"""`MemoryStore`: everything in one process's memory, gone with it. For tests and demonstrations."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from typing_extensions import override

from twofa.stores.protocol import Store

if TYPE_CHECKING:
    from twofa.events import Event
    from twofa.stores.protocol import Change, Stored


class MemoryStore(Store):
    """A store that forgets: one process only, never for production. Keeps a trail, lists its users."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, Stored] = {}
        self._events: dict[str, list[Event]] = {}

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
                self._events.pop(user_id, None)
            else:
                self._records[user_id] = change.new
            if change.events:
                self._events.setdefault(user_id, []).extend(change.events)
            return True

    def events(self, user_id: str) -> tuple[Event, ...]:
        """Return the user's events, oldest first."""
        with self._lock:
            return tuple(self._events.get(user_id, ()))

    def user_ids(self, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return up to `limit` user ids greater than `after`, in the order of their code points."""
        with self._lock:
            return tuple(sorted(user_id for user_id in self._records if user_id > after)[:limit])

    def __repr__(self) -> str:
        return "MemoryStore()"
