"""The outbox of the SQLAlchemy stores beside swaps that hang, numbers that become visible late, and much to prune."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import mariadb
import pytest
from databases import EmptyDatabase, eventually, everywhere, on_servers, put, under_way
from mariadb import on_mariadb
from postgresql import on_postgresql
from racing import race_threads
from sqlalchemy import inspect, text
from support import USER

from twofa import Change
from twofa.events import EventKind
from twofa.stores.sqlalchemy.mysql import LOCKS
from twofa.stores.trail import Deadline
from twofa.testing.racing import at_once
from twofa.testing.samples import event as told_of
from twofa.testing.samples import numbers, stored, version

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

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
    level = "transaction_isolation" if maria.server.is_mysql else "tx_isolation"
    state = text(f"SELECT CONCAT(@@autocommit, @@SESSION.{level})")
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


@on_servers
def test_a_swap_that_hangs_holds_up_no_other(database: EmptyDatabase) -> None:
    """While one swap hangs and readers poll, every other swap goes through at once, and nothing is missed in the end."""
    store, read, done = database.open(pool_size=8), [], threading.Event()
    cursor = ""

    def poll() -> list[int]:
        nonlocal cursor
        while not done.is_set():
            for entry in store.events_after(cursor):
                cursor = entry.cursor
                read.append(entry.event.detail["number"])
        return read

    with under_way(database, 1000) as commit, ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(poll)]
        waits = []
        for number in range(150):
            begun = time.monotonic()
            assert put(store, number, f"user-{number}")
            waits.append(time.monotonic() - begun)
        assert [] == read
        commit()
        eventually(lambda: len(read) >= 151)
        done.set()
        for reader in readers:
            reader.result()
    # A reader that queued for a lock made all swaps wait for up to a second, over and over.
    assert 0.5 > sorted(waits)[-2]
    assert [*range(150), 1000] == sorted(read)
    assert [entry.event.detail["number"] for entry in store.events_after(limit=1000)] == read


@on_mariadb
def test_a_reader_that_is_stopped_holds_no_lock(maria: EmptyDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a reader of the outbox stops, between two of its statements, swaps go through."""
    assert put(maria.store, 1)
    stopped, go_on = threading.Event(), threading.Event()

    def stop(_: Any) -> bool:
        stopped.set()
        assert go_on.wait(60)
        return False

    with under_way(maria, 2) as commit, ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(Deadline, "is_over", property(stop))
        reading = pool.submit(maria.store.events_after)
        assert stopped.wait(60)
        impatient = maria.open(connect_args={"init_command": "SET innodb_lock_wait_timeout = 1"}, pool_size=70)
        assert [True] * 70 == at_once([partial(put, impatient, n, f"other-{n}") for n in range(70)])
        commit()
        go_on.set()
        assert [1] == [entry.event.detail["number"] for entry in reading.result()]
    assert 72 == len(maria.store.events_after())


@on_postgresql
def test_numbers_that_are_kept_back_are_refused(pg: EmptyDatabase) -> None:
    """With a `CACHE` numbers are used out of order: a reader is told so, before it has missed anything."""
    assert put(pg.store, 1)
    pg.run("ALTER TABLE twofa_event ALTER COLUMN id SET CACHE 20")
    assert put(pg.store, 2, "another")
    for store in (pg.store, pg.open_async()):
        with pytest.raises(RuntimeError, match=r"CACHE 20.*SET CACHE 1, then restart"):
            store.events_after()
    pg.run("ALTER TABLE twofa_event ALTER COLUMN id SET CACHE 1")
    assert [1, 2] == [entry.event.detail["number"] for entry in pg.store.events_after()]


@everywhere
def test_an_event_of_a_newer_kind_is_handed_on(database: EmptyDatabase) -> None:
    """While servers are upgraded one by one, an event that only the newer ones know holds nothing up."""
    assert put(database.store, 1)
    database.run("UPDATE twofa_event SET kind = 'passkey_added'")
    assert put(database.store, 2, "another")
    first, second = (entry.event for entry in database.store.events_after())
    assert (EventKind.UNKNOWN, "passkey_added", 1) == (first.kind, first.detail["kind"], first.detail["number"])
    assert (EventKind.CODE_ACCEPTED, 2) == (second.kind, second.detail["number"])
    assert (first,) == database.store.events(USER)


# --- pruning -------------------------------------------------------------------------------------------------------


@everywhere
@pytest.mark.parametrize("awaiting", [False, True], ids=["blocking", "awaiting"])
def test_old_events_are_erased_batch_by_batch(
    awaiting: bool, database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More events than fit into one transaction are all erased, each transaction takes a few, and others stay."""
    monkeypatch.setattr("twofa.stores.sqlalchemy.database.PRUNE_BATCH", 10)
    happened = [told_of(number) for number in (*range(25), 100)]
    assert database.store.swap(USER, Change(None, stored(1), tuple(happened)))
    store = database.open_async() if awaiting else database.open()
    batches: list[int] = []
    inner = type(database.store._database).prune_events

    def count(*arguments: Any) -> int:
        batches.append(inner(*arguments))
        return batches[-1]

    monkeypatch.setattr(type(database.store._database), "prune_events", count)
    assert 25 == store.prune_events(told_of(100).at)
    assert [10, 10, 5, 0] == batches
    assert 0 == store.prune_events(told_of(100).at)
    assert 1 == store.prune_events(told_of(101).at)


@everywhere
def test_old_events_are_found_by_an_index(database: EmptyDatabase) -> None:
    """To find the events that are to be erased, the database does not look at all others."""
    indexes = inspect(database.engine()).get_indexes("twofa_event")
    assert {"twofa_event_at": ["at"], "twofa_event_user": ["user_id"]} == {
        index["name"]: index["column_names"] for index in indexes
    }


# --- the binary log ------------------------------------------------------------------------------------------------


@on_mariadb
def test_a_binary_log_of_statements_is_served(stack: ExitStack, tmp_path: Path) -> None:
    """With `binlog_format=STATEMENT` every operation works, although MariaDB refuses writes under READ COMMITTED there."""
    server = mariadb.OwnMariaDB("--log-bin", "--binlog-format=STATEMENT", "--server-id=1")
    stack.callback(server.stop)
    database = EmptyDatabase("mariadb", tmp_path, stack, server=server)
    assert "STATEMENT" == database.run("SELECT @@GLOBAL.binlog_format")
    for store in (database.store, database.open_async()):
        assert put(store, 1)
        assert store.swap(USER, Change(version(1), stored(2), (told_of(2), told_of(3))))
        assert (stored(2), [1, 2, 3]) == (store.load(USER), numbers(store))
        assert 3 <= len(store.events_after())
        assert not store.swap(USER, Change(version(1), stored(9)))
        assert 1 == store.prune_events(told_of(2).at)
        assert store.swap(USER, Change(version(2), None))
        assert (None, []) == (store.load(USER), numbers(store))
    race_threads("totp", database.store, database.open(), 3)
