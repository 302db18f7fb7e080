"""What a host brings along, its engine, hooks, settings and mistakes, and what the SQLAlchemy stores do about it."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from databases import EmptyDatabase, everywhere, outcome_of, put
from engines import async_engine_for, engine_for
from postgresql import on_postgresql
from sqlalchemy import MetaData, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import StaticPool
from support import USER, World

from twofa import Change, Event, EventKind
from twofa.stores import UnexpectedAnswer
from twofa.stores.sqlalchemy import AsyncSQLAlchemyStore, SQLAlchemyStore, add_tables, direct
from twofa.stores.sqlalchemy.database import may_be_in_transaction
from twofa.stores.sqlalchemy.store import database_of
from twofa.testing.async_conformance import Blocking, EventLoop
from twofa.testing.samples import event as told_of
from twofa.testing.samples import numbers, stored, version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


# --- engines that a host may have ----------------------------------------------------------------------------------


def begins_by_hand(engine: Any) -> None:
    """As SQLAlchemy's own advice for SQLite has it; elsewhere some hosts do the same for a setting."""

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")


def greets(engine: Any) -> None:
    """A host that runs a statement on each connection that it takes, for a role or a time zone perhaps."""

    @event.listens_for(engine, "engine_connect")
    def connect(connection: Any) -> None:
        connection.execute(text("SELECT 1"))


def sets_at_connect(engine: Any) -> None:
    """A host that sets something on each new connection of the driver, and leaves the commit to its first transaction."""
    event.listen(engine, "connect", lambda connection, _: set_something(engine, connection))


def sets_at_checkout(engine: Any) -> None:
    """The same, each time that a connection is taken from the pool."""
    event.listen(engine, "checkout", lambda connection, _, __: set_something(engine, connection))


def set_something(engine: Any, connection: Any) -> None:
    """Run what begins a transaction in every driver that has no autocommit."""
    cursor = connection.cursor()
    cursor.execute("SET application_name = 'host'" if engine.dialect.name == "postgresql" else "SELECT 1")
    cursor.close()


HOSTS: dict[str, tuple[dict[str, Any], dict[str, Any], Callable[[Any], None] | None]] = {
    "SERIALIZABLE": ({"isolation_level": "SERIALIZABLE"}, {}, None),
    "AUTOCOMMIT": ({"isolation_level": "AUTOCOMMIT"}, {}, None),
    "SERIALIZABLE by option": ({}, {"isolation_level": "SERIALIZABLE"}, None),
    "READ UNCOMMITTED by option": ({}, {"isolation_level": "READ UNCOMMITTED"}, None),
    "AUTOCOMMIT by option": ({}, {"isolation_level": "AUTOCOMMIT"}, None),
    "ping": ({"pool_pre_ping": True}, {}, None),
    "no reset": ({"pool_reset_on_return": None}, {}, None),
    "commit on return": ({"pool_reset_on_return": "commit"}, {}, None),
    "begins by hand": ({}, {}, begins_by_hand),
    "begins by hand, SERIALIZABLE": ({"isolation_level": "SERIALIZABLE"}, {}, begins_by_hand),
    "greets": ({}, {}, greets),
    "sets at connect": ({}, {}, sets_at_connect),
    "sets at checkout": ({}, {}, sets_at_checkout),
    "streams": ({}, {"stream_results": True}, None),
    "yields": ({"execution_options": {"yield_per": 2}}, {}, None),
    "skips rollbacks": ({"skip_autocommit_rollback": True}, {}, None),
    "one connection": ({"pool_size": 1, "max_overflow": 0}, {}, None),
}


