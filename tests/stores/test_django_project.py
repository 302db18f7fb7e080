"""`DjangoStore` in a project: its connections, its tables, `manage.py check` and `manage.py twofa`."""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import os
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("django", reason="Django is not installed")

import django_project
import postgresql
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.core.signals import request_finished
from django.db import OperationalError, ProgrammingError, connections, transaction
from django.test import override_settings
from django_project import sql
from pgbouncer import pgbouncer
from postgresql import on_postgresql
from support import FAST, KEY, Clock, Phone

from twofa import AsyncTwoFactor, KeyRing, TwoFactor
from twofa.errors import InvalidCode, UnsupportedRecord
from twofa.stores import Change, SQLiteStore, ThreadedStore
from twofa.stores.django import DjangoStore
from twofa.stores.django.checks import check_database
from twofa.stores.protocol import UnexpectedAnswer
from twofa.stores.sqlite import forks
from twofa.stores.trail import Deadline
from twofa.testing.samples import USER, event, numbers, stored, version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

django_project.set_up()


@pytest.fixture
def alias() -> Iterator[str]:
    """A database in an SQLite file."""
    alias = django_project.new_sqlite()
    yield alias
    django_project.forget(alias)


@pytest.fixture
def store(alias: str) -> Iterator[DjangoStore]:
    """A store there, with one record and its event."""
    store = DjangoStore(alias)
    assert store.swap(USER, Change(None, stored(1), (event(1),)))
    yield store
    store.close()


@pytest.fixture
def server() -> Iterator[Callable[..., str]]:
    """Make new databases on PostgreSQL."""
    made: list[str] = []

    def new(*, options: dict[str, Any] | None = None, **named: Any) -> str:
        running = postgresql.server()
        url = running.url(running.new_database())
        made.append(django_project.new_database(**django_project.of_postgresql(url, **(options or {})) | named))
        return made[-1]

    yield new
    for alias in made:
        django_project.forget(alias)


def opened(store: DjangoStore) -> list[Any]:
    """Return the driver's connections that the store keeps."""
    return [connection.connection for connection in store._connections._idle]


# --- connections ----------------------------------------------------------------------------------------------------


def test_a_rollback_of_the_view_undoes_no_count(alias: str) -> None:
    """P2: five refused codes, each in a view whose transaction is rolled back, start a wait."""
    clock = Clock()
    two_factor = TwoFactor(DjangoStore(alias), keys=KeyRing(KEY), issuer="Example", policy=FAST, clock=clock)
    setup = two_factor.begin_setup(USER, account_name="a")
    phone = Phone(setup.uri, clock)
    two_factor.confirm_setup(USER, phone.code(), handle=setup.handle)
    clock.advance(30)
    for _ in range(5):
        with pytest.raises(InvalidCode), transaction.atomic(alias):
            two_factor.verify(USER, phone.wrong_code())
    assert two_factor.status(USER).retry_at is not None


def test_a_transaction_that_has_written_is_named(alias: str) -> None:
    """On SQLite, where a view of the same database keeps the store from writing, the error says why."""
    store = DjangoStore(alias)
    store.load(USER)
    connections.settings[alias]["OPTIONS"]["timeout"] = 0
    store.close()
    with transaction.atomic(alias):
        sql(alias, "DELETE FROM twofa_record")
        with pytest.raises(OperationalError, match="locked") as raised:
            store.swap(USER, Change(None, stored(1)))
    assert "Give twofa a database of its own" in raised.value.__notes__[0]
    with closing(sqlite3.connect(connections.settings[alias]["NAME"])) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="locked") as raised:
            store.swap(USER, Change(None, stored(1)))
    assert not hasattr(raised.value, "__notes__"), "nobody here has a transaction"


@pytest.mark.parametrize(("age", "kept"), [(0, 0), (600, 1), (None, 1)])
def test_connections_live_as_long_as_the_projects_own(alias: str, age: int | None, kept: int) -> None:
    """What is older than `CONN_MAX_AGE` is closed when a request ends, and the store goes on."""
    connections.settings[alias]["CONN_MAX_AGE"] = age
    store = DjangoStore(alias)
    store.load(USER)
    assert 1 == len(opened(store))
    request_finished.send(None)
    assert kept == len(opened(store))
    assert store.load(USER) is None


