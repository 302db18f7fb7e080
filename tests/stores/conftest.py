"""What the tests of the SQLAlchemy stores get: empty databases."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from databases import EmptyDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
