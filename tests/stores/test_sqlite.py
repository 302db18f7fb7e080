"""`SQLiteStore` beyond the laws: opening, locks, failures in the middle, processes, forks, and death."""

from __future__ import annotations

import dis
import gc
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
from datetime import datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

import twofa.stores.sqlite.store as module
from twofa import Event, EventKind
from twofa.errors import UnsupportedRecord
from twofa.stores import Change, SQLiteStore, Stored
from twofa.testing.samples import NOW, USER, event, numbers, stored, version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.queues import SimpleQueue
    from multiprocessing.synchronize import Barrier


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a database will be."""
    return tmp_path / "app.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    """A store in a file, with one record and its event."""
    with SQLiteStore(path, timeout=0) as store:
        assert store.swap(USER, Change(None, stored(1), (event(1),)))
        yield store


@pytest.fixture
def host(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of the host's own to the same file."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        yield connection


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """Every connection that is made from here on."""
    made: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def watched(*args: Any, **named: Any) -> sqlite3.Connection:
        made.append(connect(*args, **named))
        return made[-1]

    monkeypatch.setattr(sqlite3, "connect", watched)
    return made


def is_open(connection: sqlite3.Connection) -> bool:
    """Say whether a connection can be used."""
    try:
        connection.total_changes  # noqa: B018  # raises when it is closed
    except sqlite3.ProgrammingError:
        return False
    return True


class Moment(datetime):
    """A time that does something while it is written: the store is then in the middle of its transaction."""

    do: Callable[[], object]

    def timestamp(self) -> float:
        self.do()
        return super().timestamp()


def meanwhile(do: Callable[[], object], number: int = 2) -> Change:
    """Return the change from version 1 that does something while its event is written."""
    at = Moment.fromtimestamp(NOW.timestamp(), NOW.tzinfo)
    at.do = do
    return Change(version(1), stored(number), (Event(EventKind.CODE_ACCEPTED, USER, at, detail={"number": number}),))


def raising(error: BaseException) -> Callable[[], None]:
    """Return what raises an error."""

    def raise_it() -> None:
        raise error

    return raise_it


def record(store: SQLiteStore) -> Stored:
    """Return the record, which must be there."""
    held = store.load(USER)
    assert held is not None
    return held


def untouched(store: SQLiteStore) -> bool:
    """Say whether the store holds what the fixture put there, and can still be written to."""
    as_it_was = store.load(USER) == stored(1) and numbers(store) == [1]
    return as_it_was and store.swap(USER, Change(version(1), stored(9))) and store.load(USER) == stored(9)


# --- opening -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_may_be_text_or_a_path(path, kind):
    """Either kind of path opens the file, and the repr shows the path only."""
    with SQLiteStore(kind(path)) as store:
        assert store.swap(USER, Change(None, stored(1)))
        assert f"SQLiteStore({str(path)!r})" == repr(store)
    assert path.exists()


def test_a_connection_is_refused_with_the_reason(host):
    """A host that hands its own connection over is told what would go wrong."""
    with pytest.raises(TypeError, match=r"a path, not a connection: .* a rollback of yours would undo the count"):
        SQLiteStore(host)


@pytest.mark.parametrize("path", [b"app.db", 1, None])
def test_what_is_no_path_is_refused(path):
    """A path of the wrong type is a TypeError that names the type."""
    with pytest.raises(TypeError, match=f"path must be a str or a path, not {type(path).__name__}"):
        SQLiteStore(path)


class BytesPath:
    """A path of bytes."""

    def __fspath__(self) -> bytes:
        return b"app.db"


@pytest.mark.parametrize("path", ["", "file:app.db", "file::memory:?cache=shared", BytesPath()])
def test_a_path_that_names_no_file_is_refused(path):
    """An empty path would be a private temporary file, a URI a file of that name: both say what to pass instead."""
    with pytest.raises(ValueError, match="path must name a file, or be ':memory:', not "):
        SQLiteStore(path)


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), 86_401])
def test_a_timeout_is_from_zero_to_a_day(path, timeout):
    """A time-out that SQLite or a lock cannot wait for is refused."""
    with pytest.raises(ValueError, match="timeout must be 0 to 86400 seconds, not "):
        SQLiteStore(path, timeout=timeout)


def test_synchronous_is_full_or_normal(path):
    """OFF, which may corrupt the file, cannot be had."""
    with pytest.raises(ValueError, match="synchronous must be 'FULL' or 'NORMAL', not 'OFF'"):
        SQLiteStore(path, synchronous="OFF")


@pytest.mark.parametrize(("options", "expected"), [({}, 2), ({"synchronous": "NORMAL"}, 1)])
def test_every_connection_is_as_synchronous_as_was_asked(path, connections, options, expected):
    """Commits are durable by default, and only less so where that was asked for, on each connection."""
    with SQLiteStore(path, **options) as store:
        store.swap(USER, Change(None, stored(1)))
        store.swap(USER, meanwhile(lambda: store.load(USER)))
        levels = [each.execute("PRAGMA synchronous").fetchone()[0] for each in connections if is_open(each)]
    assert [expected] * 2 == levels


def test_an_old_sqlite_is_refused_by_name(path, monkeypatch):
    """Before 3.37 there are no STRICT tables; the error names both versions."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.36.0")
    with pytest.raises(RuntimeError, match=r"needs SQLite 3\.37 or newer, and this Python has 3\.36\.0"):
        SQLiteStore(path)
    assert not path.exists()


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    """SQLite's own error does not say which file it means; a note does."""
    missing = tmp_path / "missing" / "app.db"
    with pytest.raises(sqlite3.OperationalError, match="unable to open database file") as caught:
        SQLiteStore(missing)
    assert [f"while opening {missing}"] == caught.value.__notes__