@everywhere
@pytest.mark.parametrize("awaiting", [False, True], ids=["blocking", "awaiting"])
@pytest.mark.parametrize("host", HOSTS)
def test_a_swap_is_committed_when_it_answers_whatever_the_engine(
    host: str, awaiting: bool, database: EmptyDatabase
) -> None:
    """Isolation levels, hooks and settings of a host's engine neither hold a swap back nor undo it."""
    arguments, options, hook = HOSTS[host]
    if host.startswith("READ UNCOMMITTED") and awaiting and database.kind == "postgresql":
        options = {"isolation_level": "REPEATABLE READ"}  # asyncpg has the other three only
    url = database.async_url() if awaiting else database.url
    engine = (async_engine_for if awaiting else engine_for)(url, **arguments)
    engine = engine.execution_options(**options)
    if hook is not None:
        hook(engine.sync_engine if awaiting else engine)
    if awaiting:
        loop = EventLoop()
        store: Any = Blocking(AsyncSQLAlchemyStore(engine), loop)
    else:
        store = SQLAlchemyStore(engine)
    try:
        store.create_tables()
        assert put(store)
        assert stored(1) == database.store.load(USER) == store.load(USER)
        assert store.swap(USER, Change(version(1), stored(2), (told_of(2), told_of(3))))
        assert stored(2) == database.store.load(USER)
        assert [1, 2, 3] == numbers(database.store) == numbers(store)
        assert [1, 2, 3] == [entry.event.detail["number"] for entry in store.events_after()]
        assert not put(store)
        assert not store.swap(USER, Change(version(1), stored(9)))
        assert 1 == store.prune_events(told_of(2).at)
        assert [2, 3] == numbers(database.store)
        assert store.swap(USER, Change(version(2), None))
        assert (None, [], ()) == (database.store.load(USER), numbers(database.store), database.store.user_ids())
    finally:
        if awaiting:
            loop.run(engine.dispose())
            loop.close()
        else:
            engine.dispose()


def test_a_driver_that_does_not_tell_may_have_a_transaction_open() -> None:
    """Only a driver that says that there is no transaction is spared the commit."""

    def connection(**driver: Any) -> Any:
        return SimpleNamespace(connection=SimpleNamespace(driver_connection=SimpleNamespace(**driver)))

    assert may_be_in_transaction(connection())
    assert may_be_in_transaction(connection(in_transaction=True))
    assert not may_be_in_transaction(connection(in_transaction=False))


@on_postgresql
@pytest.mark.parametrize(
    "name",
    [
        *("engine_connect", "begin", "commit", "rollback"),
        *("before_cursor_execute", "after_cursor_execute", "before_execute", "after_execute"),
    ],
)
def test_a_hook_hears_of_what_the_store_does(name: str, pg: EmptyDatabase) -> None:
    """Whoever hooks into an engine, at any time, for the connections, transactions or statements, misses none."""
    store = pg.open()
    assert put(store)
    assert stored(1) == store.load(USER)
    assert direct.is_possible(store._engine)
    heard: list[object] = []
    event.listen(store._engine, name, lambda *arguments, **named: heard.append(arguments))
    assert not direct.is_possible(store._engine)
    assert stored(1) == store.load(USER)
    assert heard or name in {"commit", "rollback", "before_execute", "after_execute"}
    assert store.swap(USER, Change(version(1), stored(2)))


@on_postgresql
def test_a_log_of_statements_has_them_all(pg: EmptyDatabase, caplog: pytest.LogCaptureFixture) -> None:
    """Where SQLAlchemy logs its statements, those of the store are among them."""
    store = pg.open()
    assert put(store)
    with caplog.at_level("INFO", logger="sqlalchemy.engine.Engine"):
        assert stored(1) == store.load(USER)
    assert "twofa load" in caplog.text


@on_postgresql
@pytest.mark.parametrize("autocommit", [False, True])
def test_a_connection_comes_back_as_it_was(autocommit: bool, pg: EmptyDatabase) -> None:
    """What the store sets on a connection for its statement is set back, whether that succeeds or fails."""
    options = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
    store = pg.open(pool_size=1, max_overflow=0, **options)
    state = lambda: store._engine.raw_connection().driver_connection.autocommit  # noqa: E731
    assert put(store)
    assert stored(1) == store.load(USER)
    assert autocommit is state()
    pg.run("ALTER TABLE twofa_record RENAME TO gone")
    with pytest.raises(ProgrammingError, match="twofa_record"):
        store.load(USER)
    assert autocommit is state()


def test_only_the_blocking_driver_psycopg_is_asked_directly() -> None:
    """With another driver, or psycopg's asynchronous one, a call goes the ordinary way."""
    assert direct.is_possible(create_engine("postgresql+psycopg://"))
    assert not direct.is_possible(create_async_engine("postgresql+psycopg://").sync_engine)
    assert not direct.is_possible(create_async_engine("postgresql+asyncpg://").sync_engine)


