"""The stores under examples/stores keep every law of the kit, and the page shows them as they are."""

from __future__ import annotations

import atexit
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pymongo
import pytest
from psycopg import sql

from postgresql import server as postgresql
from stores import mongodb_store, psycopg_store
from test_stores_laws import USER, StoreLaws, stored, version
from twofa.stores import Change

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twofa.stores import Store

pytestmark = pytest.mark.xdist_group("postgresql")

ROOT = Path(__file__).parent.parent
STORES = sorted((ROOT / "examples" / "stores").glob("*_store.py"))
PAGE = ROOT / "docs" / "write-your-own-store.md"

_numbers = count()


# --- PostgreSQL ----------------------------------------------------------------------------------------------------


class Pool:
    """As much of a connection pool as the store needs of one."""

    def __init__(self, url: str, schema: str, *settings: str) -> None:
        self.url, self.schema = url, schema
        self._options = "".join(f" -c {setting}" for setting in (f"search_path={schema}", *settings))
        self._idle: list[psycopg.Connection] = []

    def connect(self) -> psycopg.Connection:
        """Open a connection."""
        return psycopg.connect(self.url, options=self._options)

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection]:
        """Lend a connection, and commit what was done on it."""
        connection = self._idle.pop() if self._idle else self.connect()
        try:
            with connection.transaction():
                yield connection
        finally:
            self._idle.append(connection)

    def close(self) -> None:
        """Close the connections."""
        for connection in self._idle:
            connection.close()


class PooledStore(psycopg_store.PsycopgStore):
    """The example's store, closed together with its pool."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool.connection)
        self.pool = pool
        self.close = pool.close


@cache
def database() -> str:
    """Return the URL of a database for these tests."""
    return postgresql().url(postgresql().new_database())


def new_schema() -> str:
    """Make an empty table; return the schema that it is in."""
    schema = f"schema_{next(_numbers)}"
    with psycopg.connect(database()) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {0}; SET search_path TO {0}").format(sql.Identifier(schema)))
        connection.execute(psycopg_store.TABLE)
    return schema


class TestPsycopgStore(StoreLaws):
    def make_store(self) -> Store:
        return PooledStore(Pool(database(), new_schema()))

    def make_peer(self, store: Any) -> Store:
        return PooledStore(Pool(database(), store.pool.schema))


# --- MongoDB -------------------------------------------------------------------------------------------------------

SERVE = """
import sys
from secantus import SecantusDBServer
server = SecantusDBServer(storage_path=":memory:")
server.start()
print(server.uri, flush=True)
sys.stdin.read()
server.stop()
"""


@cache
def mongodb() -> str:
    """Return the URL of a server that speaks MongoDB's protocol; it ends with this process."""
    named = os.environ.get("TWOFA_TEST_MONGODB_URL")
    if named:
        return named
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(process.communicate)
    assert process.stdout is not None
    return process.stdout.readline().strip()


def connected() -> pymongo.MongoClient[dict[str, Any]]:
    """Return a client."""
    return pymongo.MongoClient(mongodb())


class ClosingStore(mongodb_store.MongoDBStore):
    """The example's store, closed together with its client."""

    def __init__(self, name: str) -> None:
        self.name, client = name, connected()
        super().__init__(client["twofa_test"][name])
        self.close = client.close


class TestMongoDBStore(StoreLaws):
    def make_store(self) -> Store:
        store = ClosingStore(f"users_{os.getpid()}_{next(_numbers)}")
        store._users.drop()
        return store

    def make_peer(self, store: Any) -> Store:
        return ClosingStore(store.name)


# --- the page ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", STORES, ids=lambda path: path.name)
def test_a_store_takes_forty_lines(path: Path) -> None:
    """Each store is complete, in at most forty lines, blank ones included."""
    assert 40 >= len(path.read_text(encoding="utf-8").splitlines())
