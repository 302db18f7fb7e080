"""MariaDB and MySQL without a server: each statement is noted down, and answered as a server was seen to answer.

SQLAlchemy, its dialect, the store and the classes of the errors, which are PyMySQL's, are the real ones.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine

from twofa.stores.sqlalchemy import SQLAlchemyStore
from twofa.stores.sqlalchemy.tables import NEEDS, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Rows = Sequence[tuple[Any, ...]]

MARIADB, MYSQL = "11.8.3-MariaDB", "8.4.6"
"""What each says of itself."""


class RecordedServer:
    """What a server is asked, and how it answers. Statements are known by words that are in them."""

    def __init__(self, version: str = MARIADB) -> None:
        self.asked: list[str] = []
        """The statements, each on one line."""
        self.errors: defaultdict[str, list[Exception]] = defaultdict(list)
        """What a statement raises: the first, the next time, and so on."""
        self.rows: dict[str, list[Rows | Callable[[Any], Rows]]] = {
            "FROM twofa_schema": [[(SCHEMA, NEEDS)]],
            "FROM twofa_outbox_lock": [[(1,)]],
            "VERSION()": [[(version,)]],
            "DATABASE()": [[("app",)]],
            "isolation": [[("REPEATABLE-READ",)]],
            "sql_mode": [[("",)]],
            "lower_case_table_names": [[(0,)]],
            "_LOCK(": [[(1,)]],
        }
        """What a statement returns: the first, the next time, and the last one from then on."""
        self.changed = 1
        """How many rows a statement says that it has changed."""

    def store(self) -> SQLAlchemyStore:
        """Return a store on it that has seen the tables."""
        store = SQLAlchemyStore(self.engine())
        store.user_ids()
        self.asked.clear()
        return store

    def engine(self) -> Any:
        """Return an engine whose connections all lead here."""
        return create_engine("mysql+pymysql:///app", creator=lambda: _Connection(self))

    def answer(self, statement: str, parameters: Any) -> Rows | None:
        """Note down a statement; return its rows, or `None` for a statement that has none."""
        self.asked.append(" ".join(statement.split()))
        for words, errors in self.errors.items():
            if words in statement and errors:
                raise errors.pop(0)
        for words, answers in self.rows.items():
            if words in statement:
                rows = answers.pop(0) if len(answers) > 1 else answers[0]
                return rows(parameters) if callable(rows) else rows
        return [] if statement.lstrip().startswith(("SELECT", "SHOW")) else None


class _Connection:
    """As PyMySQL's."""

    def __init__(self, server: RecordedServer) -> None:
        self._server = server

    def cursor(self) -> _Cursor:
        return _Cursor(self._server)

    def character_set_name(self) -> str:
        return "utf8mb4"

    def autocommit(self, value: bool) -> None:
        self._server.asked.append(f"SET AUTOCOMMIT = {int(value)}")

    def get_autocommit(self) -> bool:
        return False

    def commit(self) -> None:
        self._server.asked.append("COMMIT")

    def rollback(self) -> None:
        self._server.asked.append("ROLLBACK")

    def close(self) -> None:
        """Forget nothing."""


class _Cursor:
    """As PyMySQL's."""

    lastrowid = 0

    def __init__(self, server: RecordedServer) -> None:
        self._server = server
        self._rows: list[tuple[Any, ...]] = []
        self.description: Any = None
        self.rowcount = -1

    def execute(self, statement: str, parameters: Any = ()) -> None:
        rows = self._server.answer(statement, parameters)
        self._rows = list(rows or ())
        columns = len(self._rows[0]) if self._rows else 1
        self.description = None if rows is None else [(f"column {n}", *[None] * 6) for n in range(columns)]
        self.rowcount = self._server.changed if rows is None else len(self._rows)

    def executemany(self, statement: str, parameters: Sequence[Any]) -> None:
        self.execute(statement, parameters)

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[tuple[Any, ...]]:
        rows, self._rows = self._rows, []
        return rows

    def close(self) -> None:
        """There is nothing to close."""
