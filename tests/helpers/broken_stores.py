"""Stores that are wrong in one way each, as stores in the field are. The kit must find every one of them.

All of them share one right store, `Shelf`, and are named after their fault.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
import unicodedata
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from twofa import Event, EventKind
from twofa.stores import Change, OutboxEntry, SQLiteStore, Stored
from twofa.stores.trail import number_of, seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable


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
        self.down = False


class Shelf:
    """A right store in memory, cut into the parts that the wrong ones get wrong."""

    def __init__(self, data: Data | None = None) -> None:
        self.data = data or Data()

    def peer(self) -> Shelf:
        """Return a second handle on the same data."""
        return type(self)(self.data)

    def load(self, user_id: str) -> Stored | None:
        self.reach()
        return self.data.records.get(self.key(user_id))

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


# --- the version ---------------------------------------------------------------------------------------------------


class ChecksThenSets(Shelf):
    """Looks first and writes afterwards, as `get` and `set` do without a transaction."""

    def swap(self, user_id, change):
        if not self.fits(user_id, change):
            return False
        pause()
        with self.data.lock:
            self.put(user_id, change)
        return True


class ChecksThenCreates(Shelf):
    """Looks first, and inserts afterwards; what it replaces or deletes is guarded."""

    def swap(self, user_id, change):
        if change.expected is not None or change.new is None:
            return super().swap(user_id, change)
        if not self.fits(user_id, change):
            return False
        pause()
        self.put(user_id, change)
        return True


class ChecksThenDeletes(Shelf):
    """Looks first, and deletes afterwards."""

    def swap(self, user_id, change):
        if change.new is not None:
            return super().swap(user_id, change)
        if not self.fits(user_id, change):
            return False
        pause()
        self.put(user_id, change)
        return True


class IgnoresTheVersion(Shelf):
    """Replaces whatever is there."""

    def fits(self, user_id, change):
        return (change.expected is None) == (user_id not in self.data.records)


class ComparesDocuments(Shelf):
    """Takes a document that has returned for a version that has."""

    def __init__(self, data=None) -> None:
        super().__init__(data)
        self.seen = {}

    def put(self, key, change):
        super().put(key, change)
        if change.new is not None:
            self.seen[change.new.version] = change.new.document

    def fits(self, user_id, change):
        held = self.data.records.get(user_id)
        if held is None or change.expected is None:
            return super().fits(user_id, change)
        return held.document == self.seen.get(change.expected)


class CountsChangedRows(Shelf):
    """Leaves a record alone whose document is the same, and so does not spend its version."""

    def put(self, key, change):
        held = self.data.records.get(key)
        if held is None or change.new is None or held.document != change.new.document:
            super().put(key, change)


class DeletesWhateverIsThere(Shelf):
    """Guards an update, but not a delete."""

    def fits(self, user_id, change):
        return super().fits(user_id, change) or (change.new is None and change.expected is not None)


class UpdatesWhatIsNotThere(Shelf):
    """Puts a record where the one to be replaced is gone."""

    def fits(self, user_id, change):
        return super().fits(user_id, change) or user_id not in self.data.records


class Upserts(Shelf):
    """Creates a record over the one that is there."""

    def fits(self, user_id, change):
        return super().fits(user_id, change) or (change.expected is None and change.new is not None)


class RaisesOnADuplicate(Shelf):
    """Lets the database's complaint through where a creator has lost."""

    def swap(self, user_id, change):
        if change.expected is None and change.new is not None and user_id in self.data.records:
            raise KeyError("duplicate key")
        return super().swap(user_id, change)


class KeepsNobodyAbsent(Shelf):
    """Deletes a record that was to be absent."""

    def fits(self, user_id, change):
        return super().fits(user_id, change) or change == Change(None, None)


