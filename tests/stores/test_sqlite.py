"""`SQLiteStore` beyond the laws: how it is opened and closed, and what it makes of a file."""

from __future__ import annotations

import gc
import re
import sqlite3
import time
from pathlib import Path

import pytest
from sqlite_store import is_open, meanwhile, raising

from twofa.stores import Change, SQLiteStore
from twofa.stores.sqlite import statements
from twofa.testing.samples import USER, event, numbers, stored, version

# --- opening ---------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("path", ["", "file:app.db", "file::memory:?cache=shared", "app.db/", BytesPath()])
def test_a_path_that_names_no_file_is_refused(path):
    """An empty path would be a private temporary file, a URI a file of that name: each says what to pass instead."""
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


def test_a_folder_that_is_missing_is_named(tmp_path):
    """A file is made, but no folder for it: the error names the file that could not be made."""
    missing = tmp_path / "missing" / "app.db"
    with pytest.raises(FileNotFoundError, match=re.escape(str(missing))):
        SQLiteStore(missing)
    assert not missing.parent.exists()


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path):
    """SQLite's own error does not say which file it means; a note does."""
    with pytest.raises(sqlite3.OperationalError, match="unable to open database file") as caught:
        SQLiteStore(tmp_path)
    assert [f"while opening {tmp_path}"] == caught.value.__notes__


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
        store.swap(USER, Change(None, stored(1)))
        connections[-1].set_trace_callback(asked.append)
        store.swap("another", Change(None, stored(1)))
        connections[-1].set_trace_callback(None)
        assert ("wal",) == connections[-1].execute("PRAGMA journal_mode").fetchone()
    assert ["BEGIN IMMEDIATE", "COMMIT"] == [line for line in asked if not line.startswith("INSERT")]


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
    monkeypatch.setattr(sqlite3, "connect", lambda _, **named: connect(f"{path.as_uri()}?mode=ro", **named))
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


def test_the_tables_are_strict(store, host):
    """No table takes a value of another type, whatever a host writes to it."""
    tables = host.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name LIKE 'twofa%'").fetchall()
    assert {"twofa_record", "twofa_event", "twofa_schema"} == {name for name, _ in tables}
    assert all(sql.endswith("STRICT") for _, sql in tables)
    with pytest.raises(sqlite3.IntegrityError):
        host.execute("UPDATE twofa_record SET document = x'00'")


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("SELECT * FROM twofa_event WHERE user_id = 'x' ORDER BY id", "twofa_event_user (user_id=?)"),
        ("DELETE FROM twofa_event WHERE user_id = 'x'", "twofa_event_user (user_id=?)"),
        ("SELECT id FROM twofa_event WHERE at < 7 ORDER BY at LIMIT 9", "COVERING INDEX twofa_event_at (at<?)"),
    ],
    ids=["read a trail", "erase a trail", "find old events"],
)
def test_events_are_found_by_an_index(store, host, query, index):
    """Reading or erasing one user's trail, or finding what is old, neither scans other events nor sorts."""
    (plan,) = host.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()
    assert plan[3].startswith("SEARCH twofa_event USING ")
    assert plan[3].endswith(index)


def test_a_record_is_found_by_its_key(store, host):
    """To state that a record is absent costs no scan: the record is still found by its key."""
    plan = [row[3] for row in host.execute(f"EXPLAIN QUERY PLAN {statements._LOAD}", {"user_id": USER})]
    assert ["SEARCH record USING INDEX sqlite_autoindex_twofa_record_1 (user_id=?) LEFT-JOIN"] == [
        step for step in plan if "record" in step
    ]


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


# --- closing ---------------------------------------------------------------------------------------------------------


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
