"""What can come between the SQLAlchemy stores and the laws: other transactions, and answers that get lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import crashes
import postgresql
import pytest
from crashes import CASES, Judge
from databases import (
    DRIVERS,
    WAITING,
    EmptyDatabase,
    by_every_driver,
    eventually,
    everywhere,
    on_servers,
    outcome_of,
    put,
)
from interleave import Scene, attempt, told
from mariadb import on_mariadb
from postgresql import on_postgresql
from proxy import proxy_to
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from support import USER, World

from twofa import Change
from twofa.stores.sqlalchemy import SQLAlchemyStore, direct
from twofa.testing.samples import event as told_of
from twofa.testing.samples import numbers, stored, version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proxy import Proxy

# --- transactions in the way ---------------------------------------------------------------------------------------


@on_mariadb
@pytest.mark.parametrize("other", ["rolls back", "commits"])
def test_a_deadlock_is_begun_again(other: str, maria: EmptyDatabase) -> None:
    """Whom the database gives up in a deadlock begins again, and then says what is the case."""
    assert put(maria.store, 1)
    with maria.engine().connect() as host, ThreadPoolExecutor(1) as pool:
        for number in range(50):  # so that the database gives up the other one, which has written less
            host.execute(text(f"INSERT INTO twofa_event VALUES (NULL, 'x', {number}, 'x', NULL, '{{}}')"))
        host.execute(text(f"UPDATE twofa_record SET version = '{version(7)}'"))
        swapping = pool.submit(maria.store.swap, USER, Change(version(1), stored(2), (told_of(2),)))
        eventually(lambda: maria.run(WAITING["mariadb"]))
        host.execute(text("SELECT id FROM twofa_outbox_lock FOR UPDATE"))
        host.commit() if other == "commits" else host.rollback()
        assert (other == "rolls back") is swapping.result()
    assert (version(2) if other == "rolls back" else version(7)) == maria.store.load(USER).version


@on_postgresql
def test_a_serialization_failure_is_begun_again(pg: EmptyDatabase) -> None:
    """Whom the database gives up for the sake of another begins again, and then says what is the case."""
    assert put(pg.store, 1)
    careful = pg.open(f"{pg.url}?options=-cdefault_transaction_isolation%3Dserializable")
    with pg.engine().connect() as host, ThreadPoolExecutor(1) as pool:
        # The document alone: the version that is expected is still there, so that it happens after all.
        host.execute(text("UPDATE twofa_record SET document = 'of the host'"))
        swapping = pool.submit(careful.swap, USER, Change(version(1), stored(2), (told_of(2),)))
        eventually(lambda: pg.run(WAITING["postgresql"]))
        host.commit()
        assert swapping.result() is True
    assert (stored(2), [1, 2]) == (pg.store.load(USER), numbers(pg.store))


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        pytest.param("postgresql", SimpleNamespace(sqlstate="40001"), marks=on_postgresql),
        pytest.param("postgresql", SimpleNamespace(pgcode="40P01"), marks=on_postgresql),
        pytest.param("mariadb", SimpleNamespace(args=(1213,)), marks=on_mariadb),
        pytest.param("mariadb", SimpleNamespace(args=(1020,)), marks=on_mariadb),
    ],
)
def test_who_is_given_up_every_time_has_lost_and_who_reads_is_told(
    database: EmptyDatabase, code: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A swap that is given up ten times has certainly not happened; what was to be read is then unknown."""
    tries: list[int] = []

    def give_up(*_: Any) -> Any:
        tries.append(1)
        raise OperationalError("statement", {}, code)

    assert put(database.store, 2, "another")
    monkeypatch.setattr(direct, "is_possible", lambda _: False)
    monkeypatch.setattr(type(database.store._database), "make_swap", give_up)
    assert put(database.store) is False
    assert 10 == len(tries)
    monkeypatch.setattr("twofa.stores.sqlalchemy.database.Database._select_events", give_up)
    with pytest.raises(OperationalError):
        database.store.events(USER)
    assert 20 == len(tries)


