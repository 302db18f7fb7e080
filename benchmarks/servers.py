"""A PostgreSQL server for the benchmarks: the tests' own, on the same disk as everything else that is measured."""

from __future__ import annotations

import sys
import tempfile
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def postgresql(folder: Path) -> Iterator[Any]:
    """Start a server with its default durability and its data in `folder`; end it afterwards.

    `TWOFA_TEST_POSTGRESQL_URL` names another one instead: see `tests/postgresql.py`.
    """
    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    module = import_module("postgresql")
    # Where the benchmark runs as root the server runs as someone else, who must get at it.
    folder.chmod(0o711)
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        server = module.server()
        yield server
    finally:
        tempfile.tempdir = before


def create_tables(url: str) -> None:
    """Create the tables of `SQLAlchemyStore` in a database of that server, by its URL for SQLAlchemy."""
    from sqlalchemy import MetaData, create_engine  # not needed to measure SQLite
    from twofa.stores.sqlalchemy import add_tables

    metadata, engine = MetaData(), create_engine(url)
    add_tables(metadata, dialect=engine.dialect.name)
    metadata.create_all(engine)
    engine.dispose()