@on_postgresql
@pytest.mark.parametrize(
    ("problem", "closed"), [(KeyboardInterrupt, True), (UnexpectedAnswer, False)], ids=["interrupted", "refused"]
)
def test_a_statement_that_ends_early_leaves_no_connection_behind(
    problem: type[BaseException], closed: bool, pg: EmptyDatabase
) -> None:
    """After an interruption, by a signal for instance, the connection is closed; after a refusal it goes back as it is."""
    store = pg.open(pool_size=1, max_overflow=0)
    assert put(store)
    assert stored(1) == store.load(USER)
    pid = lambda: store._engine.raw_connection().driver_connection.info.backend_pid  # noqa: E731
    before = pid()

    @contextmanager
    def end_early(_: Any) -> Iterator[None]:
        yield
        raise problem

    with pytest.raises(problem):
        direct.execute(store._engine, "SELECT 1", {}, end_early)
    assert 0 == store._engine.pool.checkedout()
    assert closed is (before != pid())


def test_a_server_that_is_not_there_is_an_error_of_sqlalchemys() -> None:
    """Who cannot connect gets the error that SQLAlchemy raises for it."""
    engine = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    with pytest.raises(OperationalError):
        direct.execute(engine, "SELECT 1", {})


@on_postgresql
@pytest.mark.parametrize("hook", [sets_at_connect, sets_at_checkout])
def test_what_a_hook_sets_stays_set(hook: Callable[[Any], None], pg: EmptyDatabase) -> None:
    """The transaction that a hook has begun on the driver's connection is committed, so that its setting stays."""
    engine = pg.engine(pool_size=1, max_overflow=0)
    hook(engine)
    store = SQLAlchemyStore(engine)
    assert put(store)
    assert direct.is_possible(engine)
    assert store.swap(USER, Change(version(1), stored(2)))
    assert stored(2) == store.load(USER) == pg.store.load(USER)
    with engine.connect() as connection:
        assert "host" == connection.scalar(text("SHOW application_name"))


@everywhere
@pytest.mark.parametrize("host", ["no reset", "skips rollbacks"])
def test_a_swap_that_raised_is_undone_whatever_the_pool_does(host: str, database: EmptyDatabase) -> None:
    """A pool that returns connections without a rollback does not let the next call commit what a swap had begun."""
    store = database.open(pool_size=1, max_overflow=0, **HOSTS[host][0])
    assert put(store)
    database.run("ALTER TABLE twofa_event RENAME TO gone")
    with pytest.raises(DBAPIError):
        store.swap(USER, Change(version(1), stored(2), (told_of(2),)))
    database.run("ALTER TABLE gone RENAME TO twofa_event")
    assert put(database.store, 3, "another")  # nothing is locked
    assert (stored(1), [1]) == (store.load(USER), numbers(store))
    assert put(store, 4, "a third")
    assert (stored(1), [1]) == (database.store.load(USER), numbers(database.store))


@everywhere
def test_a_setting_keeps_kinds_of_events_out_of_the_trail(database: EmptyDatabase) -> None:
    """Events of the kinds in `leave_out` are not kept, and all others are, on both faces."""
    left_out = [EventKind.CODE_ACCEPTED, "code_rejected"]
    for number, store in enumerate(
        (
            SQLAlchemyStore(database.engine(), leave_out=left_out),
            database.open_async(leave_out=left_out),
        )
    ):
        user_id = f"user-{number}"
        kinds = [EventKind.SETUP_BEGUN, EventKind.CODE_ACCEPTED, EventKind.CODE_REJECTED, EventKind.DISABLED]
        events = tuple(Event(kind, user_id, told_of(0).at) for kind in kinds)
        assert store.swap(user_id, Change(None, stored(1), events))
        assert [kinds[0], kinds[3]] == [happened.kind for happened in store.events(user_id)]
        assert store.swap(user_id, Change(version(1), None, events[1:2]))
        assert [] == list(store.events(user_id))
    with pytest.raises(ValueError, match="code_acepted"):
        SQLAlchemyStore(database.engine(), leave_out=["code_acepted"])


