"""What can come between the SQLAlchemy stores and the laws: a host's engine, other transactions, and servers that fail."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import crashes
import mariadb
import postgresql
import pytest
from crashes import CASES, Judge
from engines import async_engine_for, engine_for, new_url, open_store
from interleave import Scene, attempt, told
from mariadb import on_mariadb
from postgresql import on_postgresql
from proxy import proxy_to
from racing import NOW, enrolled, face_on, guess_in_parallel, race_processes, race_threads
from sqlalchemy import MetaData, create_engine, create_mock_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import StaticPool
from sqlalchemy.schema import CreateIndex, CreateTable
from support import USER, Clock, World

from twofa import Change
from twofa.stores import SQLiteStore
from twofa.stores.sqlalchemy import AsyncSQLAlchemyStore, SQLAlchemyStore, add_tables
from twofa.stores.sqlalchemy.database import Deadline, may_be_in_transaction
from twofa.stores.sqlalchemy.mysql import LOCKS, MySQL
from twofa.stores.sqlalchemy.store import database_of
from twofa.testing.async_conformance import Blocking, EventLoop
from twofa.testing.racing import at_once, restless_threads
from twofa.testing.samples import event as told_of
from twofa.testing.samples import numbers, stored, version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy import Proxy

PATIENCE = 60.0


class Place:
    """An empty database with the tables, and engines for it that are disposed of in the end."""

    def __init__(self, kind: str, folder: Path, stack: ExitStack) -> None:
        self.kind, self._stack = kind, stack
        if kind == "sqlite":
            self.server, self.url = None, f"sqlite:///{folder / 'app.db'}"
        else:
            self.server = {"postgresql": postgresql, "mariadb": mariadb}[kind].server()
            self.database = self.server.new_database()
            self.url = self.server.url(self.database, driver=DRIVERS[kind][0])
        self.store = self.open()
        self.store.create_tables()

    def engine(self, url: str = "", **options: Any) -> Any:
        """Return a new engine."""
        engine = engine_for(url or self.url, **options)
        self._stack.callback(engine.dispose)
        return engine

    def open(self, url: str = "", **options: Any) -> SQLAlchemyStore:
        """Return a store on an engine of its own."""
        return SQLAlchemyStore(self.engine(url, **options))

    def open_async(self, url: str = "", **options: Any) -> Any:
        """Return an asynchronous store on an engine of its own, called like a blocking one."""
        loop = EventLoop()
        self._stack.callback(loop.close)
        engine = async_engine_for(url or self.async_url(), **options)
        self._stack.callback(lambda: loop.run(engine.dispose()))
        return Blocking(AsyncSQLAlchemyStore(engine), loop)

    def async_url(self) -> str:
        """Return the URL for the asynchronous driver."""
        if self.server is None:
            return self.url.replace("sqlite:", "sqlite+aiosqlite:")
        return str(self.server.url(self.database, driver=DRIVERS[self.kind][1]))

    def proxied(self, driver: str, proxy: Proxy) -> Any:
        """Return a store whose connections go through a proxy."""
        assert self.server is not None
        url = self.server.url(self.database, driver=driver, port=proxy.port)
        return self.open_async(url) if driver in {"asyncpg", "aiomysql"} else self.open(url)

    def run(self, *statements: str) -> Any:
        """Run statements as somebody else; return the first column of the last one's first row."""
        with self.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            results = [connection.execute(text(statement)) for statement in statements]
            return results[-1].scalar() if results[-1].returns_rows else None


DRIVERS = {"postgresql": ("psycopg", "asyncpg"), "mariadb": ("pymysql", "aiomysql")}
KINDS = [
    pytest.param("postgresql", marks=on_postgresql),
    pytest.param("mariadb", marks=on_mariadb),
    pytest.param("sqlite"),
]
everywhere = pytest.mark.parametrize("kind", KINDS)
on_servers = pytest.mark.parametrize("kind", KINDS[:2])
by_every_driver = pytest.mark.parametrize(
    ("kind", "driver"),
    [
        pytest.param("postgresql", "psycopg", marks=on_postgresql),
        pytest.param("postgresql", "asyncpg", marks=on_postgresql),
        pytest.param("mariadb", "pymysql", marks=on_mariadb),
        pytest.param("mariadb", "aiomysql", marks=on_mariadb),
    ],
)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is to be closed after the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def place(kind: str, tmp_path: Path, stack: ExitStack) -> Place:
    """An empty database of the kind that is asked for."""
    return Place(kind, tmp_path, stack)


