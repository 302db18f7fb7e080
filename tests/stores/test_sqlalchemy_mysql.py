"""What is particular to MariaDB and MySQL, without a server: the statements, and what is made of each error.

The tests with a real server are those marked `on_mariadb`. These here run on every machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pymysql import err
from recorded_mysql import MARIADB, MYSQL, RecordedServer
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from support import USER

from twofa import Change
from twofa.stores import UnexpectedAnswer
from twofa.stores.sqlalchemy.mysql import LOCKS
from twofa.stores.trail import Deadline
from twofa.testing.samples import event as told_of
from twofa.testing.samples import stored, version

if TYPE_CHECKING:
    from collections.abc import Callable

LEVEL = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
LOCKED = "SELECT twofa_outbox_lock.id FROM twofa_outbox_lock FOR UPDATE SKIP LOCKED"
UPDATE = Change(version(1), stored(2))


def error(code: int, kind: type[Exception] = err.OperationalError) -> Exception:
    """Return an error as the driver raises it."""
    return kind(code, "as the server says it")


@pytest.fixture
def server() -> RecordedServer:
    """A MariaDB."""
    return RecordedServer()


# --- a swap --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("about", "shares"), [(MARIADB, ["LOCK IN SHARE MODE"]), (MYSQL, ["FOR SHARE", "LOCK IN SHARE MODE"])]
)
def test_a_swap_is_one_transaction(about: str, shares: list[str]) -> None:
    """It has its own isolation level, and a lock that says to readers of the outbox that it is under way."""
    server = RecordedServer(about)
    store = server.store()

    assert store.swap(USER, Change(version(1), stored(2), (told_of(2),)))

    begin, start, lock, update, insert, commit, _ = server.asked
    assert (LEVEL, "START TRANSACTION", "COMMIT") == (begin, start, commit)
    # SQLAlchemy 2.0 has the older of MySQL's two ways to say it.
    assert lock.partition(f"WHERE twofa_outbox_lock.id = CONNECTION_ID() %% {LOCKS} ")[2] in shares
    assert update.startswith("UPDATE twofa_record SET version=")
    assert " WHERE twofa_record.user_id = " in update
    assert " AND twofa_record.version = " in update
    assert insert.startswith("INSERT INTO twofa_event ")


def test_a_swap_without_events_takes_no_lock(server: RecordedServer) -> None:
    """Readers of the outbox need not know of it."""
    assert server.store().swap(USER, UPDATE)
    assert not any("twofa_outbox_lock" in statement for statement in server.asked)


def test_a_swap_that_changes_no_row_is_rolled_back(server: RecordedServer) -> None:
    """Where the version is another one, nothing is written of the event either."""
    store = server.store()
    server.changed = 0

    assert not store.swap(USER, Change(version(1), stored(2), (told_of(2),)))

    assert "ROLLBACK" in server.asked
    assert not any("INSERT" in statement or statement == "COMMIT" for statement in server.asked)


@pytest.mark.parametrize("faster", [False, True], ids=["alone", "another was faster"])
def test_the_rows_to_lock_are_made_by_the_first_swap(faster: bool, server: RecordedServer) -> None:
    """Migrations make tables and no rows; that another process makes the rows at the same time is no error."""
    store = server.store()
    server.rows["FROM twofa_outbox_lock"] = [[], [(1,)]]
    if faster:
        server.errors["INTO twofa_outbox_lock"] = [error(1062, err.IntegrityError)]

    assert store.swap(USER, Change(version(1), stored(2), (told_of(2),)))

    assert 1 == sum("INSERT INTO twofa_outbox_lock" in statement for statement in server.asked)
    assert 2 == server.asked.count("START TRANSACTION")


# --- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1213, 1020], ids=["deadlock", "record changed since last read"])
def test_who_is_given_up_begins_again(code: int, server: RecordedServer) -> None:
    """Nothing was committed, so the whole transaction is repeated; after ten times the swap has lost."""
    store = server.store()
    server.errors["UPDATE"] = [error(code)] * 9
    assert store.swap(USER, UPDATE)
    assert 10 == server.asked.count("START TRANSACTION")
    server.errors["UPDATE"] = [error(code)] * 10
    assert store.swap(USER, UPDATE) is False
    assert 20 == server.asked.count("START TRANSACTION")


def test_a_read_that_is_given_up_every_time_raises(server: RecordedServer) -> None:
    """Nobody is told that there are no events because the database did not say."""
    store = server.store()
    server.errors["FROM twofa_event"] = [error(1213)] * 10
    with pytest.raises(OperationalError):
        store.events(USER)


@pytest.mark.parametrize("code", [1205, 2013, 1290], ids=["lock wait timeout", "connection lost", "read-only"])
def test_any_other_error_is_raised(code: int, server: RecordedServer) -> None:
    """Who waits too long for a lock, or loses the connection, does not know what happened: that is no lost swap."""
    store = server.store()
    server.errors["UPDATE"] = [error(code)]
    with pytest.raises(OperationalError) as raised:
        store.swap(USER, UPDATE)
    assert code == raised.value.orig.args[0]
    assert 1 == server.asked.count("START TRANSACTION")


def test_only_a_record_that_is_there_makes_a_creator_lose(server: RecordedServer) -> None:
    """A duplicate key is a lost swap, and any other constraint, one of the host's perhaps, an error."""
    store = server.store()
    create = Change(None, stored(1))
    server.errors["INTO twofa_record"] = [error(1062, err.IntegrityError), error(4025, err.IntegrityError)]
    assert store.swap(USER, create) is False
    with pytest.raises(IntegrityError):
        store.swap(USER, create)


