"""`SQLiteStore` in several processes, across forks, and when a process is killed."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import strength
from sqlite_store import is_open, meanwhile, record

from twofa.stores import Change, SQLiteStore, Stored
from twofa.stores.sqlite import connections as connections_module
from twofa.stores.sqlite import forks
from twofa.testing.samples import USER, event, numbers, stored, version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.queues import SimpleQueue
    from multiprocessing.synchronize import Barrier


# --- several processes -----------------------------------------------------------------------------------------------

PROCESSES = 6
FILES = strength.rounds(5, 20)


def meet(folder: str, barrier: Barrier, number: int, results: SimpleQueue[Any]) -> None:
    """Open each file at the same instant as the other processes do, then create, update and delete against them."""
    outcome: list[Any] = []
    for file in range(FILES):
        barrier.wait(60)
        try:
            with SQLiteStore(Path(folder) / f"{file}.db", timeout=60) as store:
                won = [store.swap(USER, Change(None, stored(number), (event(number),)))]
                barrier.wait(60)
                held = record(store)
                barrier.wait(60)
                won.append(store.swap(USER, Change(held.version, stored(100 + number), (event(100 + number),))))
                barrier.wait(60)
                seen = record(store)
                barrier.wait(60)
                won.append(store.swap(USER, Change(seen.version, None)))
                outcome.append((won, held, seen))
        except Exception as error:
            barrier.abort()
            outcome.append(repr(error))
            break
    results.put(outcome)


def test_of_many_processes_that_open_a_fresh_file_at_once_one_wins(tmp_path):
    """Nobody fails to open a file that others are just making, and each record has one creator, updater, deleter."""
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(PROCESSES), spawn.SimpleQueue()
    processes = [
        spawn.Process(target=meet, args=(str(tmp_path), barrier, number, results), daemon=True)
        for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    outcomes = [results.get() for _ in processes]
    for process in processes:
        process.join(60)
    assert [] == [outcome[-1] for outcome in outcomes if isinstance(outcome[-1], str)]
    for file in zip(*outcomes, strict=True):
        won, held, seen = zip(*file, strict=True)
        assert [1, 1, 1] == [sum(each) for each in zip(*won, strict=True)]
        assert 1 == len(set(held)) == len(set(seen))
        assert held[0] in [stored(number) for number in range(PROCESSES)]
        assert seen[0] in [stored(100 + number) for number in range(PROCESSES)]


# --- forks -----------------------------------------------------------------------------------------------------------

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="os.fork: this platform has none")
# The warning is about threads that hold locks in the parent; no test here leaves one in the child's way.
quiet = pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")


class Child:
    """A forked process that does some work; what it returned or raised can be asked for."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._reader, writer = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            try:
                outcome = work()
            except BaseException as error:
                outcome = error
            finally:
                with os.fdopen(writer, "wb") as pipe:
                    pickle.dump(outcome, pipe)
                os._exit(0)
        os.close(writer)

    def outcome(self) -> Any:
        """Wait for the work to be done; return its value, or its exception."""
        with os.fdopen(self._reader, "rb") as pipe:
            outcome = pickle.load(pipe)
        os.waitpid(self._pid, 0)
        return outcome


def count(store: SQLiteStore, times: int) -> list[str]:
    """Raise the count in the document, trying again after a loss; return the versions that were spent."""
    spent: list[str] = []
    while len(spent) < times:
        held = record(store)
        new = Stored(os.urandom(16).hex(), str(int(held.document) + 1))
        if store.swap(USER, Change(held.version, new, (event(int(held.document)),))):
            spent.append(held.version)
    return spent


@needs_fork
@quiet
def test_parent_and_child_both_go_on_and_lose_nothing(path):
    """Both sides of a fork, and threads on both, count in one record, and the count ends at the sum."""
    with SQLiteStore(path, timeout=60) as store:
        store.swap(USER, Change(None, stored(0, "0")))

        def both() -> list[str]:
            with ThreadPoolExecutor(2) as pool:
                return [each for spent in pool.map(count, [store] * 2, [25] * 2) for each in spent]

        children = [Child(both), Child(both)]
        spent = both() + [each for child in children for each in child.outcome()]
        assert "150" == store.load(USER).document
        assert 150 == len(set(spent))
        assert list(range(150)) == numbers(store)


@needs_fork
@quiet
def test_no_connection_is_open_across_a_fork(path, connections):
    """The child inherits no connection of any store; the parent makes new ones when it needs them."""
    with SQLiteStore(path) as store, SQLiteStore(path) as another:
        assert 0 == sum(map(is_open, connections))
        store.swap(USER, Change(None, stored(1)))
        another.load(USER)
        assert 2 == sum(map(is_open, connections))
        assert 0 == Child(lambda: sum(map(is_open, connections))).outcome()
        assert 0 == sum(map(is_open, connections))
        assert stored(1) == store.load(USER)


DAEMON = """
    import os, sys
    from twofa.stores import Change, SQLiteStore, Stored

    store = SQLiteStore(sys.argv[1])
    store.swap("user", Change(None, Stored("0", "document")))
    if os.fork():
        os._exit(0)
    held = "0"
    for new in map(str.strip, sys.stdin):
        print(store.swap("user", Change(held, Stored(new, "document"))), store.load("user").version, flush=True)
        held = new
"""


