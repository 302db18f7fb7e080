"""The SQLAlchemy stores believe only the answer to what they asked: behind PgBouncer, across a fork, on a replica."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import postgresql
import psycopg
import pytest
from databases import EmptyDatabase, put
from mariadb import on_mariadb
from pgbouncer import PgBouncer, pgbouncer
from postgresql import on_postgresql
from sqlalchemy import create_engine, literal
from sqlalchemy.exc import DBAPIError
from support import USER, World

from twofa import Change
from twofa.stores import UnexpectedAnswer
from twofa.stores.confirmation import confirmed
from twofa.stores.sqlalchemy import forks
from twofa.stores.sqlalchemy.answers import Question
from twofa.testing.samples import event as event_number
from twofa.testing.samples import numbers, stored, version

if TYPE_CHECKING:
    from collections.abc import Iterator

NEIGHBOURS = {
    "nothing": "SELECT 1 WHERE {parameters} AND false",
    "a row of nothing": "SELECT {parameters}, NULL, NULL, NULL, NULL, NULL",
    "a one": "SELECT 1 WHERE ({parameters}) IS NOT NULL OR true",
    "another user's absence": "SELECT 'twofa load', '1'::text, 'another', false, NULL, NULL WHERE {parameters} OR true",
    "an earlier answer": "SELECT 'twofa load', 'earlier', 'user-0', false, NULL, NULL WHERE {parameters} OR true",
    "no marker": "SELECT 'load', 'call', 'user-0', false, NULL, NULL WHERE {parameters} OR true",
}
"""What another application may have prepared under the name of a statement of ours, with as many parameters."""

SETTINGS: dict[str, dict[str, Any]] = {
    "psycopg": {"connect_args": {"prepare_threshold": None}},
    "asyncpg": {"connect_args": {"statement_cache_size": 0, "prepared_statement_cache_size": 0}},
}
"""As docs/stores-sqlalchemy.md has them for transaction pooling."""


@pytest.fixture(scope="module")
def bouncer() -> Iterator[PgBouncer]:
    """A PgBouncer with two connections to the server."""
    with pgbouncer(postgresql.server()) as bouncer:
        yield bouncer


def prepare_everything_anew(url: str, statement: str) -> int:
    """Be a neighbour on the only connection: prepare a statement under each name that is taken; return how many."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        prepared = connection.execute("SELECT name, parameter_types::text[] FROM pg_prepared_statements").fetchall()
        connection.execute("DEALLOCATE ALL")
        for name, types in prepared:
            parameters = " AND ".join(f"${number}::text IS NULL" for number, _ in enumerate(types, 1)) or "true"
            taken = f"({', '.join(types)})" if types else ""
            connection.execute(f'PREPARE "{name}" {taken} AS {statement.format(parameters=parameters)}'.encode())
    return len(prepared)


@on_postgresql
@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_a_neighbours_answer_is_not_believed(neighbour: str, driver: str, pg: EmptyDatabase) -> None:
    """P3: an answer to a neighbour's statement of the same name never reads as "no record", nor as a swap that won."""
    assert pg.server is not None
    with pgbouncer(pg.server, connections=1) as bouncer:
        url = bouncer.url(pg.name, driver=driver)
        if driver == "psycopg":
            store: Any = pg.open(url, connect_args={"prepare_threshold": 0})
        else:
            store = pg.open_async(url)
        for number in range(3):  # so that all statements are prepared
            assert put(store, 1, f"user-{number}")
            assert store.swap(f"user-{number}", Change(version(1), stored(2), (event_number(2, f"user-{number}"),)))
            assert stored(2) == store.load(f"user-{number}")
        plain = pg.server.url(pg.name, port=bouncer.port)
        assert 2 < prepare_everything_anew(plain, NEIGHBOURS[neighbour])
        # asyncpg finds some of them out by itself, in its own ways: it knows which columns it was promised.
        refusal = Exception if driver == "asyncpg" else UnexpectedAnswer
        with pytest.raises(refusal) as caught:
            store.load("user-0")
        if neighbour == "nothing":
            assert isinstance(caught.value, UnexpectedAnswer)
            for cause in ("prepare_threshold", "statement_cache_size=0", "across a fork"):
                assert cause in str(caught.value)
        with pytest.raises(refusal):
            store.swap("user-0", Change(version(2), stored(3), (event_number(3, "user-0"),)))
    assert (stored(2), [1, 2]) == (pg.store.load("user-0"), numbers(pg.store, "user-0"))


@on_postgresql
def test_no_login_gets_past_a_neighbours_answer(pg: EmptyDatabase) -> None:
    """P3: whoever asks whether a second factor is needed is told so, or gets an error; and no code is accepted."""
    assert pg.server is not None
    with pgbouncer(pg.server, connections=1) as bouncer:
        store = pg.open(bouncer.url(pg.name, driver="psycopg"), connect_args={"prepare_threshold": 0})
        world = World("blocking", store=store)
        phone, _ = world.enrol()
        world.login(phone)
        assert world.face.status(USER).required
        prepare_everything_anew(pg.server.url(pg.name, port=bouncer.port), NEIGHBOURS["nothing"])
        for call in (lambda: world.face.status(USER), lambda: world.face.verify(USER, phone.code())):
            with pytest.raises(UnexpectedAnswer):
                call()