def test_a_project_without_autocommit(alias: str) -> None:
    """`AUTOCOMMIT: False` in DATABASES leaves nothing of the store's uncommitted."""
    connections.settings[alias]["AUTOCOMMIT"] = False
    assert DjangoStore(alias).swap(USER, Change(None, stored(1)))
    assert [(USER,)] == sql(alias, "SELECT user_id FROM twofa_record")


def end_connections(alias: str) -> None:
    """Let the server end every connection but the project's own."""
    others = "pid <> pg_backend_pid() AND datname = current_database()"
    sql(alias, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")


@on_postgresql
def test_after_a_lost_connection_the_next_call_has_another(server: Callable[..., str]) -> None:
    """One call fails when the server ends the connections, and none after it, however many were idle."""
    store = DjangoStore(server())
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(store.load, [USER] * 8))
    end_connections(store.using)
    with pytest.raises(OperationalError):
        store.load(USER)
    assert store.load(USER) is None


@on_postgresql
def test_health_checks_find_a_lost_connection(server: Callable[..., str]) -> None:
    """With `CONN_HEALTH_CHECKS` no call fails that comes after the end of a request."""
    store = DjangoStore(server(CONN_HEALTH_CHECKS=True))
    assert store.swap(USER, Change(None, stored(1)))
    request_finished.send(None)
    assert 1 == len(opened(store))
    end_connections(store.using)
    assert store.swap(USER, Change(version(1), stored(2)))


@on_postgresql
def test_a_pool_of_djangos_has_its_connections_back_at_once(server: Callable[..., str]) -> None:
    """With `OPTIONS["pool"]` one connection serves the store and the project, one after the other."""
    pytest.importorskip("psycopg_pool", reason="psycopg_pool is not installed")
    alias = server(options={"pool": {"min_size": 1, "max_size": 1, "timeout": 5}}, CONN_MAX_AGE=0)
    store = DjangoStore(alias)
    connections[alias].close()
    for _ in range(2):
        assert store.load(USER) is None
        assert [(0,)] == sql(alias, "SELECT count(*) FROM twofa_record")
        connections[alias].close()
    connections[alias].close_pool()


def test_a_forked_child_leaves_the_connections_to_its_parent(store: DjangoStore) -> None:
    """They are closed before the fork, and one in use at that moment is neither used nor closed in the child."""
    forks.before_fork()
    forks.gate.open()
    assert [] == opened(store)
    store.load(USER)
    (mine,) = opened(store)
    store._connections.adopt()
    assert [] == opened(store)
    assert mine.execute("SELECT 1").fetchone(), "it is still open"
    mine.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="os.fork: this platform has none")
@on_postgresql
def test_both_sides_of_a_fork_go_on(server: Callable[..., str]) -> None:
    """A server that forks after the first call: parent and child have connections of their own, and both write."""
    store = DjangoStore(server())
    assert store.load(USER) is None
    child = os.fork()
    if not child:
        done = False
        with suppress(BaseException):
            done = all(store.swap(f"child-{number}", Change(None, stored(number))) for number in range(20))
        os._exit(not done)
    assert all(store.swap(f"parent-{number}", Change(None, stored(number))) for number in range(20))
    assert 0 == os.waitpid(child, 0)[1]
    assert 40 == len(store.user_ids())


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ({"ENGINE": "django.db.backends.dummy"}, "take SQLAlchemyStore"),
        ({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}, "take MemoryStore"),
    ],
)
def test_a_database_that_cannot_serve_is_refused(named: dict[str, Any], why: str) -> None:
    """The first call says which ones can."""
    alias = django_project.add_database("unfit", **named)
    with pytest.raises(ImproperlyConfigured, match=why):
        DjangoStore(alias).load(USER)
    assert "DjangoStore('unfit')" == repr(DjangoStore(alias))


def test_without_django(monkeypatch: pytest.MonkeyPatch) -> None:
    """The import says what to install."""
    monkeypatch.setitem(sys.modules, "django", None)
    monkeypatch.delitem(sys.modules, "twofa.stores.django")
    with pytest.raises(ImportError, match=r'needs Django 5.2: pip install "twofa-core\[django\]"'):
        importlib.import_module("twofa.stores.django")


