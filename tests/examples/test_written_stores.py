"""The stores under examples/stores keep every law of the kit, and the page shows them as they are."""

from __future__ import annotations

import atexit
import importlib.util
import os
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
from not_tested import not_here
from postgresql import on_postgresql
from postgresql import server as postgresql
from psycopg import sql

from stores import mongodb_store, psycopg_store
from twofa import AsyncTwoFactor, KeyRing
from twofa.stores import Change, Stored, UnexpectedAnswer
from twofa.testing import FailureConformance, HostTransactionConformance

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = on_postgresql

ROOT = Path(__file__).parent.parent.parent
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
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self.connect()
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


class TestPsycopgStore(HostTransactionConformance, FailureConformance):
    """The store on psycopg, at the isolation level that PostgreSQL has by default."""

    settings: tuple[str, ...] = ()

    def make_store(self) -> Any:
        return PooledStore(Pool(database(), new_schema(), *self.settings))

    def make_peer(self, store: Any) -> Any:
        return PooledStore(Pool(database(), store.pool.schema, *self.settings))

    @contextmanager
    def host_transaction(self, store: Any) -> Iterator[None]:
        with store.pool.connect() as connection, connection.transaction(force_rollback=True):
            yield

    def cut_off(self, store: Any) -> None:
        with store.pool.connection() as connection:
            connection.execute("DROP TABLE twofa")


class TestPsycopgStoreAtRepeatableRead(TestPsycopgStore):
    """The same where a lost race is an error of the database."""

    settings = (r"default_transaction_isolation=repeatable\ read",)


def test_a_store_on_psycopg_takes_connections_that_it_closes() -> None:
    """The store works as the page makes it, with a connection for each call."""
    pool = Pool(database(), new_schema())
    store = psycopg_store.PsycopgStore(pool.connect)
    assert store.swap("user-42", Change(None, Stored("1" * 32, "a document")))
    assert not store.swap("user-42", Change(None, Stored("2" * 32, "another")))
    assert Stored("1" * 32, "a document") == store.load("user-42")


def test_a_neighbours_answer_does_not_read_as_no_record() -> None:
    """P3: where a proxy gives the store another one's prepared statement, its empty result is refused."""
    pool = Pool(database(), new_schema())
    store = PooledStore(pool)
    assert store.swap("user-42", Change(None, Stored("1" * 32, "a document")))
    with pool.connection() as connection:
        connection.prepare_threshold = 0
    assert Stored("1" * 32, "a document") == store.load("user-42")
    with pool.connection() as connection:
        named = connection.execute("SELECT name FROM pg_prepared_statements WHERE name LIKE '_pg3%'", prepare=False)
        (name,) = named.fetchone() or ("",)
        connection.execute(f'DEALLOCATE "{name}"'.encode(), prepare=False)
        connection.execute(f'PREPARE "{name}" (text) AS SELECT 1 WHERE $1 IS NULL'.encode(), prepare=False)
    with pytest.raises(UnexpectedAnswer, match="prepare_threshold=None"):
        store.load("user-42")
    pool.close()


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
    if importlib.util.find_spec("secantus") is None:
        not_here("MongoDB", "pip install secantusdb, or set TWOFA_TEST_MONGODB_URL")
    process = subprocess.Popen([sys.executable, "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
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


class TestMongoDBStore(FailureConformance):
    """The store on PyMongo."""

    def make_store(self) -> Any:
        store = ClosingStore(f"users_{os.getpid()}_{next(_numbers)}")
        store._users.drop()
        return store

    def make_peer(self, store: Any) -> Any:
        return ClosingStore(store.name)

    def cut_off(self, store: Any) -> None:
        store.close()


@pytest.mark.parametrize(
    "answer", [[], [{"found": []}], [{"asked_by": "twofa", "id": "another", "found": []}]], ids=str
)
def test_another_answer_of_mongodb_does_not_read_as_no_record(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """P3: an answer that does not say whom it is about is refused."""
    store = ClosingStore(f"users_{os.getpid()}_{next(_numbers)}")
    assert store.load("user-42") is None
    monkeypatch.setattr(pymongo.database.Database, "aggregate", lambda *_: iter(answer))
    with pytest.raises(UnexpectedAnswer):
        store.load("user-42")
    store.close()


# --- the page ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", STORES, ids=lambda path: path.name)
def test_a_store_takes_some_forty_lines(path: Path) -> None:
    """Each store is complete, in at most forty-five lines, blank ones included."""
    assert 45 >= len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("path", STORES, ids=lambda path: path.name)
def test_the_page_shows_the_store(path: Path) -> None:
    """What a reader copies from the page is the file that is tested here."""
    assert f"```python\n{path.read_text(encoding='utf-8')}```" in PAGE.read_text(encoding="utf-8")


def test_the_asynchronous_face_says_how_to_take_a_blocking_store() -> None:
    """A store that is declared as one is refused where its methods would not be awaited, with what to do instead."""
    with pytest.raises(TypeError, match="ThreadedStore"):
        AsyncTwoFactor(
            psycopg_store.PsycopgStore(lambda: pytest.fail("it connects")),
            keys=KeyRing(KeyRing.generate_key()),
            issuer="Example",
        )  # type: ignore[arg-type]