@on_postgresql
def test_what_is_given_up_past_sqlalchemy_is_begun_again_by_it(
    pg: EmptyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that the database gave up for the sake of another is begun again; any other failure is raised."""
    assert put(pg.store)
    codes = ["40001", "40P01", "57014"]

    def give_up(*_: Any) -> Any:
        raise OperationalError("statement", {}, SimpleNamespace(sqlstate=codes[0]))

    monkeypatch.setattr(direct, "execute", give_up)
    for number in (1, 2):
        assert stored(number) == pg.store.load(USER)
        assert pg.store.swap(USER, Change(version(number), stored(number + 1), (told_of(number + 1),)))
        codes.pop(0)
    with pytest.raises(OperationalError):
        pg.store.load(USER)
    with pytest.raises(OperationalError):
        pg.store.swap(USER, Change(version(3), None))
    assert [1, 2, 3] == numbers(pg.store)


@everywhere
def test_who_waits_too_long_for_a_lock_is_told_so(database: EmptyDatabase) -> None:
    """A lock that another keeps is no lost swap: the store raises, and changes nothing."""
    assert put(database.store, 1)
    options: dict[str, Any] = {
        "postgresql": {"options": "-clock_timeout=100ms"},
        "mariadb": {"init_command": "SET innodb_lock_wait_timeout = 1"},
        "sqlite": {"timeout": 0.1},
    }
    store = database.open(connect_args=options[database.kind])
    with database.engine().connect() as host:
        host.execute(text("UPDATE twofa_record SET document = 'of the host'"))
        with pytest.raises(OperationalError):
            store.swap(USER, Change(version(1), stored(2), (told_of(2),)))
        host.rollback()
    assert (stored(1), [1]) == (database.store.load(USER), numbers(database.store))
    assert store.swap(USER, Change(version(1), stored(2), (told_of(2),)))


def test_a_constraint_of_the_hosts_is_no_lost_swap(tmp_path: Path, stack: ExitStack) -> None:
    """Only a record that is there makes a creator lose: any other refusal of the database is raised."""
    database = EmptyDatabase("sqlite", tmp_path, stack)
    database.run("CREATE TRIGGER t BEFORE INSERT ON twofa_record BEGIN SELECT RAISE(ABORT, 'not today'); END")
    with pytest.raises(IntegrityError, match="not today"):
        put(database.store)


@on_mariadb
def test_what_is_not_committed_is_not_loaded(maria: EmptyDatabase) -> None:
    """Even where a host's engine reads what may yet be rolled back, a record that is being deleted is still there."""
    careless = maria.open(isolation_level="READ UNCOMMITTED")
    assert put(maria.store)
    with maria.engine().connect() as host:
        host.execute(text("DELETE FROM twofa_record"))
        with careless._engine.connect() as connection:
            assert 0 == connection.scalar(text("SELECT count(*) FROM twofa_record"))
        assert (stored(1), (USER,)) == (careless.load(USER), careless.user_ids())
        host.rollback()


# --- answers that never come ---------------------------------------------------------------------------------------


def commit_of(kind: str, change: Change) -> bytes:
    """Return words of the request after whose answer a change is committed."""
    assert change.new is not None
    return change.new.version.encode() if kind == "postgresql" else b"\x03COMMIT"


@by_every_driver
def test_a_lost_answer_raises_and_a_lost_request_changes_nothing(database: EmptyDatabase, driver: str) -> None:
    """Cut off after the commit or before it, the store says that it does not know; then its pool goes on."""
    assert database.server is not None
    with proxy_to(database.server.address) as proxy, ExitStack():
        store = database.proxied(driver, proxy)
        for number in range(8):  # so that the driver has prepared what it prepares
            assert put(store, number, f"warm {number}")
        for number, cut in enumerate((proxy.cut_after, proxy.cut_before)):
            user_id = f"user-{number}"
            change = Change(None, stored(1 + number), (told_of(number, user_id),))
            cut(commit_of(database.kind, change))
            with pytest.raises(DBAPIError):
                store.swap(user_id, change)
            assert 1 + number == proxy.cuts
            kept = (stored(1), 1) if cut == proxy.cut_after else (None, 0)
            assert kept == (database.store.load(user_id), len(database.store.events(user_id)))
        assert put(store, 3, "user-3")
        proxy.drop_all()
        with pytest.raises(DBAPIError):
            store.load("user-3")
        assert stored(3) == store.load("user-3")


@on_postgresql
def test_a_lost_connection_abandons_none_that_another_thread_holds(pg: EmptyDatabase) -> None:
    """A connection in use when another one is lost goes back to its pool, and is closed there before a new one is made."""
    store = pg.open(pool_size=2, max_overflow=0)
    assert put(store)
    assert stored(1) == store.load(USER)
    with store._engine.connect() as one, store._engine.connect() as other:
        held, lost = (each.connection.driver_connection for each in (one, other))
    with store._engine.connect() as holder:
        if holder.connection.driver_connection is not held:
            held, lost = lost, held
        pid = lost.info.backend_pid
        pg.run(f"SELECT pg_terminate_backend({pid})")
        eventually(lambda: pg.run(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}") == 0)
        with pytest.raises(OperationalError):
            store.load(USER)
        assert 1 == holder.scalar(text("SELECT 1"))
    assert not held.closed
    assert [stored(1), stored(1)] == [store.load(USER), store.load(USER)]
    assert held.closed
    assert 0 == store._engine.pool.checkedout()


@by_every_driver
def test_a_connection_that_is_lost_at_the_first_look_does_not_read_as_missing_tables(
    database: EmptyDatabase, driver: str
) -> None:
    """Where the server is out of reach nobody is told to create tables: the driver's error comes through."""
    assert database.server is not None
    with proxy_to(database.server.address) as proxy:
        store = database.proxied(driver, proxy)
        proxy.cut_before(b"FROM twofa_schema")
        with pytest.raises(DBAPIError):
            store.load(USER)
        assert 1 == proxy.cuts
        assert store.load(USER) is None


@on_postgresql
@pytest.mark.parametrize("case", CASES, ids=[f"{state}: {name}" for state, name in CASES])
def test_an_answer_that_gets_lost_is_found_out(case: tuple[str, str], proxy: Proxy, cut_off: SQLAlchemyStore) -> None:
    """P4: cut after the commit and before the reply, every operation ends as if the reply had come, and is told once."""
    scene = Scene(case[0])
    user_id = scene.user_id
    judge = Judge(scene, case[1])
    if cut_off.load(user_id) is not None:
        cut_off.swap(user_id, Change(cut_off.load(user_id).version, None))
    if scene.stored is not None:
        assert cut_off.swap(user_id, Change(None, scene.stored))
    proxy.cut_after(b"WITH ")
    outcome = attempt(lambda: judge.call(crashes.face_on(cut_off, scene, case[1])))
    assert "OutcomeUnknown" != type(outcome).__name__
    assert "after" == judge.verdict(cut_off.load(user_id), told(cut_off.events(user_id)))


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    """A proxy in front of PostgreSQL."""
    with proxy_to(postgresql.server().address) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def cut_off(proxy: Proxy) -> Iterator[SQLAlchemyStore]:
    """A store on PostgreSQL whose answers can get lost. No statement is prepared, so that each is sent as its text."""
    server = postgresql.server()
    url = server.url(server.new_database(), driver="psycopg", port=proxy.port)
    engine = create_engine(url, connect_args={"prepare_threshold": None})
    store = SQLAlchemyStore(engine)
    store.create_tables()
    yield store
    engine.dispose()


@on_servers
def test_the_outbox_and_the_tables_raise_when_they_are_cut_off(database: EmptyDatabase) -> None:
    """A connection that is lost while a reader looks for writers, or tables are created, reaches the caller."""
    assert put(database.store)
    words = {"postgresql": b"pg_locks", "mariadb": b"SKIP LOCKED"}[database.kind]
    assert database.server is not None
    with proxy_to(database.server.address) as proxy:
        store = database.proxied(DRIVERS[database.kind][0], proxy)
        proxy.cut_before(words)
        with pytest.raises(OperationalError):
            store.events_after()
        assert 1 == len(store.events_after())
        database.run("DROP TABLE twofa_event")
        proxy.cut_before(b"CREATE TABLE")
        with pytest.raises(OperationalError):
            store.create_tables()
        store.create_tables()
        assert () == store.events_after()


@on_postgresql
@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_a_login_is_two_round_trips(driver: str, pg: EmptyDatabase) -> None:
    """On PostgreSQL a load is one round trip and a swap with its event another, commit included."""
    assert pg.server is not None
    with proxy_to(pg.server.address) as proxy:
        store = pg.proxied(driver, proxy)
        world = World("blocking", store=store)
        phone, _ = world.enrol()
        for _ in range(6):  # until the driver has prepared both statements
            world.login(phone)
        before = proxy.round_trips
        world.login(phone)
        assert 2 == proxy.round_trips - before
        assert "CodeReused" == outcome_of(lambda: world.face.verify(USER, phone.code(-1)))
        assert 3 == proxy.round_trips - before
