"""Stores that let a swap win which must not, or lose which must win."""

from __future__ import annotations

from contextlib import nullcontext

from broken_stores.shelf import Shelf, pause
from twofa.stores import Change, MemoryStore, Stored


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


class KeepsVersionsIn64Bits(Shelf):
    """Has a column of eight bytes for the version, in a database that takes the largest number for what is too large."""

    def put(self, key, change):
        new = change.new
        super().put(key, change if new is None else change._replace(new=Stored(self.kept(new.version), new.document)))

    def fits(self, user_id, change):
        expected = change.expected
        return super().fits(user_id, change if expected is None else change._replace(expected=self.kept(expected)))

    def kept(self, version: str) -> str:
        return f"{min(int(version, 16), 2**63 - 1):032x}"


class ComparesVersions(Shelf):
    """Keeps versions as they are, and compares them in a way of its own."""

    def compared(self, version: str) -> object:
        raise NotImplementedError

    def fits(self, user_id, change):
        held = self.data.records.get(user_id)
        if held is None or change.expected is None:
            return super().fits(user_id, change)
        return self.compared(held.version) == self.compared(change.expected)


class ComparesHalfAVersion(ComparesVersions):
    """Has an index on the first 16 characters, and believes it."""

    def compared(self, version):
        return version[:16]


class ComparesNumbers(ComparesVersions):
    """Compares what looks like a number as a number, as a column of numeric affinity does."""

    def compared(self, version):
        try:
            return float(version)
        except ValueError:
            return version


class ForgetsTheLock(Shelf):
    """Reads a dictionary and writes it a few bytecodes later: threads seldom switch in between, but they do."""

    def swap(self, user_id, change):
        if not self.fits(user_id, change):
            return False
        self.put(user_id, change)
        self.tell(user_id, change)
        return True


class MemoryStoreWithoutItsLock(MemoryStore):
    """The store that comes with the library, if someone took its lock away."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        super().__init__()
        self.__dict__ |= vars(store) if store else {"_lock": nullcontext()}

    def peer(self):
        return self