@on_postgresql
def test_nothing_in_the_settings_keeps_postgresql_from_serving(server: Callable[..., str]) -> None:
    """`ATOMIC_REQUESTS` holds up nothing there: the check has nothing to say, and neither has the database."""
    alias = server(ATOMIC_REQUESTS=True)
    with project("django_security:two_factor"):
        import django_security

        django_security.two_factor._store, kept = DjangoStore(alias), django_security.two_factor._store
        try:
            assert {} == found()
            assert {} == found(checks.Tags.database, databases=[alias])
        finally:
            django_security.two_factor._store = kept


# --- tables ---------------------------------------------------------------------------------------------------------


def test_the_migrations_make_what_the_models_say() -> None:
    """`makemigrations` finds nothing to do."""
    call_command("makemigrations", "twofa", check=True, dry_run=True, verbosity=0)


def test_missing_tables_and_those_of_a_newer_version(alias: str) -> None:
    """Each call says what to do; a marker that a test's flush took away is written again."""
    bare = django_project.add_database("bare", **django_project.of_sqlite(django_project.new_file()))
    with pytest.raises(RuntimeError, match=r"manage\.py migrate"):
        DjangoStore(bare).load(USER)
    assert ["missing_tables"] == [finding.code for finding in DjangoStore(bare).diagnose(0)]
    assert DjangoStore(alias).load(USER) is None
    assert [(2, 1, 0)] == sql(alias, "SELECT version, needs, in_use FROM twofa_schema")
    sql(alias, "UPDATE twofa_schema SET needs = 3")
    with pytest.raises(UnsupportedRecord, match="newer version"):
        DjangoStore(alias).load(USER)
    sql(alias, "DROP TABLE twofa_record")
    sql(alias, "UPDATE twofa_schema SET needs = 1")
    with pytest.raises(OperationalError, match="twofa_record"):
        DjangoStore(alias).load(USER)
    sql(alias, "ALTER TABLE twofa_schema RENAME COLUMN needs TO wants", "CREATE TABLE twofa_record (x)")
    with pytest.raises(OperationalError, match="needs"):
        DjangoStore(alias).load(USER)


def test_the_models_are_for_reports(store: DjangoStore) -> None:
    """A project can read what the store has written, as of any other model."""
    from twofa.stores.django.models import Event, Record, Schema

    assert [USER] == [str(record) for record in Record.objects.using(store.using)]
    kinds = [str(each) for each in Event.objects.using(store.using).filter(user_id=USER)]
    assert [f"{event(1).kind} of {USER}"] == kinds
    assert ["shape 2"] == [str(shape) for shape in Schema.objects.using(store.using)]


def test_the_file_serves_the_other_stores(store: DjangoStore) -> None:
    """The tables are those of `SQLiteStore`: a program without Django reads and writes them."""
    with SQLiteStore(connections.settings[store.using]["NAME"], create=False) as other:
        assert stored(1) == other.load(USER)
        assert other.swap(USER, Change(version(1), stored(2), (event(2),)))
    assert stored(2) == store.load(USER)
    assert [1, 2] == numbers(store)


@on_postgresql
def test_the_tables_on_postgresql(server: Callable[..., str]) -> None:
    """User ids are compared by their bytes, and no index is there that nobody uses."""
    alias = server()
    indexes = sql(alias, "SELECT indexname FROM pg_indexes WHERE tablename LIKE 'twofa_%' ORDER BY 1")
    assert ["twofa_event_at", "twofa_event_pkey", "twofa_event_user", "twofa_record_pkey", "twofa_schema_pkey"] == [
        name for (name,) in indexes
    ]
    collations = sql(alias, "SELECT collation_name FROM information_schema.columns WHERE column_name = 'user_id'")
    assert [("C",), ("C",)] == collations


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


@on_postgresql
def test_a_lost_race_is_no_error_at_a_higher_isolation_level(server: Callable[..., str]) -> None:
    """At REPEATABLE READ one of many updaters wins, and the others are told that they lost."""
    store = DjangoStore(server(options={"options": r"-c default_transaction_isolation=repeatable\ read"}))
    assert [("repeatable read",)] == sql(store.using, "SHOW transaction_isolation")
    for number in range(8):
        store.swap(f"user-{number}", Change(None, stored(0)))
        with ThreadPoolExecutor(8) as threads:
            changes = [Change(version(0), stored(each)) for each in range(1, 9)]
            assert [True] == list(filter(None, threads.map(partial(store.swap, f"user-{number}"), changes)))


