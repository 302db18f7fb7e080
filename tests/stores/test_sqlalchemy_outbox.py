"""The outbox of the SQLAlchemy stores beside swaps that hang, numbers that become visible late, and much to prune."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from databases import EmptyDatabase, eventually, on_servers, put, under_way
from mariadb import on_mariadb
from sqlalchemy import text

from twofa.stores.sqlalchemy.database import Deadline
from twofa.stores.sqlalchemy.mysql import LOCKS

if TYPE_CHECKING:
    import pytest

# --- the outbox: numbers that become visible late ------------------------------------------------------------------


@on_servers
def test_an_event_that_becomes_visible_late_is_not_missed(database: EmptyDatabase) -> None:
    """With a lower number still uncommitted the outbox hands nothing on, holds nobody up, and then has everything."""
    assert put(database.store, 1)
    cursor = database.store.events_after()[-1].cursor
    with under_way(database, 2) as commit:
        assert put(database.store, 3, "quick")
        assert () == database.store.events_after(cursor)
        assert put(database.store, 4, "quicker")
        assert () == database.open_async().events_after(cursor)
        commit()
        assert [2, 3, 4] == [entry.event.detail["number"] for entry in database.store.events_after(cursor)]


@on_servers
def test_an_event_that_is_rolled_back_holds_nothing_up(database: EmptyDatabase) -> None:
    """A number that was drawn and never used is passed by."""
    with under_way(database, 2):
        assert put(database.store, 3, "quick")
    assert [3] == [entry.event.detail["number"] for entry in database.store.events_after()]


@on_servers
def test_a_reader_that_waits_goes_on_when_the_writer_commits(
    database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that waits for a swap under way hands its event on, before those that were committed earlier."""
    looks: list[int] = []
    monkeypatch.setattr(Deadline, "is_over", property(lambda _: looks.append(1)))
    with under_way(database, 2) as commit, ThreadPoolExecutor(1) as pool:
        assert put(database.store, 3, "quick")
        reading = pool.submit(database.store.events_after)
        eventually(lambda: len(looks) > 2)
        assert not reading.done()
        commit()
        numbers_ = [entry.event.detail["number"] for entry in reading.result()]
    assert [2, 3] == numbers_


@on_mariadb
def test_the_reader_leaves_the_connection_as_it_was(maria: EmptyDatabase) -> None:
    """A connection on which the outbox was read, in time or not, neither commits by itself nor has another level."""
    store = maria.open(pool_size=1, max_overflow=0, isolation_level="SERIALIZABLE")
    state = text("SELECT CONCAT(@@autocommit, @@SESSION.tx_isolation)")
    with store._engine.connect() as connection:
        before = connection.scalar(state)
    assert put(store)
    with under_way(maria, 2):
        assert () == store.events_after()
        with store._engine.connect() as connection:
            assert before == connection.scalar(state)
    assert 1 == len(store.events_after())
    with store._engine.connect() as connection:
        assert before == connection.scalar(state)


@on_mariadb
def test_two_that_find_no_locks_make_them_once(maria: EmptyDatabase) -> None:
    """The rows to lock are made by whoever comes first, and the second is content with them."""
    database = maria.store._database
    with maria.store._engine.connect() as connection:
        for _ in range(2):
            database.start_afresh(connection)
            database._create_locks(connection)
    assert maria.run("SELECT count(*) FROM twofa_outbox_lock") == LOCKS
