"""Stores that are right for one caller, and wrong for several processes, tasks or a host's transaction."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from contextlib import asynccontextmanager, closing, contextmanager
from typing import TYPE_CHECKING, Any

from broken_stores.shelf import AsyncShelf, Shelf
from twofa.stores import SQLiteStore, Stored

if TYPE_CHECKING:
    from twofa.stores import Change


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


class SavesWhenItIsClosed:
    """A file that is written when the process ends in good order, and not before."""

    def __init__(self, path: str) -> None:
        self.store = SQLiteStore(path)
        self.later: dict[str, Stored | None] = {}

    def load(self, user_id: str) -> Stored | None:
        return self.later[user_id] if user_id in self.later else self.store.load(user_id)

    def swap(self, user_id: str, change: Change) -> bool:
        held = self.load(user_id)
        if (held.version if held else None) != change.expected:
            return False
        self.later[user_id] = change.new
        return True

    def close(self) -> None:
        self.store.close()
