"""Databases that the SQLAlchemy stores are tried on, and what their tests do with one."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import mariadb
import postgresql
import pytest
from engines import async_engine_for, engine_for
from interleave import attempt
from mariadb import on_mariadb
from postgresql import on_postgresql
from sqlalchemy import text
from support import USER

from twofa import Change
from twofa.stores.sqlalchemy import AsyncSQLAlchemyStore, SQLAlchemyStore
from twofa.stores.sqlalchemy.mysql import MySQL
from twofa.testing.async_conformance import Blocking, EventLoop
from twofa.testing.samples import event as event_number
from twofa.testing.samples import stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack
    from pathlib import Path

    from proxy import Proxy

PATIENCE = 60.0


class EmptyDatabase:
    """An empty database with the tables, and engines for it that are disposed of in the end."""

    def __init__(self, kind: str, folder: Path, stack: ExitStack, *, server: Any = None) -> None:
        self.kind, self._stack = kind, stack
        if kind == "sqlite":
            self.server, self.url = None, f"sqlite:///{folder / 'app.db'}"
        else:
            self.server = server or {"postgresql": postgresql, "mariadb": mariadb}[kind].server()
            self.name = self.server.new_database()
            self.url = self.server.url(self.name, driver=DRIVERS[kind][0])
        self.store = self.open()
        self.store.create_tables()

    def engine(self, url: str = "", **options: Any) -> Any:
        """Return a new engine."""
        engine = engine_for(url or self.url, **options)
        self._stack.callback(engine.dispose)
        return engine

    def open(self, url: str = "", **options: Any) -> SQLAlchemyStore:
        """Return a store on an engine of its own."""
        return SQLAlchemyStore(self.engine(url, **options))

    def open_async(self, url: str = "", *, leave_out: Any = (), **options: Any) -> Any:
        """Return an asynchronous store on an engine of its own, called like a blocking one."""
        loop = EventLoop()
        self._stack.callback(loop.close)
        engine = async_engine_for(url or self.async_url(), **options)
        self._stack.callback(lambda: loop.run(engine.dispose()))
        return Blocking(AsyncSQLAlchemyStore(engine, leave_out=leave_out), loop)

    def async_url(self) -> str:
        """Return the URL for the asynchronous driver."""
        if self.server is None:
            return self.url.replace("sqlite:", "sqlite+aiosqlite:")
        return str(self.server.url(self.name, driver=DRIVERS[self.kind][1]))

    def proxied(self, driver: str, proxy: Proxy) -> Any:
        """Return a store whose connections go through a proxy."""
        assert self.server is not None
        url = self.server.url(self.name, driver=driver, port=proxy.port)
        return self.open_async(url) if driver in {"asyncpg", "aiomysql"} else self.open(url)

    def run(self, *statements: str) -> Any:
        """Run statements as somebody else; return the first column of the last one's first row."""
        with self.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            results = [connection.execute(text(statement)) for statement in statements]
            return results[-1].scalar() if results[-1].returns_rows else None


DRIVERS = {"postgresql": ("psycopg", "asyncpg"), "mariadb": ("pymysql", "aiomysql")}
WAITING = {
    "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}
"""How many wait for a lock."""
KINDS = [
    pytest.param("postgresql", marks=on_postgresql),
    pytest.param("mariadb", marks=on_mariadb),
    pytest.param("sqlite"),
]
everywhere = pytest.mark.parametrize("kind", KINDS)
on_servers = pytest.mark.parametrize("kind", KINDS[:2])
by_every_driver = pytest.mark.parametrize(
    ("kind", "driver"),
    [
        pytest.param("postgresql", "psycopg", marks=on_postgresql),
        pytest.param("postgresql", "asyncpg", marks=on_postgresql),
        pytest.param("mariadb", "pymysql", marks=on_mariadb),
        pytest.param("mariadb", "aiomysql", marks=on_mariadb),
    ],
)


def put(store: Any, number: int = 1, user_id: str = USER) -> bool:
    """Create a record with an event."""
    return bool(store.swap(user_id, Change(None, stored(number), (event_number(number, user_id),))))


def eventually(condition: Callable[[], Any]) -> None:
    """Wait until something that another thread is about to do is seen on the server."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def outcome_of(call: Callable[[], Any]) -> str:
    """Return the name of what a call gives or raises."""
    return type(attempt(call)).__name__


@contextmanager
def under_way(
    database: EmptyDatabase, number: int, user_id: str = "slow", **options: Any
) -> Iterator[Callable[[], None]]:
    """Hold a swap with an event open, its number drawn and not committed; yield what commits it."""
    store = database.open()
    inner = store._database
    with store._engine.connect().execution_options(**options) as connection:
        inner.start_afresh(connection)
        if isinstance(inner, MySQL):
            inner._create_locks(connection)
            inner.start_afresh(connection)
        commit = inner.commit
        inner.commit = lambda _: None  # type: ignore[method-assign]
        assert inner.make_swap(connection, user_id, Change(None, stored(number), (event_number(number, user_id),)))

        def end() -> None:
            commit(connection)

        yield end
        connection.rollback()