class RevivesOldVersions(Shelf):
    """Keeps the version of a record that was deleted, and gives it to the next one."""

    def __init__(self, data=None) -> None:
        super().__init__(data)
        self.graves = {}

    def put(self, key, change):
        held = self.data.records.get(key)
        if change.new is None and held is not None:
            self.graves[key] = held.version
        super().put(key, change)

    def fits(self, user_id, change):
        return super().fits(user_id, change) or change.expected == self.graves.get(user_id, "")


class SaysHowMany(Shelf):
    """Returns the number of rows."""

    def swap(self, user_id, change):
        return int(super().swap(user_id, change))


class SaysNothing(Shelf):
    """Returns nothing where it has won."""

    def swap(self, user_id, change):
        return super().swap(user_id, change) and None


# --- what is written -----------------------------------------------------------------------------------------------


class ForgetsDeletes(Shelf):
    """Says that it has deleted, and has not."""

    def put(self, key, change):
        if change.new is not None:
            super().put(key, change)


class LosesAnUpdate(Shelf):
    """Says that it has written, and has not, now and then."""

    def put(self, key, change):
        if change.expected is None or not (change.new and change.new.document.endswith("7")):
            super().put(key, change)


class TearsAWrite(Shelf):
    """Writes the version, and then the document."""

    def put(self, key, change):
        if change.new is not None and key in self.data.records:
            self.data.records[key] = Stored(change.new.version, self.data.records[key].document)
            pause()
        super().put(key, change)


class CachesLoads(Shelf):
    """Remembers what it has loaded, for each handle."""

    def __init__(self, data=None) -> None:
        super().__init__(data)
        self.cache = {}

    def load(self, user_id):
        if user_id not in self.cache:
            self.cache[user_id] = super().load(user_id)
        return self.cache[user_id]

    def put(self, key, change):
        super().put(key, change)
        self.cache.pop(key, None)


class ReadsAReplica(Shelf):
    """A second handle reads what was there one swap ago."""

    def __init__(self, data=None) -> None:
        super().__init__(data)
        self.reads_late = data is not None

    def put(self, key, change):
        self.data.before = dict(self.data.records)
        super().put(key, change)

    def load(self, user_id):
        return getattr(self.data, "before", {}).get(user_id) if self.reads_late else super().load(user_id)


class LocksPerHandle(Shelf):
    """Keeps other threads out, but not those of another handle."""

    def __init__(self, data=None) -> None:
        super().__init__(data)
        self.own = threading.Lock()

    def swap(self, user_id, change):
        with self.own:
            if not self.fits(user_id, change):
                return False
            pause()
            self.put(user_id, change)
            return True


class GivesUpUnderLoad(Shelf):
    """Takes one caller at a time, and tells the others that they have lost."""

    def __init__(self, data=None) -> None:
        super().__init__(data)
        self.data.busy = getattr(self.data, "busy", threading.Lock())

    def swap(self, user_id, change):
        if not self.data.busy.acquire(blocking=False):
            return False
        try:
            pause()
            return super().swap(user_id, change)
        finally:
            self.data.busy.release()


class LoadsATuple(Shelf):
    """Returns the row as the driver gave it."""

    def load(self, user_id):
        held = super().load(user_id)
        return held and tuple(held)


class InventsARecord(Shelf):
    """Gives an unknown user an empty record."""

    def load(self, user_id):
        return super().load(user_id) or Stored("0" * 32, "")


class KeepsDocuments(Shelf):
    """Keeps documents as the database pleases."""

    def kept(self, document: str) -> str:
        raise NotImplementedError

    def put(self, key, change):
        new = change.new
        super().put(key, change if new is None else change._replace(new=Stored(new.version, self.kept(new.document))))


class StripsDocuments(KeepsDocuments):
    """A fixed-width column loses the spaces at the end."""

    def kept(self, document):
        return document.rstrip(" ")


class CutsDocuments(KeepsDocuments):
    """A column of 64 kB cuts what is longer."""

    def kept(self, document):
        return document[:65_535]


