"""The SQLAlchemy stores keep the laws on every database and driver that they are said to work with."""

from __future__ import annotations

import asyncio
import threading

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from mariadb import mariadb  # noqa: F401  # fixtures
from postgresql import postgresql  # noqa: F401
from test_stores_laws import Awaited, ListingLaws, OutboxLaws
from twofa.stores.sqlalchemy import AsyncSQLAlchemyStore, SQLAlchemyStore


class Blocking(OutboxLaws, ListingLaws):
    """One blocking driver."""

    @pytest.fixture(autouse=True)
    def _engines(self):
        self.engines = []
        yield
        for engine in self.engines:
            engine.dispose()

    def make_store(self):
        self.address = self.new_url()
        store = self.make_peer(None)
        store.create_tables()
        return store

    def make_peer(self, store):
        self.engines.append(create_engine(self.address))
        return SQLAlchemyStore(self.engines[-1])


@pytest.mark.xdist_group("postgresql")
class TestPsycopg(Blocking):
    @pytest.fixture(autouse=True)
    def _server(self, postgresql):
        self.new_url = lambda: postgresql.url(postgresql.new_database(), driver="psycopg")


class Loop:
    """An event loop in a thread of its own: an engine of asyncio belongs to one loop, and the laws to many threads."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def run(self, call):
        return asyncio.run_coroutine_threadsafe(call, self.loop).result(60)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class OnLoop(Awaited):
    """An asynchronous store called like a blocking one, from any thread."""

    def __init__(self, store, loop) -> None:
        super().__init__(store)
        self._loop = loop

    def _run(self, call):
        return self._loop.run(call)

    def create_tables(self) -> None:
        self._run(self._store.create_tables())


class Awaiting(Blocking):
    """One asynchronous driver."""

    @pytest.fixture(autouse=True)
    def _engines(self):
        self.engines, self.loop = [], Loop()
        yield
        for engine in self.engines:
            self.loop.run(engine.dispose())
        self.loop.close()

    def make_peer(self, store):
        self.engines.append(create_async_engine(self.address))
        return OnLoop(AsyncSQLAlchemyStore(self.engines[-1]), self.loop)


@pytest.mark.xdist_group("postgresql")
class TestAsyncPsycopg(Awaiting):
    @pytest.fixture(autouse=True)
    def _server(self, postgresql):
        self.new_url = lambda: postgresql.url(postgresql.new_database(), driver="psycopg")


@pytest.mark.xdist_group("postgresql")
class TestAsyncpg(Awaiting):
    @pytest.fixture(autouse=True)
    def _server(self, postgresql):
        self.new_url = lambda: postgresql.url(postgresql.new_database(), driver="asyncpg")


@pytest.mark.xdist_group("mariadb")
class TestPyMySQL(Blocking):
    @pytest.fixture(autouse=True)
    def _server(self, mariadb):
        self.new_url = lambda: mariadb.url(mariadb.new_database(), driver="pymysql")


@pytest.mark.xdist_group("mariadb")
class TestAiomysql(Awaiting):
    @pytest.fixture(autouse=True)
    def _server(self, mariadb):
        self.new_url = lambda: mariadb.url(mariadb.new_database(), driver="aiomysql")


class TestPysqlite(Blocking):
    @pytest.fixture(autouse=True)
    def _server(self, tmp_path):
        self.new_url = lambda: f"sqlite:///{tmp_path}/app.db"


class TestAiosqlite(Awaiting):
    @pytest.fixture(autouse=True)
    def _server(self, tmp_path):
        self.new_url = lambda: f"sqlite+aiosqlite:///{tmp_path}/app.db"