@needs_fork
def test_a_daemon_whose_parent_is_gone_loses_no_swap(path):
    """A process that outlives the one that made the store shares the file with others, who close it meanwhile."""
    command = [sys.executable, "-c", textwrap.dedent(DAEMON)]
    with subprocess.Popen(
        [*command, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as parent:
        assert 0 == parent.wait(60)
        for new in ("1", "2", "3"):
            print(new, file=parent.stdin)
            assert f"True {new}\n" == parent.stdout.readline()
            # Whoever closes a file that nobody else seems to have open deletes the log with it.
            with closing(sqlite3.connect(path)) as outsider:
                assert [(new,)] == outsider.execute("SELECT version FROM twofa_record").fetchall()


at_fork: list[Callable[[], object]] = []
if hasattr(os, "register_at_fork"):
    # Registered after the store's hook, and so called before it.
    os.register_at_fork(before=lambda: [do() for do in at_fork])


@needs_fork
@quiet
def test_a_fork_waits_for_a_swap_that_is_under_way(store):
    """A fork in the middle of another thread's swap comes after it: the child sees the swap, and can write."""
    middle, forking = threading.Event(), threading.Event()

    def wait_for_fork() -> None:
        middle.set()
        assert forking.wait(60)

    with ThreadPoolExecutor(1) as pool:
        swap = pool.submit(store.swap, USER, meanwhile(wait_for_fork))
        assert middle.wait(60)
        at_fork.append(forking.set)
        try:
            child = Child(lambda: (store.load(USER), store.swap(USER, Change(version(2), stored(3)))))
        finally:
            at_fork.clear()
        assert swap.result() is True
        assert (stored(2), True) == child.outcome()
    assert stored(3) == store.load(USER)


@needs_fork
@quiet
def test_a_call_during_a_fork_comes_after_it(path):
    """A thread that comes to write while the process is forking waits, and keeps neither parent nor child waiting."""
    with SQLiteStore(path, timeout=60) as store, ThreadPoolExecutor(1) as pool:
        store.swap(USER, Change(None, stored(1)))
        forks.before_fork()
        swap = pool.submit(store.swap, "another", Change(None, stored(2)))
        while store._connections._writing.acquire(blocking=False):
            store._connections._writing.release()
            time.sleep(0)
        with pytest.raises(TimeoutError):
            swap.result(timeout=0.1)
        child = Child(lambda: (store.load(USER), store.swap(USER, Change(version(1), stored(3)))))
        assert (stored(1), True) == child.outcome()
        assert swap.result() is True
        assert [stored(3), stored(2)] == [store.load(USER), store.load("another")]


@needs_fork
@quiet
def test_a_fork_in_the_middle_of_the_same_threads_swap_does_not_hang(store):
    """A signal handler that forks while its own thread writes does not wait for itself."""
    assert store.swap(USER, meanwhile(lambda: Child(lambda: None).outcome()))
    assert stored(2) == store.load(USER)


@needs_fork
@quiet
def test_a_store_in_memory_stays_with_its_process():
    """In a child a store in memory raises, instead of going its own way; the parent goes on."""
    with SQLiteStore(":memory:") as store:
        store.swap(USER, Change(None, stored(1)))
        error = Child(lambda: store.load(USER)).outcome()
        assert (RuntimeError, "a store in memory belongs to the process that made it: use a file across a fork") == (
            type(error),
            str(error),
        )
        assert store.swap(USER, Change(version(1), stored(2)))


@pytest.fixture
def without_hook() -> Iterator[Callable[[], None]]:
    """What happens in a child that a server forked without the hook before."""
    yield forks.after_fork_in_child
    while connections_module.inherited:
        connections_module.inherited.pop().close()


def test_what_is_inherited_all_the_same_is_left_alone(path, connections, without_hook):
    """Connections that a child got after all are neither used nor closed; it makes its own."""
    with SQLiteStore(path) as store:
        store.swap(USER, Change(None, stored(1)))
        without_hook()
        assert stored(1) == store.load(USER)
    assert [False, True, False] == list(map(is_open, connections))  # the constructor's, the inherited, the child's own


def test_a_database_in_memory_is_left_alone_in_a_child(connections, without_hook):
    """A store in memory cannot be used where it was inherited, and its connection is not closed there."""
    with SQLiteStore(":memory:") as store:
        store.swap(USER, Change(None, stored(1)))
        without_hook()
        with pytest.raises(RuntimeError, match="belongs to the process that made it"):
            store.load(USER)
    assert [True] == list(map(is_open, connections))


# --- death -----------------------------------------------------------------------------------------------------------

KILLS = strength.rounds(15, 60)


@needs_fork
@quiet
def test_a_process_killed_in_the_middle_leaves_old_or_new_with_its_event(path):
    """Killed at any time, the record is the last one answered or the next, the trail fits, and the file is sound."""
    random = Random(20260801)
    with SQLiteStore(path, synchronous="NORMAL") as store:
        store.swap(USER, Change(None, stored(0)))
    held, between = 0, 0
    for _ in range(KILLS):
        reader, writer = os.pipe()

        def work(writer: int = writer, held: int = held) -> None:
            with SQLiteStore(path, synchronous="NORMAL") as store:
                for number in range(held, held + 1000):
                    store.swap(USER, Change(version(number), stored(number + 1), (event(number + 1),)))
                    os.write(writer, b".")

        child = os.fork()
        if not child:
            work()
            os._exit(0)
        os.close(writer)
        answered = held
        for _ in range(random.randrange(1, 20)):
            answered += len(os.read(reader, 1))
        for _ in range(random.randrange(5000)):
            pass
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        answered += len(os.read(reader, 1000))
        os.close(reader)
        with closing(sqlite3.connect(path)) as connection:
            assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
        with SQLiteStore(path) as store:
            kept = store.load(USER)
            assert kept in (stored(answered), stored(answered + 1))
            held = int(kept.document.rpartition(" ")[2])
            assert list(range(1, held + 1)) == numbers(store)
            between += held > answered
    assert KILLS < held