@pytest.fixture
def pg(tmp_path: Path, stack: ExitStack) -> Place:
    """An empty database on PostgreSQL."""
    return Place("postgresql", tmp_path, stack)


@pytest.fixture
def maria(tmp_path: Path, stack: ExitStack) -> Place:
    """An empty database on MariaDB."""
    return Place("mariadb", tmp_path, stack)


def put(store: Any, number: int = 1, user_id: str = USER) -> bool:
    """Create a record with an event."""
    return bool(store.swap(user_id, Change(None, stored(number), (told_of(number, user_id),))))


def eventually(condition: Callable[[], Any]) -> None:
    """Wait until something that another thread is about to do is seen on the server."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


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
    "one connection": ({"pool_size": 1, "max_overflow": 0}, {}, None),
}


@everywhere
@pytest.mark.parametrize("awaiting", [False, True], ids=["blocking", "awaiting"])
@pytest.mark.parametrize("host", HOSTS)
def test_a_swap_is_committed_when_it_answers_whatever_the_engine(host: str, awaiting: bool, place: Place) -> None:
    """Isolation levels, hooks and settings of a host's engine neither hold a swap back nor undo it."""
    arguments, options, hook = HOSTS[host]
    if host.startswith("READ UNCOMMITTED") and awaiting and place.kind == "postgresql":
        options = {"isolation_level": "REPEATABLE READ"}  # asyncpg has the other three only
    url = place.async_url() if awaiting else place.url
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
        assert stored(1) == place.store.load(USER) == store.load(USER)
        assert store.swap(USER, Change(version(1), stored(2), (told_of(2), told_of(3))))
        assert stored(2) == place.store.load(USER)
        assert [1, 2, 3] == numbers(place.store) == numbers(store)
        assert [1, 2, 3] == [entry.event.detail["number"] for entry in store.events_after()]
        assert not put(store)
        assert not store.swap(USER, Change(version(1), stored(9)))
        assert 1 == store.prune_events(told_of(2).at)
        assert [2, 3] == numbers(place.store)
        assert store.swap(USER, Change(version(2), None))
        assert (None, [], ()) == (place.store.load(USER), numbers(place.store), place.store.user_ids())
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


@everywhere
def test_a_refused_code_stays_counted_when_the_request_is_rolled_back(place: Place) -> None:
    """A host's session that is rolled back after a refused code does not take the count with it."""
    world = World("blocking", store=place.store)
    phone, _ = world.enrol()
    with Session(place.store._engine) as session:
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


# --- tables --------------------------------------------------------------------------------------------------------


def shape_of(place: Place) -> dict[str, Any]:
    """Return what the tables of a database are like."""
    inspector = inspect(place.engine())
    return {
        name: (
            [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(name)],
            inspector.get_pk_constraint(name)["constrained_columns"],
            [index["column_names"] for index in inspector.get_indexes(name)],
            [value for option, value in inspector.get_table_options(name).items() if option.endswith("engine")]
            if place.kind == "mariadb"
            else None,
        )
        for name in sorted(inspector.get_table_names())
        if name.startswith("twofa")
    }


@everywhere
def test_a_hosts_metadata_makes_the_same_tables(place: Place, tmp_path: Path, stack: ExitStack) -> None:
    """Whether the store or the host's migrations make the tables, they are the same, and the store works on them."""
    (tmp_path / "other").mkdir()
    other = Place.__new__(Place)
    Place.__init__(other, place.kind, tmp_path / "other", stack)
    other.run("DROP TABLE twofa_record", "DROP TABLE twofa_event")
    other.run("DROP TABLE twofa_schema")
    if place.kind == "mariadb":
        other.run("DROP TABLE twofa_outbox_lock")
    metadata = MetaData()
    engine = other.engine()
    add_tables(metadata, dialect=engine.dialect.name)

    metadata.create_all(engine)

    assert shape_of(place) == shape_of(other)
    assert [True, True] == [put(other.store), put(other.store, user_id="another")]
    assert 2 == len(other.store.events_after())
    other.store.create_tables()  # there is nothing left to do
    assert stored(1) == other.store.load(USER)


