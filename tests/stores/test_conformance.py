"""The stores that come with the library and need no server keep every law of the kit."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from misled import Misled, watch

from twofa.stores import MemoryStore, SQLiteStore, ThreadedStore
from twofa.testing import (
    AsyncFailureConformance,
    AsyncListingConformance,
    AsyncOutboxConformance,
    AsyncProcessConformance,
    AsyncStatedAbsenceConformance,
    AsyncStoreMachine,
    FailureConformance,
    HostTransactionConformance,
    ListingConformance,
    OutboxConformance,
    ProcessConformance,
    StatedAbsenceConformance,
    StoreMachine,
)

if TYPE_CHECKING:
    from pathlib import Path


class TestMemoryStore(OutboxConformance, ListingConformance):
    """`MemoryStore` keeps the laws."""

    def make_store(self):
        return MemoryStore()

    def make_peer(self, store):
        return store


class TestSQLiteStoreInMemory(OutboxConformance, ListingConformance):
    """`SQLiteStore` keeps the laws in memory."""

    def make_store(self):
        return SQLiteStore(":memory:")

    def make_peer(self, store):
        return store


class TestSQLiteStore(
    OutboxConformance,
    ListingConformance,
    ProcessConformance,
    HostTransactionConformance,
    FailureConformance,
    StatedAbsenceConformance,
):
    """`SQLiteStore` keeps the laws in a file."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = tmp_path / "app.db"
        watch(monkeypatch)

    def lose_answers(self, store):
        Misled.lost = True

    def swap_answers(self, store, user_id):
        Misled.about = user_id

    def make_store(self):
        return SQLiteStore(self.path)

    def make_peer(self, store):
        return SQLiteStore(store.path)

    def make_opener(self, store):
        return partial(SQLiteStore, store.path)

    @contextmanager
    def host_transaction(self, store):
        with closing(sqlite3.connect(store.path)) as connection:
            connection.execute("BEGIN")
            assert connection.execute("SELECT count(*) FROM twofa_record").fetchone()
            yield
            connection.execute("ROLLBACK")

    def cut_off(self, store):
        drop_tables(store.path)


class TestThreadedStore(
    AsyncOutboxConformance,
    AsyncListingConformance,
    AsyncProcessConformance,
    AsyncFailureConformance,
    AsyncStatedAbsenceConformance,
):
    """`ThreadedStore` keeps the laws over a store that keeps them."""

    def lose_answers(self, store):
        async def forgetful(function, *arguments):
            await asyncio.to_thread(function, *arguments)

        store._run_blocking = forgetful

    def swap_answers(self, store, user_id):
        async def confused(function, _, *arguments):
            return await asyncio.to_thread(function, user_id, *arguments)

        store._run_blocking = confused

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path):
        self.path = tmp_path / "app.db"
        self.blocking: list[SQLiteStore] = []
        yield
        for store in self.blocking:
            store.close()

    def make_store(self):
        self.blocking.append(SQLiteStore(self.path))
        return ThreadedStore(self.blocking[-1])

    def make_peer(self, store):
        return self.make_store()

    def make_opener(self, store):
        return partial(open_threaded, str(self.path))

    async def cut_off(self, store):
        drop_tables(str(self.path))


class MemoryMachine(StoreMachine):
    """`MemoryStore` beside the model."""

    def make_store(self):
        return MemoryStore()

    def make_peer(self, store):
        return store


class SQLiteMachine(StoreMachine):
    """`SQLiteStore` beside the model."""

    def make_store(self):
        return SQLiteStore(":memory:")

    def make_peer(self, store):
        return store


class ThreadedMachine(AsyncStoreMachine):
    """`ThreadedStore` beside the model."""

    def make_store(self):
        return ThreadedStore(MemoryStore())

    async def make_peer(self, store):
        return store


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=40)
TestSQLiteMachine = SQLiteMachine.TestCase
TestSQLiteMachine.settings = settings(max_examples=20)
TestThreadedMachine = ThreadedMachine.TestCase
TestThreadedMachine.settings = settings(max_examples=5)


def open_threaded(path: str) -> ThreadedStore:
    """Open a file, in another process."""
    return ThreadedStore(SQLiteStore(path))


def drop_tables(path: str) -> None:
    """Take a store's tables away behind its back."""
    with closing(sqlite3.connect(path)) as connection:
        for table in ("twofa_record", "twofa_event"):
            connection.execute(f"DROP TABLE {table}")