class TurnsLineBreaks(KeepsDocuments):
    """A text file keeps one kind of line break."""

    def kept(self, document):
        return document.replace("\r\n", "\n").replace("\r", "\n")


class ReadsNumbers(KeepsDocuments):
    """A column of numeric affinity reads 007 as 7."""

    def kept(self, document):
        return str(int(document)) if document.isdecimal() else document


class TakesNothingForNull(Shelf):
    """Reads the empty document as no record."""

    def load(self, user_id):
        held = super().load(user_id)
        return held if held and held.document else None


class SpoilsControlCharacters(KeepsDocuments):
    """Drops what does not print."""

    def kept(self, document):
        return "".join(each for each in document if each >= " " or each in "\r\n\t")


# --- user ids ------------------------------------------------------------------------------------------------------


class FoldsCase(Shelf):
    """MariaDB's default collation."""

    def key(self, user_id):
        return user_id.casefold()


class TrimsIds(Shelf):
    """Trailing spaces do not count in a PAD SPACE collation."""

    def key(self, user_id):
        return user_id.rstrip(" ")


class StripsAccents(Shelf):
    """An accent-insensitive collation."""

    def key(self, user_id):
        decomposed = unicodedata.normalize("NFD", user_id)
        return "".join(each for each in decomposed if not unicodedata.combining(each))


class NormalizesIds(Shelf):
    """Composes what was written in two characters."""

    def key(self, user_id):
        return unicodedata.normalize("NFC", user_id)


class CutsIds(Shelf):
    """A column that is too short."""

    def key(self, user_id):
        return user_id[:254]


class CutsBytesOfIds(Shelf):
    """A column that counts bytes."""

    def key(self, user_id):
        return user_id.encode()[:255].decode(errors="ignore")


class ReadsIdsAsNumbers(Shelf):
    """An id column of integers, in a database that converts."""

    def key(self, user_id):
        try:
            return str(float(user_id))
        except ValueError:
            return user_id


class MatchesPatterns(Shelf):
    """LIKE instead of =."""

    def load(self, user_id):
        for each, held in self.data.records.items():
            if each == user_id or (user_id.endswith("%") and each.startswith(user_id[:-1])):
                return held
        return None


# --- failures ------------------------------------------------------------------------------------------------------


class SaysYesOnFailure(Shelf):
    """Returns True where the database failed."""

    def swap(self, user_id, change):
        try:
            return super().swap(user_id, change)
        except ConnectionError:
            return True


class SwallowsErrors(Shelf):
    """Returns False where the database failed."""

    def swap(self, user_id, change):
        try:
            return super().swap(user_id, change)
        except ConnectionError:
            return False


class LoadsNothingOnFailure(Shelf):
    """Says that there is no record where the database failed: no second factor here."""

    def load(self, user_id):
        try:
            return super().load(user_id)
        except ConnectionError:
            return None


# --- the trail -----------------------------------------------------------------------------------------------------


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


# --- the outbox ----------------------------------------------------------------------------------------------------


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
    """Draws the number of an event, and shows it later: a serial column beside a reader that keeps the last one seen."""

    def tell(self, key, change):
        numbered = []
        for event in change.events:
            self.data.last += 1
            numbered.append((self.data.last, key, event))
        self.late = numbered

    def swap(self, user_id, change):
        self.late = []
        with self.data.lock:
            won = super().swap(user_id, change)
            late = self.late
        for _ in range(200):
            if late and self.data.read > late[0][0]:
                break
            pause()
        with self.data.lock:
            self.data.trail = sorted(self.data.trail + late, key=lambda entry: entry[0])
        return won

    def events_after(self, cursor="", limit=100):
        entries = super().events_after(cursor, limit)
        self.data.read = max([self.data.read, *(number_of(entry.cursor) for entry in entries)])
        return entries