@pytest.mark.parametrize("name", ["postgresql", "mysql"])
def test_the_page_shows_the_tables_as_they_are(name: str) -> None:
    """The statements in docs/ are those that are executed."""
    metadata = MetaData()
    dialect: Any = create_mock_engine(f"{name}://", lambda *_: None).dialect
    tables = add_tables(metadata, dialect=name)
    indexes = sorted(tables.event.indexes, key=lambda index: str(index.name), reverse=True)
    wanted = [CreateTable(tables.record), CreateTable(tables.event), *map(CreateIndex, indexes)]
    wanted += [CreateTable(each) for each in (tables.schema, tables.outbox_lock) if each is not None]
    ddl = " ".join(str(statement.compile(dialect=dialect)) for statement in wanted)
    page = (Path(__file__).parent.parent.parent / "docs" / "stores-sqlalchemy.md").read_text(encoding="utf-8")
    assert "".join(ddl.split()) in "".join(page.split())


@on_servers
def test_the_application_needs_few_rights(place: Place) -> None:
    """Reading and writing rows is all that the store asks for once the tables are there."""
    role = f"app_{place.database}"
    if place.kind == "postgresql":
        place.run(
            f"CREATE ROLE {role} LOGIN",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON twofa_record, twofa_event, twofa_schema TO {role}",
        )
        url = place.url.replace("postgres@", f"{role}@")
    else:
        place.run(
            f"CREATE USER {role}@'%'", f"GRANT SELECT, INSERT, UPDATE, DELETE ON {place.database}.* TO {role}@'%'"
        )
        url = place.url.replace("root@", f"{role}@")
    store = place.open(url)
    assert put(store)
    assert store.swap(USER, Change(version(1), None, (told_of(2),)))
    assert [2] == [entry.event.detail["number"] for entry in store.events_after()]
    assert 1 == store.prune_events(told_of(3).at)
    with pytest.raises(DBAPIError):
        place.run("DROP TABLE twofa_event") or store.create_tables()


@everywhere
def test_any_number_of_processes_may_create_the_tables_at_once(place: Place) -> None:
    """Of many that create the tables at the same instant none fails."""
    place.run("DROP TABLE twofa_record", "DROP TABLE twofa_event", "DROP TABLE twofa_schema")
    if place.kind == "mariadb":
        place.run("DROP TABLE twofa_outbox_lock")
    at_once([place.open().create_tables for _ in range(8)])
    assert put(place.store)
    assert 1 == len(place.store.events_after())


@on_postgresql
def test_tables_in_a_schema_are_others(pg: Place) -> None:
    """A store with a schema has its own tables there, and an outbox that waits for its own swaps only."""
    pg.run('CREATE SCHEMA "Second factor"')
    other = SQLAlchemyStore(pg.engine(), schema="Second factor")
    other.create_tables()
    assert put(other, 1)
    assert pg.store.load(USER) is None
    assert put(pg.store, 2)
    assert ([1], [2]) == (numbers(other), numbers(pg.store))
    with under_way(pg, 3):
        assert 1 == len(other.events_after())
        assert () == pg.store.events_after()


@on_postgresql
def test_a_host_may_translate_schemas(pg: Place) -> None:
    """A host that names its tenants' schemas by an option of its engine finds each tenant's records there."""
    pg.run("CREATE SCHEMA tenant")
    other = SQLAlchemyStore(pg.engine().execution_options(schema_translate_map={None: "tenant"}))
    other.create_tables()
    assert put(other, 1)
    assert (stored(1), None) == (other.load(USER), pg.store.load(USER))
    assert 1 == pg.run("SELECT count(*) FROM tenant.twofa_event")


def test_the_same_file_serves_sqlitestore(tmp_path: Path, stack: ExitStack) -> None:
    """Who starts with `SQLiteStore` may go on with `SQLAlchemyStore` on the same file, and back."""
    with SQLiteStore(tmp_path / "app.db") as before:
        assert put(before)
        after = Place("sqlite", tmp_path, stack).store
        assert (stored(1), [1], 1) == (after.load(USER), numbers(after), len(after.events_after()))
        assert after.swap(USER, Change(version(1), stored(2), (told_of(2),)))
        assert (stored(2), [1, 2]) == (before.load(USER), numbers(before))