class Crowd:
    """Clients of one database that load users' records, beside neighbours with statements of their own."""

    def __init__(self, database: EmptyDatabase, bouncer: PgBouncer, driver: str, options: dict[str, Any]) -> None:
        self._database, self._driver, self._options = database, driver, options
        self._url = bouncer.url(database.name, driver=driver)
        self._plain = bouncer.url(database.name, driver="psycopg")
        self._threshold = None if options else 0
        for number in range(10):
            assert put(database.store, number, f"user-{number}")

    def outcomes(self) -> Counter[str]:
        """Let them ask; return how often each came out as what."""
        done = threading.Event()
        with ThreadPoolExecutor(6) as pool:
            neighbours = [pool.submit(self._be_a_neighbour, done) for _ in range(3)]
            outcomes = sum((each.result() for each in [pool.submit(self._ask) for _ in range(3)]), Counter[str]())
            done.set()
            for neighbour in neighbours:
                neighbour.result()
        return outcomes

    def _be_a_neighbour(self, done: threading.Event) -> None:
        engine = create_engine(
            self._plain, isolation_level="AUTOCOMMIT", connect_args={"prepare_threshold": self._threshold}
        )
        while not done.is_set():
            try:
                with engine.connect() as connection:
                    connection.exec_driver_sql("SELECT 1 WHERE %s = 'x' AND %s = 'y'", ("a", "b")).all()
            except DBAPIError:
                continue
        engine.dispose()

    def _ask(self) -> Counter[str]:
        opener = self._database.open if self._driver == "psycopg" else self._database.open_async
        store: Any = opener(self._url, **self._options)
        outcomes: Counter[str] = Counter()
        for turn in range(100):
            user_id = f"user-{turn % 10}"
            try:
                found = store.load(user_id)
            except (UnexpectedAnswer, DBAPIError) as problem:
                outcomes[type(problem).__name__] += 1
            else:
                outcomes["right" if found == stored(turn % 10) else f"wrong: {found}"] += 1
        return outcomes


@on_postgresql
@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_transaction_pooling_with_a_drivers_defaults_never_lies(
    driver: str, pg: EmptyDatabase, bouncer: PgBouncer
) -> None:
    """P3: clients that share connections with their prepared statements get the right answer or an error."""
    outcomes = Crowd(pg, bouncer, driver, {}).outcomes()
    assert [] == [outcome for outcome in outcomes if outcome.startswith("wrong")]
    assert 300 == outcomes.total()


@on_postgresql
@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_transaction_pooling_with_the_settings_of_the_page_works(
    driver: str, pg: EmptyDatabase, bouncer: PgBouncer
) -> None:
    """With statements that are not prepared under a name, clients that share connections get every answer."""
    assert {"right": 300} == Crowd(pg, bouncer, driver, SETTINGS[driver]).outcomes()


@pytest.mark.parametrize("driver", SETTINGS)
def test_the_page_has_the_settings(driver: str) -> None:
    """The settings for transaction pooling that are tested here are those of the page."""
    page = (Path(__file__).parent.parent.parent / "docs" / "stores-sqlalchemy.md").read_text(encoding="utf-8")
    arguments = ", ".join(f'"{name}": {value}' for name, value in SETTINGS[driver]["connect_args"].items())
    assert f"connect_args={{{arguments}}}" in page


@pytest.mark.parametrize(
    "row",
    [
        None,
        (),
        1,
        ("twofa load", "another call", USER, 0, None, None),
        ("twofa load", "this call", "another user", 0, None, None),
        ("twofa update", "this call", USER, 1),
        (None, None, None, None, None, None),
    ],
)
def test_only_the_answer_to_this_call_is_believed(row: Any) -> None:
    """P3: a row about another call, user or question, and no row at all, is refused with the causes it can have."""
    question = Question.named("load", None)
    assert (0, None, None) == question.check(("twofa load", "this call", USER, 0, None, None), "this call", USER)
    with pytest.raises(UnexpectedAnswer, match=r"a proxy pools transactions.*carried across a fork"):
        question.check(row, "this call", USER)


def test_two_schemas_are_two_questions() -> None:
    """The statement of another schema has the same parameters, and cannot be taken for ours."""
    markers = {Question.named("load", schema).marker for schema in (None, "a", "b", "A", "a'b", "Second factor")}
    assert 6 == len(markers)
    assert all(marker.replace(" ", "").isalnum() for marker in markers)


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg", "another"])
def test_a_warning_that_a_commit_may_be_lost_is_heard(driver: str) -> None:
    """What a driver passes on of a cancelled wait for the standby raises, any other notice does not, and none is heard after."""
    listeners: list[Any] = []
    names = {
        "psycopg": ("add_notice_handler", "remove_notice_handler"),
        "asyncpg": ("add_log_listener", "remove_log_listener"),
    }
    methods = names.get(driver, ("listen", "forget"))
    connection = SimpleNamespace(**{methods[0]: listeners.append, methods[1]: listeners.remove})

    def say(routine: str) -> None:
        for listener in listeners:
            if driver == "psycopg":
                listener(SimpleNamespace(source_function=routine))
            else:
                listener(connection, SimpleNamespace(server_source_function=routine))

    with confirmed(connection):
        say("exec_stmt_raise")
    assert [] == listeners
    refused = pytest.raises(UnexpectedAnswer, match="synchronous standby") if driver != "another" else nullcontext()
    with refused, confirmed(connection):
        say("SyncRepWaitForLSN")
    assert [] == listeners


