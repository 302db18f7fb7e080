"""A right store in memory, cut into the parts that the wrong ones get wrong."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

from twofa.stores import Change, OutboxEntry, Stored
from twofa.stores.trail import number_of, seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from twofa import Event


def pause() -> None:
    """Let the other threads go first: where a right store does one thing, a wrong one does two."""
    for _ in range(5):
        time.sleep(0)


class Data:
    """What the handles of one shelf share."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.records: dict[str, Stored] = {}
        self.trail: list[tuple[int, str, Event]] = []
        self.last = self.read = 0
        self.down = self.silent = False
        self.answers_for: str | None = None
        """Whose record every query is answered with, where a proxy mixes up its clients."""
        self.saved: dict[str, Stored] = {}
        """What is left of the records after a crash."""


class Shelf:
    """A right store in memory, cut into the parts that the wrong ones get wrong."""

    def __init__(self, data: Data | None = None) -> None:
        self.data = data or Data()

    def peer(self) -> Shelf:
        """Return a second handle on the same data."""
        return type(self)(self.data)

    def load(self, user_id: str) -> Stored | None:
        self.reach()
        row = self.row(user_id)
        if row is None or row[0] != user_id:
            raise ConnectionError("this is not the answer to what was asked")
        return row[1]

    def row(self, user_id: str) -> tuple[str, Stored | None] | None:
        """Return what the database answers: one row in any case, with the id that was asked for."""
        about = self.data.answers_for or user_id
        return None if self.data.silent else (about, self.data.records.get(self.key(about)))

    def swap(self, user_id: str, change: Change) -> Any:
        self.reach()
        with self.data.lock:
            if not self.fits(user_id, change):
                return False
            self.put(self.key(user_id), change)
            self.tell(self.key(user_id), change)
            return True

    def key(self, user_id: str) -> str:
        return user_id

    def reach(self) -> None:
        if self.data.down:
            raise ConnectionError("the database is down")

    def fits(self, user_id: str, change: Change) -> bool:
        held = self.data.records.get(self.key(user_id))
        return (None if held is None else held.version) == change.expected

    def put(self, key: str, change: Change) -> None:
        if change.new is None:
            self.data.records.pop(key, None)
            self.data.trail = [entry for entry in self.data.trail if entry[1] != key]
        else:
            self.data.records[key] = change.new
        self.save()

    def save(self) -> None:
        self.data.saved = dict(self.data.records)

    def crash(self) -> None:
        self.data.records = dict(self.data.saved)

    def tell(self, key: str, change: Change) -> None:
        for event in change.events:
            self.data.last += 1
            self.data.trail.append((self.data.last, key, event))

    def events(self, user_id: str) -> list[Event]:
        with self.data.lock:
            return [event for _, whose, event in self.data.trail if whose == self.key(user_id)]

    def events_after(self, cursor: str = "", limit: int = 100) -> list[OutboxEntry]:
        after = number_of(cursor)
        with self.data.lock:
            later = sorted((entry for entry in self.data.trail if entry[0] > after), key=lambda entry: entry[0])
        return [OutboxEntry(str(number), event) for number, _, event in later[:limit]]

    def prune_events(self, before: datetime) -> int:
        return self.drop(lambda event: event.at.timestamp() < seconds_of(before), seconds_of(before))

    def drop(self, old: Callable[[Event], bool], _checked: int = 0) -> int:
        with self.data.lock:
            there = len(self.data.trail)
            self.data.trail = [entry for entry in self.data.trail if not old(entry[2])]
            return there - len(self.data.trail)

    def user_ids(self, after: str = "", limit: int = 100) -> list[str]:
        with self.data.lock:
            return sorted(user_id for user_id in self.data.records if user_id > after)[:limit]


class AsyncShelf:
    """A right asynchronous store: each step takes a turn of the event loop, and is whole."""

    def __init__(self, shelf: Shelf | None = None) -> None:
        self.shelf = shelf or Shelf()

    def peer(self) -> AsyncShelf:
        """Return a second handle on the same data."""
        return type(self)(self.shelf)

    async def aclose(self) -> None:
        self.shelf.data.down = True

    async def load(self, user_id: str) -> Stored | None:
        await asyncio.sleep(0)
        return self.shelf.load(user_id)

    async def swap(self, user_id: str, change: Change) -> bool:
        await asyncio.sleep(0)
        won = self.shelf.swap(user_id, change)
        await asyncio.sleep(0)
        return won
