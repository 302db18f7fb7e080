"""Stores whose trail lacks, invents or changes events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from broken_stores.shelf import Shelf, pause
from twofa import Event, EventKind


class IsNoTrail(Shelf):
    """Lacks the ability."""

    events: Any = None


class TellsWhatWasLost(Shelf):
    """Writes the events first, outside the transaction of the swap."""

    def swap(self, user_id, change):
        self.tell(user_id, change)
        return super().swap(user_id, change._replace(events=()))


class TellsAfterwards(Shelf):
    """Writes the events in a transaction after that of the record."""

    def swap(self, user_id, change):
        won = super().swap(user_id, change._replace(events=()))
        pause()
        if won:
            with self.data.lock:
                self.tell(user_id, change)
        return won


class KeepsTheTrailOfTheDeleted(Shelf):
    """Deletes the record alone."""

    def put(self, key, change):
        if change.new is None:
            self.data.records.pop(key, None)
        else:
            super().put(key, change)


class ErasesTheLastEvent(Shelf):
    """Erases the trail after it has written the event of the erasing."""

    def tell(self, key, change):
        super().tell(key, change)
        if change.new is None:
            self.data.trail = [entry for entry in self.data.trail if entry[1] != key]


class KeepsNoTrail(Shelf):
    """Has the methods of a trail, and no table."""

    def tell(self, key, change):
        pass


class ChangesEvents(Shelf):
    """Keeps events as the database pleases."""

    def kept(self, event: Event) -> Event:
        raise NotImplementedError

    def tell(self, key, change):
        super().tell(key, change._replace(events=tuple(self.kept(event) for event in change.events)))


class KeepsText(ChangesEvents):
    """Keeps the values of the detail as text."""

    def kept(self, event):
        detail = {name: str(value) for name, value in event.detail.items()}
        return Event(event.kind, event.user_id, event.at, source=event.source, detail=detail)


class ForgetsTheSource(ChangesEvents):
    """Reads an empty source as none."""

    def kept(self, event):
        return Event(event.kind, event.user_id, event.at, source=event.source or None, detail=event.detail)


class KnowsFewKinds(ChangesEvents):
    """Has an enumeration that is older than the library."""

    def kept(self, event):
        kind = EventKind.DISABLED if event.kind is EventKind.FORGOTTEN else event.kind
        return Event(kind, event.user_id, event.at, source=event.source, detail=event.detail)


class CountsIn32Bits(ChangesEvents):
    """Ends in 2038."""

    def kept(self, event):
        at = datetime.fromtimestamp(int(event.at.timestamp()) % 2**31, UTC)
        return Event(event.kind, event.user_id, at, source=event.source, detail=event.detail)


class ReturnsNaiveTimes(ChangesEvents):
    """Loses the time zone."""

    def kept(self, event):
        at = event.at.replace(tzinfo=None)
        return Event(event.kind, event.user_id, at, source=event.source, detail=event.detail)


class SortsByTime(Shelf):
    """Orders the trail by the time of the events instead of their commit."""

    def events(self, user_id):
        return sorted(super().events(user_id), key=lambda event: event.at)


class CachesTheTrail(Shelf):
    """Reads the trail once for each handle."""

    def events(self, user_id):
        self.cache = getattr(self, "cache", {})
        return self.cache.setdefault(user_id, super().events(user_id))


class SharesTrails(Shelf):
    """Looks trails up without regard to case."""

    def events(self, user_id):
        return [event for _, whose, event in self.data.trail if whose.lower() == user_id.lower()]


class TellsOfEveryAttempt(Shelf):
    """Writes the events of racing swaps that lost."""

    def swap(self, user_id, change):
        fitted = self.fits(user_id, change)
        pause()
        won = super().swap(user_id, change)
        if fitted and not won:
            self.tell(user_id, change)
        return won


class CutsTheSource(ChangesEvents):
    """A column that is sixteen characters too short."""

    def kept(self, event):
        source = event.source and event.source[:240]
        return Event(event.kind, event.user_id, event.at, source=source, detail=event.detail)
