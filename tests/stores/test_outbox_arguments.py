"""What a mailer may pass by mistake to an outbox: a cursor that is none, or an age in place of a time."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from twofa.stores import MemoryStore, SQLiteStore
from twofa.stores.redis.layout import read_cursor

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["memory", "sqlite"])
def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> MemoryStore | SQLiteStore:
    """An outbox without events."""
    return MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "app.db")


def test_no_cursor_yet_is_the_empty_one(outbox: MemoryStore | SQLiteStore) -> None:
    """`None`, from a table that holds no cursor yet, is a `TypeError` that says how the first run begins."""
    with pytest.raises(TypeError, match=r"^a cursor is str, and the first run begins with '', not NoneType$"):
        outbox.events_after(None)  # type: ignore[arg-type]  # the wrong type is the point
    assert () == outbox.events_after("")


def test_a_cursor_of_redis_is_text() -> None:
    """The Redis stores read cursors of their own, with the same answer."""
    with pytest.raises(TypeError, match=r"^a cursor is str, and the first run begins with '', not NoneType$"):
        read_cursor(None, 16)  # type: ignore[arg-type]  # the wrong type is the point
    assert read_cursor("", 16) is None


@pytest.mark.parametrize("wrong", [0, b"1", ["1"]])
def test_a_cursor_is_text(outbox: MemoryStore | SQLiteStore, wrong: Any) -> None:
    """Another type is a `TypeError` that names it."""
    with pytest.raises(TypeError, match=f"^a cursor is str, not {type(wrong).__name__}$"):
        outbox.events_after(wrong)


def test_an_age_is_not_a_time(outbox: MemoryStore | SQLiteStore) -> None:
    """An age is a `TypeError` that says how to make a time of it; any other type is named, and naive times are refused."""
    with pytest.raises(
        TypeError, match=r"must be a datetime with a time zone, not timedelta: datetime.now\(UTC\) minus"
    ):
        outbox.prune_events(timedelta(days=90))  # type: ignore[arg-type]  # the wrong type is the point
    for wrong in (None, 1_800_000_000, "2027-01-15", date(2027, 1, 15)):
        with pytest.raises(TypeError, match=f"must be a datetime with a time zone, not {type(wrong).__name__}$"):
            outbox.prune_events(wrong)  # type: ignore[arg-type]  # the wrong type is the point
    with pytest.raises(ValueError, match="must say its time zone"):
        outbox.prune_events(datetime(2027, 1, 15))  # that it has none is the point
