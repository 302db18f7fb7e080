"""Stores whose outbox skips or repeats events, or prunes the wrong ones."""

from __future__ import annotations

from typing import Any

from broken_stores.shelf import Shelf, pause
from twofa.stores.trail import number_of, seconds_of


class IsNoOutbox(Shelf):
    """Lacks the ability."""

    events_after: Any = None


class HandsOnNothing(Shelf):
    """Has the method of an outbox, and no order."""

    def events_after(self, cursor="", limit=100):
        return super().events_after(cursor, limit) and []


class HandsOnOneUser(Shelf):
    """Hands on the events of the first user alone."""

    def events_after(self, cursor="", limit=100):
        entries = super().events_after(cursor, limit)
        return [entry for entry in entries if entry.event.user_id == entries[0].event.user_id]


class SkipsAfterAPage(Shelf):
    """Counts from the cursor on instead of after it."""

    def events_after(self, cursor="", limit=100):
        return super().events_after(str(number_of(cursor) + 1) if cursor else "", limit)


class HandsOnAgain(Shelf):
    """Begins again when it has come to the end."""

    def events_after(self, cursor="", limit=100):
        return super().events_after(cursor, limit) or super().events_after("", limit)


class ReusesNumbers(Shelf):
    """Numbers events by how many there are."""

    def tell(self, key, change):
        self.data.last = max((number for number, _, _ in self.data.trail), default=0)
        super().tell(key, change)


class TakesAnyCursor(Shelf):
    """Reads what is no cursor as the beginning."""

    def events_after(self, cursor="", limit=100):
        try:
            return super().events_after(cursor, limit)
        except ValueError:
            return super().events_after("", limit)


class PrunesTheNewest(Shelf):
    """Erases the events at the instant too."""

    def prune_events(self, before):
        return self.drop(lambda event: event.at.timestamp() <= seconds_of(before))


class PrunesInLocalTime(Shelf):
    """Takes a time without its zone."""

    def prune_events(self, before):
        return self.drop(lambda event: event.at.replace(tzinfo=None) < before.replace(tzinfo=None))


class NumbersBeforeItCommits(Shelf):
    """Draws the numbers of events, and shows them later: a serial column beside a reader that keeps the last one seen."""

    def tell(self, key, change):
        self.drawn = []
        for event in change.events:
            self.data.last += 1
            self.drawn.append((self.data.last, key, event))

    def swap(self, user_id, change):
        with self.data.lock:
            self.drawn = []
            won = super().swap(user_id, change)
            drawn = self.drawn
        for _ in drawn:  # each insert takes a while, and then all of them are committed together
            pause()
        with self.data.lock:
            self.data.trail += drawn
        return won


class TellsOthersOfWhatWasLost(Shelf):
    """Keeps the events of a lost swap out of the trail, but not out of the outbox."""

    def swap(self, user_id, change):
        won = super().swap(user_id, change)
        if not won:
            self.tell("", change)
        return won


class CachesNumbers(Shelf):
    """Takes twenty numbers at a time for each connection, as an identity column with a cache does."""

    def __init__(self, data=None) -> None:
        super().__init__(data)
        self.cached: list[int] = []

    def tell(self, key, change):
        for event in change.events:
            if not self.cached:
                self.cached = list(range(self.data.last + 1, self.data.last + 21))
                self.data.last += 20
            self.data.trail.append((self.cached.pop(0), key, event))


class PrunesAThousand(Shelf):
    """Erases one batch, and leaves the rest to the next call."""

    def prune_events(self, before):
        left = iter(range(1000))
        return self.drop(lambda event: event.at.timestamp() < seconds_of(before) and next(left, None) is not None)
