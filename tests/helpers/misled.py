"""Connections to SQLite that lose or confuse the answers about records, as a proxy in front of a server can."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


class Misled(sqlite3.Connection):
    """A connection whose queries of records can be made to return nothing, or what they would for another user."""

    lost = False
    about: str | None = None

    def execute(self, statement: str, parameters: Any = ()) -> sqlite3.Cursor:
        if "SELECT" not in statement or "LEFT JOIN twofa" not in statement:
            return super().execute(statement, parameters)
        if Misled.lost:
            return super().execute("SELECT 1 WHERE 0")
        return super().execute(statement, parameters if Misled.about is None else (Misled.about,))


def watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every connection of a test be one of these, which do as they should until they are told otherwise."""
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Misled))
    monkeypatch.setattr(Misled, "lost", False)
    monkeypatch.setattr(Misled, "about", None)
