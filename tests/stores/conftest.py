"""What the tests of stores get: empty databases for the SQLAlchemy stores, and an SQLite file for `SQLiteStore`."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest
from databases import EmptyDatabase

from twofa.stores import Change, SQLiteStore
from twofa.testing.samples import USER, event, stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# --- SQLAlchemy ---------------------------------------------------------------------------------------------------


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is to be closed after the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def database(kind: str, tmp_path: Path, stack: ExitStack) -> EmptyDatabase:
    """An empty database of the kind that is asked for."""
    return EmptyDatabase(kind, tmp_path, stack)


@pytest.fixture
def pg(tmp_path: Path, stack: ExitStack) -> EmptyDatabase:
    """An empty database on PostgreSQL."""
    return EmptyDatabase("postgresql", tmp_path, stack)


@pytest.fixture
def maria(tmp_path: Path, stack: ExitStack) -> EmptyDatabase:
    """An empty database on MariaDB."""
    return EmptyDatabase("mariadb", tmp_path, stack)


# --- SQLite -------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a database will be."""
    return tmp_path / "app.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    """A store in a file, with one record and its event."""
    with SQLiteStore(path, timeout=0) as store:
        assert store.swap(USER, Change(None, stored(1), (event(1),)))
        yield store


@pytest.fixture
def host(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of the host's own to the same file."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        yield connection


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """Every connection that is made from here on."""
    made: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def watched(*args: Any, **named: Any) -> sqlite3.Connection:
        made.append(connect(*args, **named))
        return made[-1]

    monkeypatch.setattr(sqlite3, "connect", watched)
    return made