def test_a_file_that_is_no_database_is_named_and_left_alone(path):
    """A file of another kind is refused by name, and not written to."""
    path.write_text("# a list of things to do\n" * 100)
    with pytest.raises(sqlite3.DatabaseError, match="file is not a database") as caught:
        SQLiteStore(path)
    assert [f"while opening {path}"] == caught.value.__notes__
    assert "# a list of things to do\n" * 100 == path.read_text()


def test_a_store_stays_with_its_file_when_the_directory_changes(tmp_path, monkeypatch):
    """A relative path means what it meant when the store was made, also for a daemon that has moved to the root."""
    monkeypatch.chdir(tmp_path)
    with SQLiteStore("app.db") as store:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        store.swap(USER, Change(None, stored(1)))
    with SQLiteStore(tmp_path / "app.db") as again:
        assert stored(1) == again.load(USER)
    assert [] == list((tmp_path / "elsewhere").iterdir())


def test_a_record_outlives_its_store(store, path):
    """Closed and opened again, the file holds the record and the trail."""
    store.close()
    with SQLiteStore(path) as again:
        assert stored(1) == again.load(USER)
        assert [1] == numbers(again)


def test_the_file_is_switched_to_wal_once(path, connections):
    """Only the store asks for WAL, and none of the connections that it makes later."""
    with SQLiteStore(path) as store:
        asked: list[str] = []
        for connection in connections:
            assert not is_open(connection)
        store.load(USER)
        connections[-1].set_trace_callback(asked.append)
        store.swap(USER, Change(None, stored(1)))
        assert ("wal",) == connections[-1].execute("PRAGMA journal_mode").fetchone()
    assert ["BEGIN IMMEDIATE", "COMMIT"] == [line for line in asked if not line.startswith(("INSERT", "PRAGMA"))]


def test_the_switch_to_wal_is_tried_again(path, host, monkeypatch):
    """While another one writes to a file that is not in WAL mode yet, the switch fails at once, and is tried again."""
    host.execute("BEGIN IMMEDIATE")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            host.execute("COMMIT")

    monkeypatch.setattr(time, "sleep", pause)
    with SQLiteStore(path) as store:
        assert store.load(USER) is None
    assert 3 == len(pauses)


