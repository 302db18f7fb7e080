"""Read a table of another library's page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement


def pages(database: str, query: Any, key: ColumnElement[Any], size: int) -> Iterator[Sequence[Any]]:
    """Return the rows of `query` in pages, in the order of `key`, which is its first column and unique.

    Each page is a query of its own, so that no transaction stays open and no table in memory. `database` is a URL as
    SQLAlchemy writes it.
    """
    engine = create_engine(database)
    page = query.order_by(key).limit(size)
    try:
        with engine.connect() as connection:
            rows = connection.execute(page).all()
        while rows:
            yield rows
            with engine.connect() as connection:
                rows = connection.execute(page.where(key > rows[-1][0])).all()
    finally:
        engine.dispose()
