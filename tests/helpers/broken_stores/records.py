"""Stores that do not keep what was put, or show something else."""

from __future__ import annotations

import os
import threading
import time
from random import Random

from broken_stores.shelf import Shelf, pause
from twofa.stores import Stored


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


class LosesOneUpdateIn200(Shelf):
    """Says that it has written, and has not, once in 200 times."""

    def __init__(self, data=None) -> None:
        super().__init__(data)
        self.data.random = getattr(self.data, "random", Random(13))

    def put(self, key, change):
        if change.expected is None or self.data.random.randrange(200):
            super().put(key, change)


class ExpiresRecords(Shelf):
    """Gives each record thirty days, as a cache does."""

    def put(self, key, change):
        super().put(key, change)
        self.data.expiry = {**getattr(self.data, "expiry", {}), key: time.time() + 30 * 86_400}

    def load(self, user_id):
        return super().load(user_id) if getattr(self.data, "expiry", {}).get(user_id, 0) > time.time() else None


class ExpiresInTheServer(Shelf):
    """Has the database forget each record after thirty days, by a clock that no test can move."""

    def let_years_pass(self) -> None:
        raise AssertionError("each record has an expiry of thirty days")


class LeaksConnections(Shelf):
    """Opens a connection for each swap, and returns before closing it where the swap has lost."""

    def swap(self, user_id, change):
        connection = os.open(os.devnull, os.O_RDONLY)
        if not super().swap(user_id, change):
            return False
        os.close(connection)
        return True