class TellsOthersOfWhatWasLost(Shelf):
    """Keeps the events of a lost swap out of the trail, but not out of the outbox."""

    def swap(self, user_id, change):
        won = super().swap(user_id, change)
        if not won:
            self.tell("", change)
        return won


# --- the list ------------------------------------------------------------------------------------------------------


class ListsNobody(Shelf):
    """Has no list."""

    def user_ids(self, after="", limit=100):
        return []


class ListsByCase(Shelf):
    """Lists in the order of a collation, and goes on in that of bytes."""

    def user_ids(self, after="", limit=100):
        listed = sorted((user_id for user_id in self.data.records if user_id > after), key=str.casefold)
        return listed[:limit]


class ListsAll(Shelf):
    """Knows no pages."""

    def user_ids(self, after="", limit=100):
        return super().user_ids(after, 10_000)


class ListsFifty(Shelf):
    """Has a page length of its own."""

    def user_ids(self, after="", limit=50):
        return super().user_ids(after, limit)


class GoesOnFromAUser(Shelf):
    """Begins again where the user to go on from is gone."""

    def user_ids(self, after="", limit=100):
        return super().user_ids(after if after in self.data.records else "", limit)


class ListsWhoeverIsAsked(Shelf):
    """Lists a user from the first attempt on."""

    def swap(self, user_id, change):
        won = super().swap(user_id, change)
        self.data.asked = {*getattr(self.data, "asked", ()), user_id}
        return won

    def user_ids(self, after="", limit=100):
        known = {*self.data.records, *getattr(self.data, "asked", ())}
        return sorted(user_id for user_id in known if user_id > after)[:limit]


class DoesNotList(Shelf):
    """Lacks the ability."""

    user_ids: Any = None


class IsNoTrail(Shelf):
    """Lacks the ability."""

    events: Any = None


class IsNoOutbox(Shelf):
    """Lacks the ability."""

    events_after: Any = None


# --- other processes, the host's transaction, coroutines -----------------------------------------------------------


class LocksPerProcess:
    """A file, written without asking what another process has written meanwhile."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.store = SQLiteStore(path)
        self.lock = threading.Lock()

    def load(self, user_id: str) -> Stored | None:
        return self.store.load(user_id)

    def swap(self, user_id: str, change: Change) -> bool:
        with self.lock:
            held = self.store.load(user_id)
            if (held.version if held else None) != change.expected or change.new is None:
                return False
            os.sched_yield()
            with closing(sqlite3.connect(self.path, timeout=60)) as connection, connection:
                connection.execute("INSERT OR REPLACE INTO twofa_record VALUES (?, ?, ?)", (user_id, *change.new))
            return True

    def close(self) -> None:
        self.store.close()


class JoinsTheCallersTransaction(Shelf):
    """Writes on the connection that the host has open in this thread."""

    @contextmanager
    def host_transaction(self) -> Any:
        """Undo at the end what was written in between."""
        records, trail = dict(self.data.records), list(self.data.trail)
        yield
        self.data.records, self.data.trail = records, trail


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


class AsyncJoinsTheCallersTransaction(AsyncShelf):
    """Writes on the connection that the host has open in this task."""

    @asynccontextmanager
    async def host_transaction(self) -> Any:
        """Undo at the end what was written in between."""
        records = dict(self.shelf.data.records)
        yield
        self.shelf.data.records = records


class TearsWhenCancelled(AsyncShelf):
    """Deletes, takes a turn, and inserts."""

    async def swap(self, user_id, change):
        data = self.shelf.data
        if not self.shelf.fits(user_id, change):
            return False
        data.records[user_id] = Stored(change.expected or "", "")
        await asyncio.sleep(0)
        self.shelf.put(user_id, change)
        return True


class ChecksThenAwaits(AsyncShelf):
    """Looks, takes a turn, and writes."""

    async def swap(self, user_id, change):
        if not self.shelf.fits(user_id, change):
            return False
        await asyncio.sleep(0)
        self.shelf.put(user_id, change)
        return True