@on_mariadb
@pytest.mark.parametrize("setting", ["charset=latin1", "charset=gbk", "sql_mode=NO_BACKSLASH_ESCAPES"])
def test_the_connection_of_the_host_changes_no_byte(setting: str, maria: Place) -> None:
    """Whatever character set and escapes a connection has, users are kept apart and texts come back."""
    store = maria.open(f"{maria.url}?{setting}")
    source = "\\' \u00df\U0001f600 \u7e97'"
    for number, user_id in enumerate(["user", "USER", "user ", "\u00fcser\\", "\u7e97\U0001f600'"]):
        happened = told_of(number, user_id)
        happened = type(happened)(happened.kind, user_id, happened.at, source=source)
        assert store.swap(user_id, Change(None, stored(number, "a\\'\n%s"), (happened,)))
        assert stored(number, "a\\'\n%s") == maria.store.load(user_id) == store.load(user_id)
        assert (happened,) == maria.store.events(user_id) == store.events(user_id)


# --- the outbox: numbers that become visible late ------------------------------------------------------------------


@contextmanager
def under_way(place: Place, number: int, user_id: str = "slow") -> Iterator[Callable[[], None]]:
    """Hold a swap with an event open, its number drawn and not committed; yield what commits it."""
    store = place.open()
    database = store._database
    with store._engine.connect() as connection:
        database.start_afresh(connection)
        if isinstance(database, MySQL):
            database._create_locks(connection)
            database.start_afresh(connection)
        commit = database.commit
        database.commit = lambda _: None  # type: ignore[method-assign]
        assert database.make_swap(connection, user_id, Change(None, stored(number), (told_of(number, user_id),)))

        def end() -> None:
            commit(connection)

        yield end
        connection.rollback()


@on_servers
def test_an_event_that_becomes_visible_late_is_not_missed(place: Place) -> None:
    """With a lower number still uncommitted the outbox hands nothing on, holds nobody up, and then has everything."""
    assert put(place.store, 1)
    cursor = place.store.events_after()[-1].cursor
    with under_way(place, 2) as commit:
        assert put(place.store, 3, "quick")
        assert () == place.store.events_after(cursor)
        assert put(place.store, 4, "quicker")
        assert () == place.open_async().events_after(cursor)
        commit()
        assert [2, 3, 4] == [entry.event.detail["number"] for entry in place.store.events_after(cursor)]


@on_servers
def test_an_event_that_is_rolled_back_holds_nothing_up(place: Place) -> None:
    """A number that was drawn and never used is passed by."""
    with under_way(place, 2):
        assert put(place.store, 3, "quick")
    assert [3] == [entry.event.detail["number"] for entry in place.store.events_after()]