@on_postgresql
def test_a_standby_says_so(pg: EmptyDatabase) -> None:
    """What PostgreSQL answers on a standby is not believed (on a real one: see the tests of replication)."""
    with pytest.raises(UnexpectedAnswer, match="a replica has answered"):
        pg.store._database.stored("yes", None, None)
    pg.store._database.replica = literal("yes")
    assert "replica" in [finding.code for finding in pg.store.diagnose(0)]


# --- fork ----------------------------------------------------------------------------------------------------------

FORKS = """
import os, signal, sys
sys.path[:0] = {path!r}
from sqlalchemy import create_engine, text
from twofa.stores.sqlalchemy import SQLAlchemyStore
from twofa.testing.samples import stored

before = {before!r} == "made before the fork"
engine = create_engine({url!r}, pool_size=1, max_overflow=0)
with engine.connect() as connection:  # stays open in the pool
    first = connection.scalar(text({whoami!r}))
store = SQLAlchemyStore(engine) if before else None
if before:
    assert store.load("user-0") == stored(0)
for _ in range(2):  # four processes
    os.fork()
store = store or SQLAlchemyStore(engine)
outcomes = set()

def end(*_):
    print(sorted(outcomes), flush=True)
    os._exit(0)

signal.signal(signal.SIGALRM, end)  # whoever has lost its answer to another process waits for ever
signal.alarm(60 if before else 3)
for turn in range(200):
    try:
        found = store.load(f"user-{{turn % 10}}")
    except Exception:  # a driver that reads another process's answer may raise anything
        outcomes.add("raised")
    else:
        outcomes.add("right" if found == stored(turn % 10) else "wrong")
if before:
    with engine.connect() as connection:
        outcomes.add("the first" if connection.scalar(text({whoami!r})) == first else "own")
end()
"""


def in_forks(database: EmptyDatabase, before: str) -> list[str]:
    """Return what a parent and its forked children see of ten users through one engine."""
    for number in range(10):
        assert put(database.store, number, f"user-{number}")
    whoami = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT CONNECTION_ID()"}[database.kind]
    script = FORKS.format(path=sys.path, url=database.url, whoami=whoami, before=before)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert "" == done.stderr
    return sorted(done.stdout.splitlines())


def test_a_child_begins_with_an_empty_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a child does right after the fork leaves the open connections of the pool to its parent, and closes none."""
    monkeypatch.setattr(forks, "_engines", WeakSet())
    monkeypatch.setattr(forks, "_inherited", [])
    engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}", pool_size=1, max_overflow=0)
    with engine.connect() as connection:
        parents = connection.connection.driver_connection
    forks.part_at_fork(engine)

    forks._leave_connections_to_the_parent()

    with engine.connect() as connection:
        assert parents is not connection.connection.driver_connection
    assert (1,) == parents.execute("SELECT 1").fetchone()
    engine.dispose()
    parents.close()


@pytest.mark.parametrize(
    "kind", [pytest.param("postgresql", marks=on_postgresql), pytest.param("mariadb", marks=on_mariadb)]
)
def test_an_engine_is_parted_at_a_fork(database: EmptyDatabase) -> None:
    """A child that inherits a store opens connections of its own, and leaves those of its parent alone."""
    seen = in_forks(database, "made before the fork")
    assert {"['own', 'right']": 3, "['right', 'the first']": 1} == Counter(seen)


@on_postgresql
def test_an_engine_that_was_carried_across_a_fork_never_lies(pg: EmptyDatabase) -> None:
    """P3: where a host makes stores after a fork on an engine that was open before it, answers are right or refused."""
    seen = in_forks(pg, "made after the fork")
    assert not any("wrong" in line for line in seen)


# --- replicas ------------------------------------------------------------------------------------------------------


@on_mariadb
def test_a_server_that_is_read_only_is_not_the_primary(maria: EmptyDatabase) -> None:
    """MariaDB's replicas are read-only: what one of them holds may be old, and is not believed."""
    assert put(maria.store)
    with ExitStack() as stack:
        maria.run("SET GLOBAL read_only = 1")
        stack.callback(maria.run, "SET GLOBAL read_only = 0")
        with pytest.raises(UnexpectedAnswer, match="a replica has answered"):
            maria.store.load(USER)
        with pytest.raises(UnexpectedAnswer, match="a replica has answered"):
            maria.open_async().load("nobody")
    assert stored(1) == maria.store.load(USER)
