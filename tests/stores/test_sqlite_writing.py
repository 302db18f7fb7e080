"""`SQLiteStore` while several want to write, and when a swap fails in the middle."""

from __future__ import annotations

import dis
import gc
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlite_store import is_open, meanwhile, raising, record, untouched

from twofa import EventKind
from twofa.stores import Change, SQLiteStore, sqlite
from twofa.stores.sqlite import pruning
from twofa.testing.samples import NOW, USER, event, numbers, stored, version

FOLDER = Path(sqlite.__file__).parent
"""Where the modules of the store are."""


# --- locks -----------------------------------------------------------------------------------------------------------


def test_a_lock_that_outlasts_the_timeout_raises_and_changes_nothing(store, host):
    """While the host holds the file, records can be read, and a swap raises SQLite's own error."""
    host.execute("BEGIN IMMEDIATE")
    assert stored(1) == store.load(USER)
    for change in (Change(version(1), stored(2), (event(2),)), Change(version(1), None)):
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            store.swap(USER, change)
    host.execute("ROLLBACK")
    assert untouched(store)


def test_a_lock_that_is_released_in_time_is_waited_for(path, store, host):
    """Within the time-out a swap waits for the host's transaction to end."""
    with SQLiteStore(path, timeout=60) as patient, ThreadPoolExecutor(1) as pool:
        host.execute("BEGIN IMMEDIATE")
        swap = pool.submit(patient.swap, USER, Change(version(1), stored(2)))
        host.execute("COMMIT")
        assert swap.result() is True
    assert stored(2) == store.load(USER)


def test_a_writer_waits_no_longer_than_the_timeout_for_another_thread(store):
    """A thread that finds another one writing gives up in time, and changes nothing."""

    def second() -> None:
        with pytest.raises(sqlite3.OperationalError, match="is locked: another thread kept writing to it"):
            store.swap(USER, Change(version(1), stored(3), (event(3),)))

    with ThreadPoolExecutor(1) as pool:
        assert store.swap(USER, meanwhile(lambda: pool.submit(second).result()))
    assert stored(2) == store.load(USER)
    assert [1, 2] == numbers(store)


def test_an_event_of_a_later_version_holds_nothing_up(path, store):
    """A kind of event that this version does not know is handed on as such, with its name, and so is what follows."""
    assert store.swap(USER, Change(version(1), stored(2), (event(2),)))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE twofa_event SET kind = 'passkey_added' WHERE id = 1")
    first, second = store.events(USER)
    assert (EventKind.UNKNOWN, {"number": 1, "kind": "passkey_added"}) == (first.kind, first.detail)
    assert event(2) == second
    assert [first, second] == [entry.event for entry in store.events_after()]


# Where it raises before anyone holds a connection that was just opened, that one is closed when it is collected.
@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
def test_a_signal_handler_that_raises_leaves_no_lock_behind(path):
    """Wherever a handler can raise in a swap, which is after any call that it makes, the next thread can write."""

    class Struck(BaseException):
        """What a handler raises, such as a worker's time limit."""

    def strike(after: int) -> bool:
        """Raise after that many calls from this module in a swap; the interpreter looks for signals after each one."""
        left, called = after, set()

        def trace(frame, what, _argument):
            nonlocal left
            if Path(frame.f_code.co_filename).parent != FOLDER:
                return None
            frame.f_trace_opcodes = True
            if what == "opcode":
                left -= frame in called
                if frame in called and left == 0:
                    raise Struck
                called.discard(frame)
                if dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith("CALL"):
                    called.add(frame)
            return trace

        sys.settrace(trace)
        try:
            store.swap(USER, Change(None, stored(1)))
        except Struck:
            return True
        finally:
            sys.settrace(before)
        return False

    before = sys.gettrace()
    struck = 0
    while True:
        with SQLiteStore(path, timeout=0.2) as store:
            if not strike(struck + 1):
                break
            struck += 1
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(store.swap, f"user-{struck}", Change(None, stored(2))).result() is True
    assert struck > 20
    gc.collect()


def test_events_are_pruned_in_batches_with_pauses_between(store, monkeypatch):
    """However many events are old, others can write in between: after each batch there is a pause as long as it took."""
    many = 1_000
    assert store.swap("another", Change(None, stored(1), tuple(event(-each, "another") for each in range(1, many + 1))))
    clock, written = [100.0], []

    def pause(seconds: float) -> None:
        """Take the pause to write, from a thread that has to wait for nobody."""
        held = record(store)
        with ThreadPoolExecutor(1) as pool:
            swapped = pool.submit(store.swap, USER, Change(held.version, stored(len(written) + 2)))
            written.append((seconds, swapped.result(60)))

    def later() -> float:
        clock[0] += pruning.AIM / 2
        return clock[0]

    monkeypatch.setattr(pruning, "time", SimpleNamespace(sleep=pause, monotonic=later))
    assert many == store.prune_events(NOW)
    # 200, 400, and the 400 that are left: a batch that takes half the time that it may is followed by one twice as large.
    assert [(pytest.approx(pruning.AIM / 2), True)] * 2 == written
    assert [1] == numbers(store)
    assert [] == numbers(store, "another")


