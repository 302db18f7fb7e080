"""What becomes of the file of an `SQLiteStore`: made, found missing, read by others, copied, and upgraded."""

from __future__ import annotations

import logging
import os
import runpy
import shutil
import sqlite3
import stat
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from support import KEY, Phone

from twofa import KeyRing, TwoFactor
from twofa.errors import UnsupportedRecord
from twofa.stores import Change, SQLiteStore
from twofa.stores.sqlite.__main__ import main
from twofa.testing import FOR_TESTS_ONLY, Clock
from twofa.testing.samples import USER, event, numbers, stored, version

if TYPE_CHECKING:
    from pathlib import Path


def enrol(store: SQLiteStore, *user_ids: str) -> None:
    """Enrol users as an application does."""
    clock = Clock()
    face = TwoFactor(store, keys=KeyRing(KEY), issuer="Example", policy=FOR_TESTS_ONLY, clock=clock)
    for user_id in user_ids:
        setup = face.begin_setup(user_id, account_name=user_id)
        face.confirm_setup(user_id, Phone(setup.uri, clock).code(), handle=setup.handle)


def required(store: SQLiteStore, user_id: str) -> bool:
    """Say whether a login needs a second factor."""
    return TwoFactor(store, keys=KeyRing(KEY), issuer="Example").status(user_id).required


def mode(path: Path) -> int:
    """Return who may read and write a file."""
    return stat.S_IMODE(path.stat().st_mode)


# --- made, or found missing ----------------------------------------------------------------------------------------


def test_an_empty_store_is_made_with_a_warning(path, caplog):
    """Whoever starts in another directory reads in the log that nobody has a second factor there."""
    SQLiteStore(path).close()
    (warning,) = caplog.records
    assert ("twofa.stores", logging.WARNING) == (warning.name, warning.levelno)
    assert f"made an empty store in {path}: nobody has a second factor there" in warning.getMessage()


def test_a_file_of_the_hosts_own_gets_an_empty_store_with_a_warning(path, host, caplog):
    """That the tables are new in a file that is not is worth the same warning."""
    host.execute("CREATE TABLE hosts_own (x)")
    SQLiteStore(path).close()
    assert "made an empty store" in caplog.records[-1].getMessage()


def test_a_store_that_is_there_is_opened_without_a_warning(store, path, caplog):
    """Only the first opening says something."""
    caplog.clear()
    SQLiteStore(path).close()
    SQLiteStore(path, create=False).close()
    assert [] == caplog.records


def test_a_store_in_memory_is_empty_without_a_warning(caplog):
    """There it could not be otherwise."""
    SQLiteStore(":memory:").close()
    assert [] == caplog.records


class Unwilling(logging.Handler):
    """A handler of the host's that fails."""

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("the disk of the log is full")


def test_a_log_that_fails_keeps_no_store_from_opening(path):
    """Logging is the host's code: nothing that it does changes what happens here."""
    logger, handler = logging.getLogger("twofa.stores"), Unwilling()
    logger.addHandler(handler)
    try:
        SQLiteStore(path).close()
    finally:
        logger.removeHandler(handler)
    SQLiteStore(path, create=False).close()


def test_a_file_that_is_missing_is_not_made_against_the_hosts_will(path):
    """With `create=False` a wrong path is an error that names the file, and leaves nothing behind."""
    with pytest.raises(
        FileNotFoundError, match=rf"there is no file {path}: if a new and empty store is meant, open it"
    ):
        SQLiteStore(path, create=False)
    assert not path.exists()


def test_a_file_without_the_tables_is_left_alone_against_the_hosts_will(path, host):
    """With `create=False` a file of another kind is an error, and neither gets tables nor another journal."""
    host.execute("CREATE TABLE hosts_own (x)")
    with pytest.raises(FileNotFoundError, match=rf"{path} has no tables of twofa: is it the right file\?"):
        SQLiteStore(path, create=False)
    assert [("hosts_own",)] == host.execute("SELECT name FROM sqlite_master").fetchall()
    assert ("delete",) == host.execute("PRAGMA journal_mode").fetchone()


def test_a_file_that_is_deleted_meanwhile_is_not_made_anew(store, path):
    """A daemon whose file is taken away gets an error, and not an empty store in its place."""
    store._connections.close_idle()
    path.unlink()
    with pytest.raises(sqlite3.OperationalError, match="unable to open database file"):
        store.load(USER)
    assert not path.exists()