def test_the_switch_to_wal_is_tried_for_no_longer_than_the_timeout(path, host):
    """When the other one does not finish in time, SQLite's own error comes out, and the file is as it was."""
    host.execute("CREATE TABLE hosts_own (x)")
    host.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="database is locked"):
        SQLiteStore(path, timeout=0)
    assert [("hosts_own",)] == host.execute("SELECT name FROM sqlite_master").fetchall()


def test_a_switch_to_wal_that_cannot_work_is_not_tried_again(path, host, monkeypatch):
    """Only a busy file is worth another try, and not one that may only be read."""
    host.execute("CREATE TABLE hosts_own (x)")
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda _, **named: connect(f"{path.as_uri()}?mode=ro", uri=True, **named))
    monkeypatch.setattr(time, "sleep", raising(AssertionError("tried again")))
    with pytest.raises(sqlite3.OperationalError, match="readonly database"):
        SQLiteStore(path)


def test_a_connection_that_cannot_be_used_is_closed(path, connections):
    """A file that opens but cannot be read, here since a folder has its log's name, leaves no connection behind."""
    Path(f"{path}-wal").mkdir()
    with pytest.raises(sqlite3.OperationalError) as caught:
        SQLiteStore(path)
    assert [f"while opening {path}"] == caught.value.__notes__
    assert [False] == list(map(is_open, connections))


def test_a_newer_schema_is_refused_and_left_alone(store, host, path):
    """Tables that a newer version has made are neither read nor changed."""
    host.execute("UPDATE twofa_schema SET version = 2")
    before = host.execute("SELECT * FROM sqlite_master").fetchall()
    with pytest.raises(UnsupportedRecord, match="have schema 2, made by a newer version of twofa: upgrade"):
        SQLiteStore(path)
    assert before == host.execute("SELECT * FROM sqlite_master").fetchall()
    assert [(2,)] == host.execute("SELECT version FROM twofa_schema").fetchall()


def test_the_tables_are_strict(store, host):
    """No table takes a value of another type, whatever a host writes to it."""
    tables = host.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name LIKE 'twofa%'").fetchall()
    assert {"twofa_record", "twofa_event", "twofa_schema"} == {name for name, _ in tables}
    assert all(sql.endswith("STRICT") for _, sql in tables)
    with pytest.raises(sqlite3.IntegrityError):
        host.execute("UPDATE twofa_record SET document = x'00'")


def test_the_trail_is_found_by_an_index(store, host):
    """Reading or erasing one user's trail neither scans the others' nor sorts."""
    for query in (
        "SELECT * FROM twofa_event WHERE user_id = ? ORDER BY id",
        "DELETE FROM twofa_event WHERE user_id = ?",
    ):
        plan = host.execute(f"EXPLAIN QUERY PLAN {query}", (USER,)).fetchall()
        assert ["SEARCH twofa_event USING INDEX twofa_event_user (user_id=?)"] == [row[3] for row in plan]


def test_an_event_number_is_never_used_again(store, host):
    """Whoever follows the table by `id` misses nothing, also after the newest events were erased."""
    store.swap(USER, Change(version(1), None))
    store.swap(USER, Change(None, stored(2), (event(2),)))
    assert [(2,)] == host.execute("SELECT id FROM twofa_event").fetchall()


def test_it_lives_beside_the_hosts_own_tables(path, host):
    """The host's tables, versions and numbers stay as they are, and its connection goes on working."""
    host.executescript(
        "CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO user VALUES (1, 'Alice');"
        "PRAGMA user_version = 17; PRAGMA application_id = 4711;"
    )
    with SQLiteStore(path) as store:
        store.swap(USER, Change(None, stored(1), (event(1),)))
        host.execute("INSERT INTO user VALUES (2, 'Bob')")
        store.swap(USER, Change(version(1), None))
    assert [(1, "Alice"), (2, "Bob")] == host.execute("SELECT * FROM user").fetchall()
    assert (17,) == host.execute("PRAGMA user_version").fetchone()
    assert (4711,) == host.execute("PRAGMA application_id").fetchone()
    assert [("ok",)] == host.execute("PRAGMA integrity_check").fetchall()