def test_a_binary_log_of_statements_gets_another_isolation_level(server: RecordedServer) -> None:
    """Where the log takes no writes under READ COMMITTED, this swap and all after it run under REPEATABLE READ."""
    store = server.store()
    server.errors["UPDATE"] = [error(1665)]
    assert store.swap(USER, UPDATE)
    assert store.swap(USER, Change(version(2), stored(3)))
    levels = [statement.partition("LEVEL ")[2] for statement in server.asked if statement.startswith("SET TRANS")]
    assert ["READ COMMITTED", "REPEATABLE READ", "REPEATABLE READ"] == levels


def test_a_transaction_that_a_hook_has_begun_is_committed_first(server: RecordedServer) -> None:
    """The isolation level cannot be set in the middle of one."""
    store = server.store()
    server.errors["SET TRANSACTION"] = [error(1568)]
    assert store.swap(USER, UPDATE)
    assert [LEVEL, "COMMIT", LEVEL, "START TRANSACTION"] == server.asked[:4]
    server.errors["SET TRANSACTION"] = [error(1227)]
    with pytest.raises(DBAPIError):
        store.swap(USER, UPDATE)


# --- reading -------------------------------------------------------------------------------------------------------


def answer_of(read_only: int) -> Callable[[Any], list[tuple[Any, ...]]]:
    """Return how a server answers a load of a user without a record."""
    return lambda asked: [("twofa load", asked["call"], USER.encode(), read_only, None, None)]


def test_a_server_that_is_read_only_is_taken_for_a_replica(server: RecordedServer) -> None:
    """What it holds may be old, so that "no record" is not believed."""
    store = server.store()
    server.rows["FROM (SELECT 1"] = [answer_of(0), answer_of(1)]
    assert store.load(USER) is None
    assert "CAST(@@GLOBAL.read_only AS CHAR) NOT IN ('0', 'OFF')" in server.asked[1]
    with pytest.raises(UnexpectedAnswer, match="a replica has answered"):
        store.load(USER)


