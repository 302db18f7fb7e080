"""Servers for the benchmarks: the tests' own, on the same disk as everything else that is measured."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager, ExitStack

    from sqlalchemy import Engine

    from twofa.stores.sqlalchemy import SQLAlchemyStore


def helper(name: str) -> Any:
    """Return a module of the tests' helpers, for the servers that it starts."""
    sys.path.append(str(Path(__file__).parent.parent / "tests" / "helpers"))
    return import_module(name)


def postgresql(folder: Path) -> AbstractContextManager[Any]:
    """Start a PostgreSQL with its default durability and its data in `folder`; end it afterwards.

    `TWOFA_TEST_POSTGRESQL_URL` names another one instead: see `tests/helpers/postgresql.py`.
    """
    return _server("postgresql", "PostgreSQL", folder)


def mariadb(folder: Path) -> AbstractContextManager[Any]:
    """The same with a MariaDB: see `tests/helpers/mariadb.py`."""
    return _server("mariadb", "MariaDB", folder)


@contextmanager
def _server(name: str, kind: str, folder: Path) -> Iterator[Any]:
    module = helper(name)
    named = os.environ.get(f"TWOFA_TEST_{name.upper()}_URL")
    if named:
        yield getattr(module, kind)(named)
        return
    # Where the benchmark runs as root the server runs as someone else, who must get at it.
    folder.chmod(0o711)
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        server = getattr(module, f"Own{kind}")()
    finally:
        tempfile.tempdir = before
    try:
        yield server
    finally:
        server.stop()


def open_store(url: str, stack: ExitStack, pool_size: int = 1) -> SQLAlchemyStore:
    """Return a store in a database of that server, by its URL for SQLAlchemy, to be closed with `stack`."""
    from twofa.stores.sqlalchemy import SQLAlchemyStore  # not needed to measure SQLite

    return SQLAlchemyStore(open_engine(url, stack, pool_size))


def open_engine(url: str, stack: ExitStack, pool_size: int = 1) -> Engine:
    """Return an engine, to be disposed of with `stack`."""
    from sqlalchemy import create_engine  # not needed to measure SQLite

    engine = create_engine(url, pool_size=pool_size)
    stack.callback(engine.dispose)
    return engine