# --- closing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.load(USER),
        lambda store: store.swap(USER, Change(version(1), stored(2))),
        lambda store: store.events(USER),
        lambda store: store.user_ids(),
    ],
    ids=["load", "swap", "events", "user_ids"],
)
@pytest.mark.parametrize("where", ["file", "memory"])
def test_a_closed_store_says_so(path, where, call):
    """Every method of a closed store raises; closing it again does nothing."""
    store = SQLiteStore(path if where == "file" else ":memory:")
    store.swap(USER, Change(None, stored(1)))
    store.close()
    store.close()
    with pytest.raises(ValueError, match=r"SQLiteStore\(.*\) is closed: make a new one"):
        call(store)


@pytest.mark.parametrize("where", ["file", "memory"])
def test_closing_closes_every_connection(path, connections, where):
    """After `close` no connection is left, idle or made for a second thread."""
    store = SQLiteStore(path if where == "file" else ":memory:")
    store.swap(USER, Change(None, stored(1)))
    if where == "file":
        store.swap(USER, meanwhile(lambda: store.load(USER)))
    assert (2 if where == "file" else 1) == sum(map(is_open, connections))
    store.close()
    assert 0 == sum(map(is_open, connections))


def test_closing_lets_a_call_finish(connections, store):
    """A swap that is under way when the store is closed goes through, and its connection is closed after it."""
    assert store.swap(USER, meanwhile(store.close))
    assert 0 == sum(map(is_open, connections))
    with SQLiteStore(store.path) as again:
        assert stored(2) == again.load(USER)


def test_a_forgotten_store_closes_its_connections(path, connections):
    """A store that goes out of sight without `close` leaves no connection open."""
    store = SQLiteStore(path)
    store.load(USER)
    del store
    gc.collect()
    assert 0 == sum(map(is_open, connections))


# --- locks ---------------------------------------------------------------------------------------------------------


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


def test_a_signal_handler_that_raises_leaves_no_lock_behind(path):
    """Wherever a handler can raise in a swap, which is after any call that it makes, the next thread can write."""

    class Struck(BaseException):
        """What a handler raises, such as a worker's time limit."""

    def strike(after: int) -> bool:
        """Raise after that many calls from this module in a swap; the interpreter looks for signals after each one."""
        left, called = after, set()

        def trace(frame, what, _argument):
            nonlocal left
            if frame.f_code.co_filename != module.__file__:
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


# --- failures in the middle ----------------------------------------------------------------------------------------


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


# --- several processes ---------------------------------------------------------------------------------------------

PROCESSES = 6
FILES = 20


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


# --- forks ---------------------------------------------------------------------------------------------------------

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="os.fork is missing: there is nothing to be inherited")
# The warning is about threads that hold locks in the parent; no test here leaves one in the child's way.
forks = pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")


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
@forks
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
@forks
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
@forks
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
@forks
def test_a_call_during_a_fork_comes_after_it(path):
    """A thread that comes to write while the process is forking waits, and keeps neither parent nor child waiting."""
    with SQLiteStore(path, timeout=60) as store, ThreadPoolExecutor(1) as pool:
        store.swap(USER, Change(None, stored(1)))
        module._before_fork()
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
@forks
def test_a_fork_in_the_middle_of_the_same_threads_swap_does_not_hang(store):
    """A signal handler that forks while its own thread writes does not wait for itself."""
    assert store.swap(USER, meanwhile(lambda: Child(lambda: None).outcome()))
    assert stored(2) == store.load(USER)


@needs_fork
@forks
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
    yield module._after_fork_in_child
    while module._inherited:
        module._inherited.pop().close()


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


# --- death ---------------------------------------------------------------------------------------------------------

KILLS = 60


@needs_fork
@forks
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