@everywhere
def test_both_faces_find_the_same_wrong_with_a_database(database: EmptyDatabase) -> None:
    """A table that is missing is found by either face, and nothing else is said before it is there."""
    codes = lambda store: [finding.code for finding in store.diagnose(time.time())]  # noqa: E731
    assert codes(database.store) == codes(database.open_async())
    database.run("DROP TABLE twofa_event")
    assert ["missing_tables"] == codes(database.store) == codes(database.open_async())


@everywhere
def test_a_refused_code_stays_counted_when_the_request_is_rolled_back(database: EmptyDatabase) -> None:
    """A host's session that is rolled back after a refused code does not take the count with it."""
    world = World("blocking", store=database.store)
    phone, _ = world.enrol()
    with Session(database.store._engine) as session:
        session.execute(text("SELECT count(*) FROM twofa_record")).all()
        assert "InvalidCode" == outcome_of(lambda: world.face.verify(USER, phone.wrong_code()))
        session.rollback()
    assert 1 == world.login(phone).failed_before


# --- what is refused -----------------------------------------------------------------------------------------------


def refused(given: Any, store: Any = SQLAlchemyStore) -> str:
    """Return why something is no engine for a store."""
    with pytest.raises(TypeError) as caught:
        store(given)
    return str(caught.value)


def test_only_an_engine_is_taken(tmp_path: Path) -> None:
    """What brings a transaction of the host's, or is of the other kind, is refused with the reason."""
    url = f"sqlite:///{tmp_path / 'app.db'}"
    engine, async_engine = create_engine(url), create_async_engine(url.replace("sqlite", "sqlite+aiosqlite"))
    with engine.connect() as connection, Session(engine) as session:
        for given in (connection, session, sessionmaker(engine), scoped_session(sessionmaker(engine)), None):
            assert "rollback of yours would undo the count" in refused(given)
            assert "takes an Engine" in refused(given)
            assert "takes an AsyncEngine" in refused(given, AsyncSQLAlchemyStore)
    sessions = async_sessionmaker(async_engine)
    for given in (sessions, sessions(), async_engine.connect()):
        assert "rollback of yours would undo the count" in refused(given, AsyncSQLAlchemyStore)
    for given in (async_engine, async_engine.sync_engine):
        assert "give an asynchronous engine to AsyncSQLAlchemyStore" in refused(given)
    for given in (url, engine.url):
        assert "create_engine(url) makes one" in refused(given)
        assert "create_async_engine(url) makes one" in refused(given, AsyncSQLAlchemyStore)
    assert "SQLAlchemyStore" in refused(engine, AsyncSQLAlchemyStore)
    engine.dispose()


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
def test_an_engine_with_one_connection_for_all_is_refused() -> None:
    """A pool that hands everybody the same connection would put swaps into the host's transaction."""
    for engine in (create_engine("sqlite://"), create_engine("sqlite://", poolclass=StaticPool)):
        assert "same connection" in refused(engine)
    assert "same connection" in refused(create_async_engine("sqlite+aiosqlite://"), AsyncSQLAlchemyStore)


def test_a_database_that_nobody_tried_is_refused() -> None:
    """Neither a store nor tables are made for a database whose ways the store does not know."""
    engine = SimpleNamespace(name="oracle")
    with pytest.raises(ValueError, match=r"'oracle'.*postgresql, mysql, mariadb and sqlite"):
        database_of(engine, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'oracle'"):
        add_tables(MetaData(), dialect="oracle")


def test_a_store_shows_no_password() -> None:
    """What a store looks like in a log does not tell how to get into the database."""
    engine = create_engine("postgresql+psycopg://app:hunter2@db/app")
    awaiting = create_async_engine("postgresql+asyncpg://app:hunter2@db/app")
    for store in (SQLAlchemyStore(engine), AsyncSQLAlchemyStore(awaiting)):
        assert type(store).__name__ in repr(store)
        assert "hunter2" not in repr(store)


def test_without_sqlalchemy_the_import_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not installed SQLAlchemy is told how, and nobody else has to have it."""
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    monkeypatch.delitem(sys.modules, "twofa.stores.sqlalchemy")
    with pytest.raises(ImportError, match=r'needs SQLAlchemy 2: pip install "twofa-core\[sqlalchemy\]"'):
        import_module("twofa.stores.sqlalchemy")
    program = "import sys, twofa.stores; sys.exit('sqlalchemy' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", program], check=False).returncode
