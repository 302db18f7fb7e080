"""The SQLAlchemy stores keep the laws on every database and driver that they are said to work with."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import mariadb
import postgresql
import pytest
from engines import async_engine_for, engine_for, new_url, open_async_store, open_store
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from mariadb import on_mariadb
from postgresql import on_postgresql
from sqlalchemy import inspect, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from twofa.stores.sqlalchemy import AsyncSQLAlchemyStore, SQLAlchemyStore
from twofa.testing import (
    AsyncFailureConformance,
    AsyncHostTransactionConformance,
    AsyncListingConformance,
    AsyncOutboxConformance,
    AsyncProcessConformance,
    FailureConformance,
    HostTransactionConformance,
    ListingConformance,
    OutboxConformance,
    ProcessConformance,
    StoreMachine,
)
from twofa.testing.async_conformance import EventLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

# --- engines -------------------------------------------------------------------------------------------------------


EMPTY = ("DELETE FROM twofa_event", "DELETE FROM twofa_record")


def empty(engine: Any) -> None:
    """Erase what the law before has left."""
    with engine.begin() as connection:
        for statement in EMPTY:
            connection.execute(text(statement))


# --- the laws ------------------------------------------------------------------------------------------------------


class Blocking(OutboxConformance, ListingConformance, HostTransactionConformance, FailureConformance):
    """A blocking driver: one database, emptied for each law."""

    options: ClassVar[dict[str, str]] = {}

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls) -> str:
        raise NotImplementedError("an empty database")

    @pytest.fixture(scope="class")
    @classmethod
    def engines(cls, url: str) -> Iterator[list[Any]]:
        engines = [engine_for(url, **cls.options) for _ in range(2)]
        SQLAlchemyStore(engines[0]).create_tables()
        yield engines
        for engine in engines:
            engine.dispose()

    @pytest.fixture(autouse=True)
    def _prepare(self, url: str, engines: list[Any]) -> None:
        self.url_, self.engines_ = url, engines

    def make_store(self):
        empty(self.engines_[0])
        return SQLAlchemyStore(self.engines_[0])

    def make_peer(self, store):
        return SQLAlchemyStore(self.engines_[1])

    def make_opener(self, store):
        return partial(open_store, self.url_)

    @contextmanager
    def host_transaction(self, store):
        with Session(store._engine) as session:
            session.execute(text("SELECT count(*) FROM twofa_record")).all()
            yield
            session.rollback()

    def cut_off(self, store):
        rename_tables(store, there=False)

    @pytest.fixture
    def store(self):
        store = self.make_store()
        yield store
        rename_tables(store, there=True)


def rename_tables(store: SQLAlchemyStore, *, there: bool) -> None:
    """Take the table of records away behind a store's back, or put it back if it was taken."""
    name, other = ("gone", "twofa_record") if there else ("twofa_record", "gone")
    with store._engine.begin() as connection:
        if inspect(connection).has_table(name):
            connection.execute(text(f"ALTER TABLE {name} RENAME TO {other}"))


class Awaiting(
    AsyncOutboxConformance, AsyncListingConformance, AsyncHostTransactionConformance, AsyncFailureConformance
):
    """An asynchronous driver: one database, emptied for each law."""

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls) -> str:
        raise NotImplementedError("an empty database")

    @pytest.fixture(scope="class")
    @classmethod
    def loop(cls):
        loop = EventLoop()
        yield loop
        loop.close()

    @pytest.fixture(scope="class")
    @classmethod
    def engines(cls, url: str, loop: EventLoop) -> Iterator[list[Any]]:
        engines = [async_engine_for(url) for _ in range(2)]
        loop.run(AsyncSQLAlchemyStore(engines[0]).create_tables())
        yield engines
        for engine in engines:
            loop.run(engine.dispose())

    @pytest.fixture(autouse=True)
    def _prepare(self, url: str, engines: list[Any], loop: EventLoop) -> Iterator[None]:
        self.url_, self.engines_ = url, engines
        yield
        assert [0, 0] == [engine.pool.checkedout() for engine in engines], "a connection was lost to the pool"
        loop.run(self.rename_tables(there=True))

    async def make_store(self):
        async with self.engines_[0].begin() as connection:
            for statement in EMPTY:
                await connection.execute(text(statement))
        return AsyncSQLAlchemyStore(self.engines_[0])

    def make_peer(self, store):
        return AsyncSQLAlchemyStore(self.engines_[1])

    def make_opener(self, store):
        return partial(open_async_store, self.url_)

    @asynccontextmanager
    async def host_transaction(self, store):
        async with AsyncSession(store._engine) as session:
            (await session.execute(text("SELECT count(*) FROM twofa_record"))).all()
            yield
            await session.rollback()

    async def cut_off(self, store):
        await self.rename_tables(there=False)

    async def rename_tables(self, *, there):
        async with self.engines_[0].begin() as connection:
            engine = SimpleNamespace(begin=partial(as_it_is, connection.sync_connection))
            await connection.run_sync(lambda _: rename_tables(SimpleNamespace(_engine=engine), there=there))


