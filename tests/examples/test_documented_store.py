"""The store in docs/write-your-own-store.md that needs only the standard library keeps every law of the kit that it can be held to, as a reader would copy it."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from misled import Misled, watch

from twofa.testing import (
    FailureConformance,
    HostTransactionConformance,
    ProcessConformance,
    StatedAbsenceConformance,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parent.parent.parent / "docs" / "write-your-own-store.md"


@cache
def store_class() -> Any:
    """Return the class on the page, without what is done with it there."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (block,) = (block for block in blocks if "class MyStore" in block)
    names: dict[str, Any] = {}
    exec(compile(block.partition("\n\n\nface = ")[0], PAGE.name, "exec"), names)
    return names["MyStore"]


def open_store(path: str) -> Any:
    """Open the store, in any process."""
    return store_class()(path)


class TestDocumentedStore(ProcessConformance, HostTransactionConformance, FailureConformance, StatedAbsenceConformance):
    """The store on the page keeps the laws."""

    @pytest.fixture(autouse=True)
    def _prepare(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = str(tmp_path / "mine.db")
        watch(monkeypatch)

    def make_store(self) -> Any:
        return open_store(self.path)

    def make_peer(self, store: Any) -> Any:
        return open_store(self.path)

    def make_opener(self, store: Any) -> Any:
        return partial(open_store, self.path)

    @contextmanager
    def host_transaction(self, store: Any) -> Iterator[None]:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("BEGIN")
            assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            yield
            connection.rollback()

    def cut_off(self, store: Any) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("DROP TABLE twofa")

    def lose_answers(self, store: Any) -> None:
        Misled.lost = True

    def swap_answers(self, store: Any, user_id: str) -> None:
        Misled.about = user_id