def test_a_link_that_leads_nowhere_yet_is_followed(tmp_path):
    """A file on another volume is made where the link says, as SQLite does."""
    (tmp_path / "volume").mkdir()
    (tmp_path / "app.db").symlink_to(tmp_path / "volume" / "app.db")
    with SQLiteStore(tmp_path / "app.db") as store:
        store.swap(USER, Change(None, stored(1)))
    with SQLiteStore(tmp_path / "volume" / "app.db", create=False) as store:
        assert stored(1) == store.load(USER)


# --- who may read it -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="file modes: this platform has none")
def test_a_new_file_and_its_log_can_be_read_by_their_owner_only(path):
    """The audit trail tells who signs in from where: it is nobody else's on the machine, under any umask."""
    before = os.umask(0)
    try:
        with SQLiteStore(path) as store:
            store.swap(USER, Change(None, stored(1), (event(1),)))
            files = [path, path.with_name("app.db-wal"), path.with_name("app.db-shm")]
            assert [0o600] * 3 == list(map(mode, files))
    finally:
        os.umask(before)


@pytest.mark.skipif(os.name != "posix", reason="file modes: this platform has none")
@pytest.mark.parametrize(("there", "warned"), [(0o644, True), (0o602, True), (0o660, False), (0o600, False)])
def test_a_file_that_everybody_can_read_is_told_of_and_left_so(store, path, caplog, there, warned):
    """The mode of an existing file is the host's affair, and a warning says so; a group may have its reasons."""
    path.chmod(there)
    caplog.clear()
    SQLiteStore(path).close()
    assert there == mode(path)
    said = [record.getMessage() for record in caplog.records]
    assert [
        f"every user of this machine can read or write the audit trail in {path}: its mode is {there:o}, make it 600"
    ] * warned == said


# --- copies --------------------------------------------------------------------------------------------------------

FIFTY = [f"user-{number}" for number in range(50)]


def warnings_of(caplog: pytest.LogCaptureFixture, path: Path) -> list[str]:
    """Open a file, and return which warnings that brings, by their first words after its name."""
    caplog.clear()
    SQLiteStore(path, create=False).close()
    said = [record.getMessage().removeprefix(f"{path} ") for record in caplog.records]
    return [" ".join(each.split()[:3]) for each in said]


@pytest.mark.parametrize("users", [3, 50])
def test_a_copy_without_its_log_is_told_of(path, tmp_path, caplog, users):
    """`cp app.db` of a store in use leaves out whoever enrolled lately: a warning says that commits are missing."""
    copy = tmp_path / "copy.db"
    with SQLiteStore(path) as store:
        enrol(store, *FIFTY[:users])
        shutil.copy(path, copy)
        copy.chmod(0o600)
        assert required(store, FIFTY[0])
    assert ["was in use"] == warnings_of(caplog, copy)
    assert "If this is a copy, the latest commits are not in it" in caplog.text
    with SQLiteStore(copy) as store:
        assert not any(required(store, user_id) for user_id in FIFTY)


def test_nobody_is_warned_of_a_file_that_lacks_nothing(path, tmp_path, caplog):
    """Neither a copy of a store that was closed, nor one with its log, nor a backup, nor the file itself is suspected."""
    with SQLiteStore(path) as store:
        enrol(store, *FIFTY[:3])
        assert [] == warnings_of(caplog, path)
        enrol(store, *FIFTY[3:5])
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", tmp_path / f"with-log.db{suffix}")
        store.backup(tmp_path / "backup.db")
    shutil.copy(path, tmp_path / "closed.db")
    for copy in ("app.db", "with-log.db", "backup.db", "closed.db"):
        (tmp_path / copy).chmod(0o600)
        assert [] == warnings_of(caplog, tmp_path / copy)


def test_a_process_that_goes_on_after_another_has_closed_the_store_marks_the_file_again(path, tmp_path, caplog):
    """The mark is taken away with the last connection of a store, and is back with its next swap."""
    with SQLiteStore(path) as store:
        enrol(store, *FIFTY[:3])
        store._connections.close_idle()  # as before a fork
        assert [] == warnings_of(caplog, path)
        enrol(store, *FIFTY[3:5])
        shutil.copy(path, tmp_path / "copy.db")
        (tmp_path / "copy.db").chmod(0o600)
    assert ["was in use"] == warnings_of(caplog, tmp_path / "copy.db")