WAITING = {
    "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}


@on_servers
def test_a_reader_that_waits_goes_on_when_the_writer_commits(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that waits for a swap under way hands its event on, before those that were committed earlier."""
    looks: list[int] = []
    monkeypatch.setattr(Deadline, "is_over", property(lambda _: looks.append(1)))
    with under_way(place, 2) as commit, ThreadPoolExecutor(1) as pool:
        assert put(place.store, 3, "quick")
        reading = pool.submit(place.store.events_after)
        eventually(lambda: len(looks) > 2)
        assert not reading.done()
        commit()
        numbers_ = [entry.event.detail["number"] for entry in reading.result()]
    assert [2, 3] == numbers_


@on_mariadb
def test_the_reader_leaves_the_connection_as_it_was(maria: Place) -> None:
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
def test_two_that_find_no_locks_make_them_once(maria: Place) -> None:
    """The rows to lock are made by whoever comes first, and the second is content with them."""
    database = maria.store._database
    with maria.store._engine.connect() as connection:
        for _ in range(2):
            database.start_afresh(connection)
            database._create_locks(connection)
    assert maria.run("SELECT count(*) FROM twofa_outbox_lock") == LOCKS


# --- transactions in the way ---------------------------------------------------------------------------------------


@on_mariadb
@pytest.mark.parametrize("other", ["rolls back", "commits"])
def test_a_deadlock_is_begun_again(other: str, maria: Place) -> None:
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
def test_a_serialization_failure_is_begun_again(pg: Place) -> None:
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
    place: Place, code: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A swap that is given up ten times has certainly not happened; what was to be read is then unknown."""
    tries: list[int] = []

    def give_up(*_: Any) -> Any:
        tries.append(1)
        raise OperationalError("statement", {}, code)

    assert put(place.store, 2, "another")
    monkeypatch.setattr(type(place.store._database), "make_swap", give_up)
    assert put(place.store) is False
    assert 10 == len(tries)
    monkeypatch.setattr("twofa.stores.sqlalchemy.database.Database._select_events", give_up)
    with pytest.raises(OperationalError):
        place.store.events(USER)
    assert 20 == len(tries)


@everywhere
def test_who_waits_too_long_for_a_lock_is_told_so(place: Place) -> None:
    """A lock that another keeps is no lost swap: the store raises, and changes nothing."""
    assert put(place.store, 1)
    options: dict[str, Any] = {
        "postgresql": {"options": "-clock_timeout=100ms"},
        "mariadb": {"init_command": "SET innodb_lock_wait_timeout = 1"},
        "sqlite": {"timeout": 0.1},
    }
    store = place.open(connect_args=options[place.kind])
    with place.engine().connect() as host:
        host.execute(text("UPDATE twofa_record SET document = 'of the host'"))
        with pytest.raises(OperationalError):
            store.swap(USER, Change(version(1), stored(2), (told_of(2),)))
        host.rollback()
    assert (stored(1), [1]) == (place.store.load(USER), numbers(place.store))
    assert store.swap(USER, Change(version(1), stored(2), (told_of(2),)))


def test_a_constraint_of_the_hosts_is_no_lost_swap(tmp_path: Path, stack: ExitStack) -> None:
    """Only a record that is there makes a creator lose: any other refusal of the database is raised."""
    place = Place("sqlite", tmp_path, stack)
    place.run("CREATE TRIGGER t BEFORE INSERT ON twofa_record BEGIN SELECT RAISE(ABORT, 'not today'); END")
    with pytest.raises(IntegrityError, match="not today"):
        put(place.store)


@on_mariadb
def test_what_is_not_committed_is_not_loaded(maria: Place) -> None:
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


def outcome_of(call: Callable[[], Any]) -> str:
    """Return the name of what a call gives or raises."""
    return type(attempt(call)).__name__


def commit_of(kind: str, change: Change) -> bytes:
    """Return words of the request after whose answer a change is committed."""
    assert change.new is not None
    return change.new.version.encode() if kind == "postgresql" else b"\x03COMMIT"


@by_every_driver
def test_a_lost_answer_raises_and_a_lost_request_changes_nothing(place: Place, driver: str) -> None:
    """Cut off after the commit or before it, the store says that it does not know; then its pool goes on."""
    assert place.server is not None
    with proxy_to(place.server.address) as proxy, ExitStack():
        store = place.proxied(driver, proxy)
        for number in range(8):  # so that the driver has prepared what it prepares
            assert put(store, number, f"warm {number}")
        for number, cut in enumerate((proxy.cut_after, proxy.cut_before)):
            user_id = f"user-{number}"
            change = Change(None, stored(1 + number), (told_of(number, user_id),))
            cut(commit_of(place.kind, change))
            with pytest.raises(DBAPIError):
                store.swap(user_id, change)
            assert 1 + number == proxy.cuts
            kept = (stored(1), 1) if cut == proxy.cut_after else (None, 0)
            assert kept == (place.store.load(user_id), len(place.store.events(user_id)))
        assert put(store, 3, "user-3")
        proxy.drop_all()
        with pytest.raises(DBAPIError):
            store.load("user-3")
        assert stored(3) == store.load("user-3")


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
def test_the_outbox_and_the_tables_raise_when_they_are_cut_off(place: Place) -> None:
    """A connection that is lost while a reader looks for writers, or tables are created, reaches the caller."""
    assert put(place.store)
    words = {"postgresql": b"pg_locks", "mariadb": b"SKIP LOCKED"}[place.kind]
    assert place.server is not None
    with proxy_to(place.server.address) as proxy:
        store = place.proxied(DRIVERS[place.kind][0], proxy)
        proxy.cut_before(words)
        with pytest.raises(OperationalError):
            store.events_after()
        assert 1 == len(store.events_after())
        place.run("DROP TABLE twofa_event")
        proxy.cut_before(b"CREATE TABLE")
        with pytest.raises(OperationalError):
            store.create_tables()
        store.create_tables()
        assert () == store.events_after()


@on_postgresql
@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_a_login_is_two_round_trips(driver: str, pg: Place) -> None:
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


# --- races ---------------------------------------------------------------------------------------------------------


@on_servers
@pytest.mark.parametrize("method", ["totp", "recovery_code"])
def test_of_32_threads_one_is_accepted(method: str, place: Place) -> None:
    """P1: 32 threads submit one code at the same instant: one acceptance each time."""
    race_threads(method, place.store, place.open(), 6)


@on_servers
def test_of_8_processes_one_is_accepted(place: Place) -> None:
    """P1: 8 processes submit one code at the same instant: one acceptance each time."""
    race_processes(partial(open_store, place.url), 6)


@on_servers
@pytest.mark.parametrize("factor", ["totp", "recovery_code"])
def test_of_200_parallel_guesses_five_are_answered(factor: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """P2: at a frozen clock exactly five wrong guesses are answered and stored; the rest hear when the wait ends."""
    guess_in_parallel(place.store, "login", factor, monkeypatch)


@on_postgresql
def test_64_clients_for_one_user_are_answered_within_seconds(pg: Place) -> None:
    """A crowd that all write one record gets through in well under the five seconds that a login may take."""
    store = pg.open(pool_size=64)
    assert store.swap(USER, Change(None, stored(0, "0")))
    took: list[float] = []

    def raise_the_count(worker: int) -> None:
        begun = time.monotonic()
        while True:
            held = store.load(USER)
            assert held is not None
            count = int(held.document) + 1
            if store.swap(USER, Change(held.version, stored(1000 * (worker + 1) + count, str(count)))):
                took.append(time.monotonic() - begun)
                return

    at_once([partial(raise_the_count, worker) for worker in range(64)])
    assert "64" == store.load(USER).document
    assert 5 > max(took)


# --- a server that is killed ---------------------------------------------------------------------------------------


@on_postgresql
def test_what_was_acknowledged_outlives_a_killed_server(stack: ExitStack) -> None:
    """P1 and P4: killed in the middle of load, the server has every acknowledged code as used, and no code twice."""
    server = postgresql.OwnPostgreSQL()
    stack.callback(server.stop)
    engine = create_engine(new_url(server, "psycopg"))
    stack.callback(engine.dispose)
    store = SQLAlchemyStore(engine)
    store.create_tables()
    users = [f"user-{number}" for number in range(120)]
    secrets = dict(zip(users, enrolled(store, users), strict=True))
    face = face_on(store, Clock(NOW))
    enough = threading.Semaphore(0)

    def sign_in(user_id: str) -> str:
        try:
            return outcome_of(lambda: face.verify(user_id, secrets[user_id][0]))
        except DBAPIError:  # before anything was done: the record could not be loaded
            return "DBAPIError"
        finally:
            enough.release()

    with ThreadPoolExecutor(8) as pool, restless_threads():
        under_load = [pool.submit(sign_in, user_id) for user_id in users]
        for _ in range(40):
            enough.acquire()
        server.kill()
        first = [future.result() for future in under_load]
    server.restart()
    engine.dispose()
    second = [sign_in(user_id) for user_id in users]

    assert {"Verification", "OutcomeUnknown", "DBAPIError"} >= set(first)
    assert 32 <= first.count("Verification") < len(users)
    for user_id, before, after in zip(users, first, second, strict=True):
        assert (user_id, before, after) != (user_id, "Verification", "Verification")
        assert after in {"Verification", "CodeReused"}
        accepted = [one for one in store.events(user_id) if one.kind == "code_accepted"]
        assert (user_id, 1) == (user_id, len(accepted))
    outbox = Counter(entry.event.user_id for entry in store.events_after(limit=10_000))
    assert {user_id: len(store.events(user_id)) for user_id in users} == outbox