@pytest.mark.parametrize(
    ("size", "taken", "expected"),
    [
        (200, pruning.AIM, 200),
        (200, pruning.AIM / 100, 400),
        (200, pruning.AIM * 2, 100),
        (200, 0.0, 400),
        (60, 10.0, pruning.SMALLEST),
        (8_000, 0.0001, pruning.LARGEST),
    ],
)
def test_a_batch_takes_about_as_long_as_it_may(size, taken, expected):
    """On a slow disk a batch gets smaller, on a fast one larger, within limits and never more than twice as large."""
    assert expected == pruning.next_size(size, taken)


def test_a_prune_that_is_interrupted_keeps_what_it_erased(store, monkeypatch):
    """What was pruned is gone, the rest is there, and the next prune goes on."""
    store.swap("another", Change(None, stored(1), tuple(event(-each, "another") for each in range(1, 301))))
    with monkeypatch.context() as patched:
        patched.setattr(pruning.time, "sleep", lambda _: raising(KeyboardInterrupt())())
        with pytest.raises(KeyboardInterrupt):
            store.prune_events(NOW)
    assert 100 == len(store.events("another"))
    assert 100 == store.prune_events(NOW)


def test_readers_do_not_wait_for_a_writer(store):
    """In the middle of a swap other threads read the record and the trail as they were before."""
    seen: list[Any] = []

    def read() -> None:
        seen.append((store.load(USER), numbers(store), store.user_ids()))

    with ThreadPoolExecutor(1) as pool:
        store.swap(USER, meanwhile(lambda: pool.submit(read).result()))
    assert [(stored(1), [1], (USER,))] == seen


def test_a_rollback_of_the_host_takes_nothing_back(store, host):
    """A swap that was answered stays, whatever becomes of a transaction that the host had open meanwhile."""
    host.execute("CREATE TABLE hosts_own (x)")
    host.execute("BEGIN")
    host.execute("SELECT * FROM hosts_own").fetchall()
    assert store.swap(USER, Change(version(1), stored(2), (event(2),)))
    host.execute("ROLLBACK")
    assert stored(2) == store.load(USER)
    assert [1, 2] == numbers(store)


# --- failures in the middle ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), ValueError("no time")], ids=repr)
def test_whatever_interrupts_a_swap_undoes_it(store, error):
    """An exception of any kind in the middle of a swap comes out, and the swap did not happen."""
    with pytest.raises(type(error)) as caught:
        store.swap(USER, meanwhile(raising(error)))
    assert error is caught.value
    assert untouched(store)


def test_a_store_in_memory_survives_what_interrupts_a_swap():
    """In memory the connection is the data, so it is kept after a failure, with the swap undone."""
    with SQLiteStore(":memory:") as store:
        store.swap(USER, Change(None, stored(1), (event(1),)))
        with pytest.raises(KeyboardInterrupt):
            store.swap(USER, meanwhile(raising(KeyboardInterrupt())))
        assert untouched(store)


@pytest.mark.parametrize("how", ["ABORT", "FAIL", "ROLLBACK"])
@pytest.mark.parametrize("change", [Change(version(1), stored(2), (event(2),)), Change(version(1), None, (event(2),))])
def test_a_broken_constraint_undoes_the_swap(store, host, how, change):
    """An event that the database refuses takes the change of the record back, whichever way it is refused."""
    host.execute(f"CREATE TRIGGER no BEFORE INSERT ON twofa_event BEGIN SELECT RAISE({how}, 'refused'); END")
    with pytest.raises(sqlite3.IntegrityError, match="refused"):
        store.swap(USER, change)
    assert untouched(store)


def test_a_full_disk_undoes_the_swap(path, connections):
    """A document that does not fit raises, the record before it stays, and a smaller one can be put."""
    with SQLiteStore(path) as store:
        store.swap(USER, Change(None, stored(1), (event(1),)))
        (pages,) = connections[-1].execute("PRAGMA page_count").fetchone()
        connections[-1].execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(sqlite3.OperationalError, match="database or disk is full"):
            store.swap(USER, Change(version(1), stored(2, "x" * 100_000), (event(2),)))
        assert untouched(store)


@pytest.mark.parametrize("denied", ["BEGIN", "COMMIT", "ROLLBACK"])
def test_a_transaction_that_cannot_end_is_dropped_with_its_connection(store, connections, denied):
    """When SQLite refuses even to commit or to roll back, the next call works on a fresh connection."""
    store.close()

    def authorize(action: int, name: str | None, *_: object) -> int:
        return sqlite3.SQLITE_DENY if (action, name) == (sqlite3.SQLITE_TRANSACTION, denied) else sqlite3.SQLITE_OK

    with SQLiteStore(store.path) as again:
        again.load(USER)
        connections[-1].set_authorizer(authorize)
        change = meanwhile(raising(KeyboardInterrupt()) if denied == "ROLLBACK" else lambda: None)
        with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
            again.swap(USER, change)
        assert not is_open(connections[-1])
        assert untouched(again)


def test_an_unknown_table_is_no_unknown_user(store, host):
    """A database that cannot tell raises; it never reads as "no record"."""
    host.execute("DROP TABLE twofa_record")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        store.load(USER)