def test_a_store_that_is_closed_while_another_writes_does_not_wait(path, host, caplog):
    """To take the mark away is not worth a wait: whoever writes is using the file, and closes it later."""
    with SQLiteStore(path, timeout=60) as store:
        enrol(store, USER)
        host.execute("BEGIN IMMEDIATE")
    host.execute("ROLLBACK")
    with SQLiteStore(path) as store:
        assert required(store, USER)


def test_a_copy_with_its_log_is_whole(path, tmp_path):
    """Copied together, file and log have everything that was committed."""
    with SQLiteStore(path) as store:
        enrol(store, *FIFTY[:3])
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", tmp_path / f"copy.db{suffix}")
    with SQLiteStore(tmp_path / "copy.db", create=False) as store:
        assert all(required(store, user_id) for user_id in FIFTY[:3])


def test_a_backup_has_everything_that_was_committed(path, tmp_path, host):
    """A backup of a store in use is one file, complete, for its owner only, with the host's tables and the trail."""
    host.execute("CREATE TABLE hosts_own (x)")
    host.execute("INSERT INTO hosts_own VALUES (17)")
    with SQLiteStore(path) as store:
        enrol(store, *FIFTY[:3])
        store.swap(USER, Change(None, stored(1), (event(1),)))
        store.backup(tmp_path / "copy.db")
        store.swap(USER, Change(version(1), stored(2)))
    copy = tmp_path / "copy.db"
    assert ["app.db", "copy.db"] == sorted(file.name for file in tmp_path.iterdir() if "-" not in file.name)
    assert not copy.with_name("copy.db-wal").exists()
    assert os.name != "posix" or mode(copy) == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert [(17,)] == connection.execute("SELECT x FROM hosts_own").fetchall()
    with SQLiteStore(copy, create=False) as store:
        assert (stored(1), [1]) == (store.load(USER), numbers(store))
        assert all(required(store, user_id) for user_id in FIFTY[:3])
        assert store.swap(USER, Change(version(1), stored(3)))


def test_a_store_in_memory_can_be_backed_up(path):
    """What is in memory becomes a file."""
    with SQLiteStore(":memory:") as store:
        store.swap(USER, Change(None, stored(1)))
        store.backup(path)
    with SQLiteStore(path, create=False) as store:
        assert stored(1) == store.load(USER)


def test_a_backup_overwrites_nothing(store, path, tmp_path):
    """A file that is there is left alone, the store's own included."""
    (tmp_path / "other").write_text("precious")
    for target in (path, tmp_path / "other"):
        with pytest.raises(FileExistsError, match="is there already: nothing was written, name a new file"):
            store.backup(target)
    assert "precious" == (tmp_path / "other").read_text()
    assert stored(1) == store.load(USER)


def test_a_backup_that_fails_leaves_no_file(store, tmp_path, monkeypatch):
    """Half a backup never has the name of a whole one, and what an earlier one has left is replaced."""
    (tmp_path / "copy.db.part").write_text("left by a backup that was killed")

    def fail(_: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="the disk is full"):
        store.backup(tmp_path / "copy.db")
    assert [] == [file.name for file in tmp_path.iterdir() if file.name.startswith("copy")]


def test_the_command_makes_a_backup(store, path, tmp_path, capsys):
    """`python -m twofa.stores.sqlite backup` copies a file that another process uses."""
    assert 0 == main(["backup", str(path), str(tmp_path / "copy.db")])
    assert f"copied {path} to {tmp_path / 'copy.db'}\n" == capsys.readouterr().out
    with SQLiteStore(tmp_path / "copy.db", create=False) as copy:
        assert stored(1) == copy.load(USER)


def test_the_command_says_why_it_made_no_backup(tmp_path, capsys, monkeypatch):
    """A file that is not there is named, and not made; the exit status tells a script."""
    monkeypatch.setattr(sys, "argv", ["sqlite", "backup", str(tmp_path / "missing.db"), str(tmp_path / "copy.db")])
    monkeypatch.delitem(sys.modules, "twofa.stores.sqlite.__main__")
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("twofa.stores.sqlite", run_name="__main__")
    assert 1 == ended.value.code
    assert f"no backup was made: there is no file {tmp_path / 'missing.db'}" in capsys.readouterr().err
    assert [] == list(tmp_path.iterdir())


# --- schemas -------------------------------------------------------------------------------------------------------