@pytest.mark.parametrize(
    ("collation", "read_only", "found"),
    [
        (None, 0, []),
        ("utf8mb4_bin", 0, []),
        ("utf8mb4_general_ci", 0, ["case_insensitive"]),
        (None, 1, ["replica"]),
    ],
)
def test_what_check_finds_wrong(
    collation: str | None, read_only: int, found: list[str], server: RecordedServer
) -> None:
    """A replica is named, and a column that takes Alice and alice for one user."""
    store = server.store()
    server.rows = {
        "DESCRIBE": [[("user_id",)]],
        "read_only": [[(read_only,)]],
        "collation_name": [[(collation,)]],
        "unix_timestamp": [[(1_800_000_000,)]],
    }
    assert found == [finding.code for finding in store.diagnose(1_800_000_000)]
    assert ["clock_differs"] == [finding.code for finding in store.diagnose(1_800_003_600)][-1:]


def test_a_reader_waits_until_it_has_seen_every_row_unlocked(server: RecordedServer) -> None:
    """It skips what is locked, holds nothing while it pauses, and looks again."""
    store = server.store()
    server.rows = {
        "max(": [[(7,)]],
        "SKIP LOCKED": [[(0,), (2,)], [(0,)], [(1,), (2,)]],
        "FROM twofa_outbox_lock": [[(0,), (1,), (2,)]],
    }
    assert () == store.events_after()
    looks = [statement for statement in server.asked if statement == LOCKED or "sleep(" in statement]
    assert [
        LOCKED,
        "SELECT sleep(%(sleep_2)s) AS sleep_1",
        LOCKED,
        "SELECT sleep(%(sleep_2)s) AS sleep_1",
        LOCKED,
    ] == looks
    assert any(statement.startswith("SELECT twofa_event.id") for statement in server.asked)


def test_a_reader_that_waits_too_long_hands_nothing_on(server: RecordedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A swap that hangs holds its event and those after it back, and the reader comes again later."""
    store = server.store()
    monkeypatch.setattr(Deadline, "is_over", property(lambda _: True))
    server.rows = {"max(": [[(7,)]], "SKIP LOCKED": [[(0,)]], "FROM twofa_outbox_lock": [[(0,), (1,)]]}
    assert () == store.events_after()
    assert not any(statement.startswith("SELECT twofa_event.id") for statement in server.asked)


@pytest.mark.parametrize("highest", [None, 7], ids=["no events", "none that is new"])
def test_a_reader_with_nothing_to_read_looks_at_no_lock(highest: int | None, server: RecordedServer) -> None:
    """Most calls of a consumer that polls are one statement."""
    store = server.store()
    server.rows["max("] = [[(highest,)]]
    assert () == store.events_after("7")
    assert not any("twofa_outbox_lock" in statement for statement in server.asked)


# --- tables --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True], ids=["created", "refused"])
def test_tables_are_created_under_a_named_lock(fails: bool, server: RecordedServer) -> None:
    """Of several processes one creates them, and whoever fails lets the others go on."""
    store = server.store()
    server.errors["DESCRIBE"] = [error(1146, err.ProgrammingError)] * 4
    if fails:
        server.errors["CREATE TABLE twofa_event"] = [error(1142)]
        with pytest.raises(DBAPIError):
            store.create_tables()
    else:
        store.create_tables()

    get, release = "SELECT GET_LOCK('twofa.tables', 60)", "SELECT RELEASE_LOCK('twofa.tables')"
    made = [number for number, statement in enumerate(server.asked) if statement.startswith("CREATE")]
    assert server.asked.index(get) < made[0]
    assert made[-1] < server.asked.index(release)


def test_a_lock_is_gone_with_its_connection(server: RecordedServer) -> None:
    """Where the connection was lost there is nothing to release, and the loss is what is raised."""
    store = server.store()
    server.errors["DESCRIBE"] = [error(2013)]
    with pytest.raises(OperationalError):
        store.create_tables()
    assert not any("RELEASE_LOCK" in statement for statement in server.asked)