@contextmanager
def as_it_is(connection: Any) -> Iterator[Any]:
    """Lend what is there."""
    yield connection


@on_postgresql
class TestPsycopg(Blocking, ProcessConformance):
    """PostgreSQL by psycopg."""

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls):
        return new_url(postgresql.server(), "psycopg")


RACES = (
    "one_of_many",
    "never_both",
    "no_update_is_lost",
    "disturb",
    "race",
    "beside_writers",
    "half_a_swap",
    "one_step",
)


def races_only(laws: type) -> type:
    """Leave out every law that one transaction at a time keeps whatever its isolation level."""
    for name in dir(laws):
        if name.startswith("test_") and not any(word in name for word in RACES):
            setattr(laws, name, None)
    return laws


@on_postgresql
@races_only
class TestRepeatableRead(Blocking):
    """PostgreSQL by psycopg, where every transaction is REPEATABLE READ unless it says otherwise."""

    options: ClassVar[dict[str, str]] = {"isolation_level": "REPEATABLE READ"}

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls):
        url = new_url(postgresql.server(), "psycopg")
        return f"{url}?options=-cdefault_transaction_isolation%3Drepeatable%5C%20read"


@on_postgresql
@races_only
class TestSerializable(Blocking):
    """PostgreSQL by psycopg, where every transaction is SERIALIZABLE unless it says otherwise."""

    options: ClassVar[dict[str, str]] = {"isolation_level": "SERIALIZABLE"}

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls):
        url = new_url(postgresql.server(), "psycopg")
        return f"{url}?options=-cdefault_transaction_isolation%3Dserializable"


@on_postgresql
class TestPartitioned(Blocking):
    """PostgreSQL by psycopg, on the partitioned tables of docs/scale.md."""

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls):
        url = new_url(postgresql.server(), "psycopg")
        engine = engine_for(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in partitioned_tables():
                connection.execute(text(statement))
        engine.dispose()
        return url

    def cut_off(self, store):
        with store._engine.begin() as connection:
            connection.execute(text("ALTER TABLE twofa_record RENAME TO gone"))


def partitioned_tables() -> list[str]:
    """Return the statements of docs/scale.md that make the tables, with all sixteen partitions of the records."""
    page = (Path(__file__).parent.parent.parent / "docs" / "scale.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    statements = [statement.split("--")[0] for statement in block.split("\n;\n")]
    one = next(statement for statement in statements if "twofa_record_0" in statement)
    return statements + [one.replace("_0", f"_{n}").replace("REMAINDER 0", f"REMAINDER {n}") for n in range(1, 16)]


@on_postgresql
class TestAsyncPsycopg(Awaiting):
    """PostgreSQL by psycopg, awaiting."""

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls):
        return new_url(postgresql.server(), "psycopg")


@on_postgresql
class TestAsyncpg(Awaiting, AsyncProcessConformance):
    """PostgreSQL by asyncpg."""

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls):
        return new_url(postgresql.server(), "asyncpg")


@on_mariadb
class TestPyMySQL(Blocking, ProcessConformance):
    """MariaDB by PyMySQL."""

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls):
        return new_url(mariadb.server(), "pymysql")


@on_mariadb
class TestAiomysql(Awaiting):
    """MariaDB by aiomysql."""

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls):
        server = mariadb.server()
        url = new_url(server, "aiomysql")
        return url if server.is_mysql else url.replace("mysql+", "mariadb+")


class TestPysqlite(Blocking, ProcessConformance):
    """SQLite by the standard library."""

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls, tmp_path_factory):
        return f"sqlite:///{tmp_path_factory.mktemp('pysqlite') / 'app.db'}"


class TestAiosqlite(Awaiting):
    """SQLite by aiosqlite."""

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls, tmp_path_factory):
        return f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('aiosqlite') / 'app.db'}"


# --- beside a model ------------------------------------------------------------------------------------------------


class Machine(StoreMachine):
    """The store beside the model: one database, emptied for each sequence."""

    engine: Any = None

    def make_store(self):
        empty(self.engine)
        return SQLAlchemyStore(self.engine)

    def make_peer(self, store):
        return SQLAlchemyStore(self.engine)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("postgresql", marks=on_postgresql),
        pytest.param("mariadb", marks=on_mariadb),
        pytest.param("sqlite"),
    ],
)
def test_the_store_does_what_the_model_does(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever sequence Hypothesis thinks of, both handles show what the model holds."""
    urls = {
        "postgresql": lambda: new_url(postgresql.server(), "psycopg"),
        "mariadb": lambda: new_url(mariadb.server(), "pymysql"),
        "sqlite": lambda: f"sqlite:///{tmp_path / 'app.db'}",
    }
    engine = engine_for(urls[kind]())
    SQLAlchemyStore(engine).create_tables()
    monkeypatch.setattr(Machine, "engine", engine)
    run_state_machine_as_test(Machine, settings=settings(max_examples=3, stateful_step_count=20))
    engine.dispose()