SCHEMA_1 = """
    PRAGMA journal_mode=WAL;
    CREATE TABLE twofa_schema (version INTEGER NOT NULL) STRICT;
    INSERT INTO twofa_schema VALUES (1);
    CREATE TABLE twofa_record
        (user_id TEXT NOT NULL PRIMARY KEY, version TEXT NOT NULL, document TEXT NOT NULL) STRICT;
    CREATE TABLE twofa_event
        (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id TEXT NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,
        source TEXT, detail TEXT NOT NULL) STRICT;
    CREATE INDEX twofa_event_user ON twofa_event (user_id);
    INSERT INTO twofa_record VALUES ('user-42', 'b19f8eda', 'document 1');
    INSERT INTO twofa_event (user_id, at, kind, source, detail)
        VALUES ('user-42', 1800000001, 'code_accepted', '192.0.2.1', '{"number":1}');
"""
"""What the first version made, with a user in it."""


def shape(path: Path) -> dict[str, object]:
    """Return the columns of all tables and indexes."""
    with closing(sqlite3.connect(path)) as connection:
        made = connection.execute("SELECT type, name FROM sqlite_master WHERE name LIKE 'twofa%'").fetchall()
        return {
            name: connection.execute(f"SELECT * FROM pragma_{kind}_info('{name}')").fetchall() for kind, name in made
        }


def test_a_file_of_the_first_schema_is_upgraded(path, tmp_path, host, caplog):
    """Opened by this version, it has the tables that a new file has, and everything that was in it."""
    host.executescript(SCHEMA_1)
    path.chmod(0o600)
    with SQLiteStore(path, create=False) as store:
        assert ("b19f8eda", "document 1") == store.load(USER)
        assert [1] == numbers(store)
    assert [(2, 1)] == host.execute("SELECT version, needs FROM twofa_schema").fetchall()
    assert [] == caplog.records
    SQLiteStore(tmp_path / "new.db").close()
    assert shape(tmp_path / "new.db") == shape(path)


def test_tables_that_a_migration_made_are_taken_as_they_are(path, host, caplog):
    """A host's migrations make tables, and no rows: the first store that comes by says which schema they have."""
    SQLiteStore(path).close()
    path.chmod(0o600)
    host.execute("DELETE FROM twofa_schema")
    caplog.clear()
    with SQLiteStore(path, create=False) as store:
        assert store.swap(USER, Change(None, stored(1)))
    assert [(2, 1, 0)] == host.execute("SELECT version, needs, in_use FROM twofa_schema").fetchall()
    assert [] == caplog.records


def test_an_upgrade_that_fails_leaves_the_schema_before(path, host):
    """An upgrade happens as a whole or not at all, and can be tried again."""
    host.executescript(SCHEMA_1 + "CREATE TABLE twofa_event_at (x);")  # in the way of the index
    with pytest.raises(sqlite3.OperationalError, match="already"):
        SQLiteStore(path)
    assert [(1,)] == host.execute("SELECT * FROM twofa_schema").fetchall()
    host.execute("DROP TABLE twofa_event_at")
    with SQLiteStore(path) as store:
        assert [1] == numbers(store)


def test_a_schema_that_this_version_cannot_use_is_refused_and_left_alone(store, host, path):
    """Tables that need a newer version are neither read nor changed."""
    host.execute("UPDATE twofa_schema SET version = 4, needs = 3")
    before = host.execute("SELECT * FROM sqlite_master").fetchall()
    with pytest.raises(UnsupportedRecord, match="have schema 4, made by a newer version of twofa: upgrade"):
        SQLiteStore(path)
    assert before == host.execute("SELECT * FROM sqlite_master").fetchall()
    assert [(4, 3)] == host.execute("SELECT version, needs FROM twofa_schema").fetchall()


def test_a_newer_schema_that_needs_no_newer_version_is_used(store, host, path):
    """After an upgrade that went wrong the version before can be deployed again, as long as it gets nothing wrong."""
    host.execute("UPDATE twofa_schema SET version = 3")
    host.execute("CREATE INDEX twofa_event_kind ON twofa_event (kind)")
    with SQLiteStore(path, create=False) as older:
        assert stored(1) == older.load(USER)
        assert older.swap(USER, Change(version(1), stored(2), (event(2),)))
    assert [(3, 1)] == host.execute("SELECT version, needs FROM twofa_schema").fetchall()