@on_postgresql
def test_what_fails_otherwise_raises(server: Callable[..., str]) -> None:
    """An error that does not say "lost" is none."""
    store = DjangoStore(server())
    sql(store.using, "ALTER TABLE twofa_event DROP COLUMN at")
    with pytest.raises(ProgrammingError, match='column "at"'):
        store.swap(USER, Change(None, stored(1), (event(1),)))


@on_postgresql
def test_a_reader_of_the_outbox_waits_for_a_swap_that_is_under_way(
    server: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is handed on that stands behind an event whose swap has not ended; afterwards both are, in order."""
    store = DjangoStore(server())
    assert store.swap("first", Change(None, stored(1), (event(1, "first"),)))
    looks: list[int] = []
    with transaction.atomic(store.using):
        # Somebody who has drawn a number, and takes time.
        sql(
            store.using, "INSERT INTO twofa_event (user_id, at, kind, detail) VALUES ('slow', 0, 'code_accepted', '{}')"
        )
        assert store.swap("quick", Change(None, stored(2), (event(2, "quick"),)))
        monkeypatch.setattr(Deadline, "is_over", property(lambda _: looks.append(1) or len(looks) > 2))
        assert () == store.events_after()
    assert 3 == len(looks)
    entries = store.events_after()
    assert ["first", "slow", "quick"] == [entry.event.user_id for entry in entries]
    assert () == store.events_after(entries[-1].cursor)
    sql(store.using, "ALTER TABLE twofa_event ALTER COLUMN id SET CACHE 10")
    with pytest.raises(RuntimeError, match="SET CACHE 1"):
        store.events_after()


@on_postgresql
@pytest.mark.parametrize("options", [{}, {"server_side_binding": True}])
def test_behind_pgbouncer(server: Callable[..., str], options: dict[str, Any]) -> None:
    """In transaction pooling, as Django connects by default, many threads share two connections and mix up nothing."""
    alias = server()
    with pgbouncer(postgresql.server()) as bouncer:
        named = {**connections.settings[alias], "PORT": str(bouncer.port), "OPTIONS": options}
        store = DjangoStore(django_project.add_database("bouncer", **named))

        def live(number: int) -> Any:
            user_id = f"user-{number}"
            assert store.load(user_id) is None
            assert store.swap(user_id, Change(None, stored(1), (event(1, user_id), event(2, user_id))))
            assert store.swap(user_id, Change(version(1), stored(2)))
            return store.load(user_id), numbers(store, user_id)

        with ThreadPoolExecutor(6) as threads:
            assert [(stored(2), [1, 2])] * 30 == list(threads.map(live, range(30)))
        assert 60 == len(store.events_after())
        store.close()
        django_project.forget(store.using)


@on_postgresql
def test_a_replica_is_not_believed(server: Callable[..., str]) -> None:
    """A server that says it is a replica may be behind: neither a record nor its absence is taken from it."""
    alias = server(options={"options": "-c search_path=public,pg_catalog"})
    store = DjangoStore(alias)
    now = datetime.now(UTC).timestamp()
    assert () == store.diagnose(now)
    assert ["clock_differs"] == [finding.code for finding in store.diagnose(now + 60)]
    sql(alias, "CREATE FUNCTION public.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true'")
    with pytest.raises(UnexpectedAnswer, match="replica"):
        store.load(USER)
    assert ["replica"] == [finding.code for finding in store.diagnose(now)]


# --- async ----------------------------------------------------------------------------------------------------------


def test_an_asynchronous_project(alias: str) -> None:
    """`AsyncTwoFactor` on a `ThreadedStore` enrols and signs in, and the blocking store refuses the event loop."""
    clock = Clock()
    store = DjangoStore(alias)

    async def enrol() -> None:
        two_factor = AsyncTwoFactor(ThreadedStore(store), keys=KeyRing(KEY), issuer="Example", policy=FAST, clock=clock)
        setup = await two_factor.begin_setup(USER, account_name="a")
        phone = Phone(setup.uri, clock)
        await two_factor.confirm_setup(USER, phone.code(), handle=setup.handle)
        clock.advance(30)
        assert "totp" == (await two_factor.verify(USER, phone.code())).method
        with pytest.raises(Exception, match="async context"):
            DjangoStore(alias).load(USER)

    asyncio.run(enrol())
    assert (USER,) == store.user_ids()


# --- manage.py check ------------------------------------------------------------------------------------------------


@contextmanager
def project(name: str | None, **named: Any) -> Iterator[None]:
    """Be a project whose setting names that object of `django_security`."""
    with override_settings(TWOFA_APP=name, **named):
        if name is None:
            del settings.TWOFA_APP
        yield


def found(tag: str = checks.Tags.security, **named: Any) -> dict[str, str]:
    """Return what `manage.py check` says of ours, by its ids."""
    messages = checks.run_checks(tags=[tag], **named)
    return {str(each.id): f"{each.msg} {each.hint}" for each in messages if str(each.id).startswith("twofa.")}


@pytest.mark.parametrize(
    ("name", "problem", "says"),
    [
        (None, "twofa.no_application", "mysite.security:two_factor"),
        ("django_security:nothing", "twofa.application_not_found", "there is no 'nothing'"),
        ("django_security:without_keys", "twofa.invalid_key", "TWOFA_NO_KEYS"),
        ("django_security:unfit", "twofa.unfit_database", "take SQLAlchemyStore"),
    ],
)
def test_a_mistake_in_the_settings_is_found(name: str | None, problem: str, says: str) -> None:
    """The check names what is missing, and what to write."""
    with project(name):
        messages = found()
        assert [problem] == list(messages)
        assert says in messages[problem]
        assert {} == found(checks.Tags.database, databases=["default"])


@pytest.mark.parametrize("name", ["django_security:two_factor", "django_security:awaiting"])
def test_sqlite_has_its_own_mistakes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that others can read, a transaction around each view, a journal that makes readers hold up writers."""
    import django_security

    database = connections.settings[django_security.using]
    with project(name):
        assert {} == found()
        Path(database["NAME"]).chmod(0o644)
        monkeypatch.setitem(database, "ATOMIC_REQUESTS", True)
        assert ["twofa.readable_by_others", "twofa.atomic_requests"] == list(found())
        assert {} == found(checks.Tags.database, databases=["default"]), "another database was asked for"
        assert [] == check_database(None), "none was"
        sql(django_security.using, "PRAGMA journal_mode=DELETE")
        monkeypatch.setitem(database, "OPTIONS", {})
        django_security.two_factor._store.close()
        django_security.awaiting._store._store.close()
        Path(database["NAME"]).chmod(0o600)
        assert ["twofa.no_wal"] == list(found(checks.Tags.database, databases=[django_security.using]))
        sql(django_security.using, "PRAGMA journal_mode=WAL")


@pytest.mark.parametrize("name", ["django_security:two_factor", "django_security:elsewhere"])
def test_sessions_in_cookies_are_remarked(name: str) -> None:
    """Signing out ends no copy of such a session, whichever store the project has."""
    with project(name, SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"):
        assert "twofa.cookie_sessions" in found()
        assert {} == found(checks.Tags.database, databases=["default"])


# --- manage.py twofa ------------------------------------------------------------------------------------------------


def manage(*arguments: str) -> tuple[int, str, str]:
    """Run `manage.py twofa …`; return its exit code and what it has written."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("twofa", *arguments, stdout=out, stderr=err)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def test_the_operators_commands(alias: str) -> None:
    """Each works on the project's own `TwoFactor`, with the exit codes of `python -m twofa`."""
    import django_security

    django_security.two_factor.begin_setup("user-7", account_name="a")
    with project("django_security:two_factor"):
        code, out, _ = manage("status", "user-7", "--json")
        assert (0, "pending") == (code, json.loads(out)["state"])
        code, out, _ = manage("events", "user-7")
        assert 0 == code
        assert "setup_begun" in out
        code, _, err = manage("reset-codes", "user-7", "--by", "support:carol", "--reason", "ticket 4711")
        assert (1, True) == (code, "second factor" in err)
        code, out, _ = manage("check", "--json")
        assert "ok" == json.loads(out.splitlines()[-1])["result"], out
        assert 0 == code
    with project("django_security:without_keys"):
        assert 2 == manage("check")[0]


def test_a_project_that_names_no_application() -> None:
    """Only a key can be made, since no key is needed for that."""
    with project(None):
        assert KeyRing(manage("generate-key")[1].split()[0])
        with pytest.raises(CommandError, match="TWOFA_APP"):
            manage("status", "user-7")
