"""`python -m twofa check`: each mistake that it is to find, made on a real store, and found by name."""

from __future__ import annotations

from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from mariadb import on_mariadb
from mariadb import server as mariadb_server
from operated_app import close, make_store
from operator_console import Operator
from postgresql import on_postgresql, server
from sqlalchemy import create_engine, text
from support import KEY, OTHER_KEY, USER
from valkey_server import ValkeyServer

from twofa import AsyncTwoFactor, Change, KeyRing, Stored, TwoFactor
from twofa.cli.application import Application as CliApplication
from twofa.cli.check import check
from twofa.cli.console import Console
from twofa.stores import MemoryStore, ShardedStore, SQLAlchemyStore, SQLiteStore, ThreadedStore
from twofa.stores.protocol import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from running_app import Application


def findings(operator: Operator) -> tuple[int, dict[str, tuple[str, str]]]:
    """Return the exit code of `check`, and severity and message of each finding by its code."""
    ended = operator.run("check", "--json")
    assert len({line["code"] for line in ended.lines[:-1]}) == len(ended.lines) - 1
    assert {0: "ok", 1: "warning", 2: "critical"}[ended.code] == ended.data["result"]
    return ended.code, {line["code"]: (line["severity"], line["message"]) for line in ended.lines[:-1]}


# --- nothing to find -----------------------------------------------------------------------------------------------


def test_nothing_is_found(application: Application) -> None:
    """Where all is well there is no finding, and the key that seals is named."""
    application.enrol(USER)

    ended = application.operator.run("check")

    assert 0 == ended.code
    assert f"OK: no findings. Records are sealed with key {KeyRing(KEY).key_ids[0]}\n" == ended.out


def test_nothing_is_written(application: Application) -> None:
    """The store is as it was, down to the version of each record."""
    application.enrol(USER)
    before = application.store.load(USER), application.store.user_ids(), application.store.events(USER)

    application.operator.run("check")

    assert before == (application.store.load(USER), application.store.user_ids(), application.store.events(USER))


def test_the_worst_comes_first(on_sqlite: Application) -> None:
    """Findings are ordered by what they lead to, and the exit code is that of the worst."""
    on_sqlite.enrol("user-1", OTHER_KEY)
    on_sqlite.enrol("user-2", KeyRing.generate_key())
    Path(on_sqlite.operator.store).chmod(0o644)

    lines = on_sqlite.operator.run("check").out.splitlines()

    assert ["critical", "warning", "note", "CRITICAL"] == [line.partition(":")[0] for line in lines]


# --- keys and records ----------------------------------------------------------------------------------------------


def test_no_key(on_sqlite: Application) -> None:
    """An application that has no key does not start, which is critical to `check` and nothing else."""
    on_sqlite.operator.keys = ""

    assert (2, "invalid_key") == _ended(on_sqlite.operator.run("check", "--json"))
    assert (3, "invalid_key") == _ended(on_sqlite.operator.run("status", USER, "--json"))


def test_an_application_that_does_not_start(on_sqlite: Application) -> None:
    """Whatever its module raises is shown, and is critical to `check`."""
    on_sqlite.operator.app = "operated_app:fail"

    assert (2, "application_failed") == _ended(on_sqlite.operator.run("check", "--json"))
    shown = on_sqlite.operator.run("check")
    assert "Traceback" in shown.err
    assert "operated_app:fail does not start: LookupError: the configuration is incomplete" in shown.err


def _ended(ended: Any) -> tuple[int, str]:
    return ended.code, ended.data["error"]


def test_a_wrong_key(application: Application) -> None:
    """Records under a key that is not in the ring are counted by the key's id."""
    lost = KeyRing.generate_key()
    application.enrol("user-1")
    application.enrol("user-2", lost)

    code, found = findings(application.operator)

    assert (2, {"wrong_key"}) == (code, set(found))
    assert f"1 of 2 records are sealed with key {KeyRing(lost).key_ids[0]!r}" in found["wrong_key"][1]


def test_two_namespaces_in_one_table(application: Application) -> None:
    """Records that another namespace has sealed with the same key are told from damage by their number."""
    application.operator.more["OPERATED_NAMESPACE"] = "shop"
    application.enrol("user-1", namespace="shop")
    application.enrol("user-2", namespace="forum")
    application.enrol("user-3", namespace="forum")

    code, found = findings(application.operator)

    assert (2, {"two_namespaces"}) == (code, set(found))
    assert "2 of 3 records do not open although their key is here (user-2, user-3)" in found["two_namespaces"][1]


def test_a_namespace_that_was_added_later(on_sqlite: Application) -> None:
    """One record of an application without a namespace is enough to know."""
    on_sqlite.operator.more["OPERATED_NAMESPACE"] = "shop"
    on_sqlite.enrol("user-1", namespace="shop")
    on_sqlite.enrol("user-2")

    _, found = findings(on_sqlite.operator)

    assert "1 of them without a name" in found["two_namespaces"][1]


def test_a_damaged_record(on_sqlite: Application) -> None:
    """A single record that does not open is named as damaged."""
    on_sqlite.enrol("user-1")
    on_sqlite.enrol("user-2")
    moved = on_sqlite.store.load("user-2")
    held = on_sqlite.store.load("user-1")
    assert on_sqlite.store.swap("user-1", Change(held.version, Stored("f" * 32, moved.document)))

    code, found = findings(on_sqlite.operator)

    assert (2, {"record_damaged"}) == (code, set(found))
    assert "(user-1)" in found["record_damaged"][1]


def test_many_users_are_not_all_named(on_sqlite: Application) -> None:
    """A finding names a few users, and says that there are more."""
    for number in range(5):
        on_sqlite.enrol(f"user-{number}", namespace="forum")

    assert "(user-0, user-1, user-2, …)" in findings(on_sqlite.operator)[1]["two_namespaces"][1]


def test_a_record_of_a_newer_version(on_sqlite: Application) -> None:
    """A record that this version cannot read says so in its own words."""
    seal = KeyRing(KEY).for_user(USER)
    document = seal.close(b'{"schema":99,"state":[],"versions":""}')
    assert on_sqlite.store.swap(USER, Change(None, Stored("f" * 32, document)))

    code, found = findings(on_sqlite.operator)

    assert (2, {"unsupported_record"}) == (code, set(found))
    assert "1 of 1 records: the stored record has schema 99" in found["unsupported_record"][1]


def test_records_under_an_older_key(on_sqlite: Application) -> None:
    """That some records are not resealed yet is a note, and no reason for an alarm."""
    on_sqlite.enrol("user-1", OTHER_KEY)
    on_sqlite.enrol("user-2", KEY)

    code, found = findings(on_sqlite.operator)

    assert (0, "note") == (code, found["older_key"][0])
    assert "1 of 2 records" in found["older_key"][1]


def test_as_many_records_as_asked_for(on_sqlite: Application) -> None:
    """`--records` says how many are opened."""
    for number in range(4):
        on_sqlite.enrol(f"user-{number}", OTHER_KEY)

    lines = on_sqlite.operator.run("check", "--records", "3", "--json").lines

    assert "3 of 3 records" in lines[0]["message"]


def test_an_empty_store(application: Application) -> None:
    """A store without a record may be the wrong one."""
    assert (0, {"no_records"}) == (findings(application.operator)[0], set(findings(application.operator)[1]))


# --- the database --------------------------------------------------------------------------------------------------


def test_a_file_that_others_can_read(on_sqlite: Application) -> None:
    """The audit trail is not sealed, so the file and those beside it are for their owner."""
    on_sqlite.enrol(USER)
    Path(on_sqlite.operator.store).chmod(0o640)

    code, found = findings(on_sqlite.operator)

    assert (1, "warning") == (code, found["readable_by_others"][0])
    assert f"chmod 600 {on_sqlite.operator.store}" in found["readable_by_others"][1]


def test_the_same_through_sqlalchemy(tmp_path: Path) -> None:
    """It is the same file, whichever driver opens it; in memory there is none."""
    path = tmp_path / "app.db"
    engine = create_engine(f"sqlite:///{path}")
    with closing(engine.raw_connection()):
        store = SQLAlchemyStore(engine)
        store.create_tables()
        path.chmod(0o644)
        assert ["readable_by_others"] == [each.code for each in store.diagnose(0)]
        path.chmod(0o600)
        assert () == store.diagnose(0)
    engine.dispose()


@on_postgresql
@pytest.mark.parametrize("awaits", [False, True], ids=["blocking", "async"])
def test_missing_tables(awaits: bool) -> None:
    """Tables that nobody has made yet are named, with what makes them."""
    url = server().url(server().new_database(), driver="psycopg")

    code, found = findings(Operator(url, KEY, awaits=awaits, in_process=not awaits))

    assert (2, {"missing_tables"}) == (code, set(found))
    assert "twofa_record" in found["missing_tables"][1]
    assert "create_tables()" in found["missing_tables"][1]


@on_postgresql
def test_a_store_that_cannot_be_written(on_postgresql_too: Application) -> None:
    """A database that takes no writes refuses the swap that would change nothing, too."""
    on_postgresql_too.enrol(USER)
    name = on_postgresql_too.operator.store.rpartition("/")[2]
    engine = create_engine(on_postgresql_too.operator.store)
    with engine.connect() as connection:
        connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
        connection.commit()
    engine.dispose()

    code, found = findings(on_postgresql_too.operator)

    assert (2, {"read_only"}) == (code, set(found))
    assert "nobody can sign in" in found["read_only"][1]
    assert "read-only transaction" in found["read_only"][1]


@on_postgresql
def test_a_store_that_is_down(on_postgresql_too: Application) -> None:
    """A database that cannot be reached is one finding, and everything else is left."""
    head, _, _ = on_postgresql_too.operator.store.rpartition("/")
    on_postgresql_too.operator.store = f"{head}/no_such_database"

    code, found = findings(on_postgresql_too.operator)

    assert (2, {"store_failed"}) == (code, set(found))


@on_postgresql
@pytest.mark.parametrize(
    ("seconds", "expected"), [(40, "seconds ahead of the database"), (-90, "seconds behind the database"), (20, "")]
)
def test_a_clock_that_differs(on_postgresql_too: Application, seconds: int, expected: str) -> None:
    """More than thirty seconds between the application's clock and the database's are found, either way."""
    on_postgresql_too.enrol(USER)
    on_postgresql_too.operator.more["OPERATED_CLOCK"] = str(seconds)

    code, found = findings(on_postgresql_too.operator)

    assert (2 if expected else 0) == code
    assert expected in found.get("clock_differs", ("", ""))[1]
    assert bool(expected) == ("clock_differs" in found)


@on_mariadb
class TestMariaDB:
    """What can be wrong with MariaDB alone."""

    @pytest.fixture
    def operator(self) -> Operator:
        url = mariadb_server().url(mariadb_server().new_database())
        store = make_store(url, awaits=False)
        store.create_tables()
        close()
        return Operator(url, KEY, in_process=True)

    def _execute(self, operator: Operator, statement: str) -> None:
        engine = create_engine(operator.store)
        with engine.connect() as connection:
            connection.execute(text(statement))
            connection.commit()
        engine.dispose()

    def test_nothing_is_found(self, operator: Operator) -> None:
        """The store's own tables keep all user ids apart, and the clocks agree."""
        assert (0, {"no_records"}) == (findings(operator)[0], set(findings(operator)[1]))

    def test_a_case_insensitive_column(self, operator: Operator) -> None:
        """A migration that made the column of the user ids text, which takes Alice and alice for one."""
        self._execute(
            operator, "ALTER TABLE twofa_record MODIFY user_id VARCHAR(255) COLLATE utf8mb4_general_ci NOT NULL"
        )

        code, found = findings(operator)

        assert (2, {"case_insensitive"}) == (code, set(found))
        assert "utf8mb4_general_ci" in found["case_insensitive"][1]

    def test_a_replica(self, operator: Operator) -> None:
        """A server that is read-only is taken for a replica."""
        self._execute(operator, "SET GLOBAL read_only = 1")
        try:
            code, found = findings(operator)
        finally:
            self._execute(operator, "SET GLOBAL read_only = 0")

        assert (2, {"replica"}) == (code, set(found))

    def test_a_clock_that_differs(self, operator: Operator) -> None:
        """The time zone of the server plays no part."""
        operator.more["OPERATED_CLOCK"] = "3600"

        code, found = findings(operator)

        assert (2, {"clock_differs"}) == (code, set(found))
        assert "seconds ahead of" in found["clock_differs"][1]


@contextmanager
def _valkey(**options: str) -> Iterator[ValkeyServer]:
    valkey = ValkeyServer(**options)
    try:
        yield valkey
    finally:
        valkey.stop()


class TestRedis:
    """What can be wrong with Redis and Valkey alone."""

    @pytest.fixture(params=["blocking", "async"])
    def awaits(self, request: pytest.FixtureRequest) -> bool:
        return bool(request.param == "async")

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({}, {}),
            ({"maxmemory_policy": "allkeys-lru"}, {"evicts": "critical"}),
            ({"appendonly": "no"}, {"not_persistent": "critical"}),
            ({"appendonly": "no", "save": "60 1000"}, {"not_durable": "warning"}),
            ({"appendfsync": "no"}, {"not_durable": "warning"}),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, dict) else None,
    )
    def test_settings_that_lose_records(self, options: Any, expected: Any, awaits: bool) -> None:
        """Eviction, no persistence, snapshots alone, and an append-only file that waits are found."""
        with _valkey(**options) as valkey:
            operator = Operator(valkey.url, KEY, awaits=awaits, in_process=not awaits, more={"OPERATED_EVICTION": "1"})
            _, found = findings(operator)

        assert {**expected, **({} if "critical" in expected.values() else {"no_records": "note"})} == {
            code: severity for code, (severity, _) in found.items()
        }

    def test_a_store_that_refuses_such_a_server(self) -> None:
        """Without `allow_eviction` the application does not even start, and the message says why."""
        with _valkey(maxmemory_policy="allkeys-lru") as valkey:
            ended = Operator(valkey.url, KEY, in_process=True).run("check", "--json")

        assert (2, "application_failed") == _ended(ended)
        assert "maxmemory-policy noeviction" in ended.data["message"]

    def test_a_clock_that_differs(self, awaits: bool) -> None:
        """The server's time is compared."""
        with _valkey() as valkey:
            operator = Operator(valkey.url, KEY, awaits=awaits, in_process=not awaits, more={"OPERATED_CLOCK": "-33"})
            assert {"clock_differs"} == set(findings(operator)[1])

    def test_a_server_whose_settings_nobody_may_ask(self) -> None:
        """Many providers forbid `CONFIG`: what it would say is left out."""
        with _valkey() as valkey:
            client = redis.Redis.from_url(valkey.url)
            client.execute_command("ACL", "SETUSER", "app", "on", ">word", "~*", "+@all", "-config")
            client.close()
            url = valkey.url.replace("redis://", "redis://app:word@")
            assert {"no_records"} == set(findings(Operator(url, KEY, in_process=True))[1])

    def test_a_disk_that_is_full(self) -> None:
        """A failed write to disk is told by the server itself."""
        from twofa.stores.redis.diagnosis import diagnose

        asked = diagnose([None], 0)
        next(asked)
        info = {"maxmemory_policy": "noeviction", "aof_enabled": 1, "aof_last_write_status": "err"}
        asked.send([info])
        asked.send([(0, 0)])
        asked.send([{}])
        with pytest.raises(StopIteration) as end:
            asked.send([{b"appendfsync": b"always"}])

        assert ["disk_failed"] == [finding.code for finding in end.value.value]

    def test_a_server_that_fails(self) -> None:
        """What the driver raises comes through."""
        from twofa.stores.redis.diagnosis import diagnose

        asked = diagnose([None], 0)
        next(asked)
        asked.send([redis.ConnectionError("gone")])
        asked.send([(0, 0)])
        asked.send([{}])
        with pytest.raises(redis.ConnectionError, match="gone"):
            asked.send([{}])


# --- other stores --------------------------------------------------------------------------------------------------


class HostsStore:
    """A host's own store, with the two methods and nothing else."""

    def __init__(self) -> None:
        self._inner = MemoryStore()
        self.load, self.swap = self._inner.load, self._inner.swap


def _check(face: TwoFactor | AsyncTwoFactor) -> list[str]:
    from argparse import Namespace
    from io import StringIO

    out = StringIO()
    with CliApplication(face) as application:
        check(application, Namespace(records=10), Console(out, StringIO()))
    return [line.split(":")[1].strip() for line in out.getvalue().splitlines()[:-1]]


def test_a_hosts_own_store() -> None:
    """A store without abilities is asked for what any store can do."""
    assert ["no_listing"] == _check(TwoFactor(HostsStore(), keys=KeyRing(KEY), issuer="Example"))


def test_a_hosts_own_store_in_a_thread() -> None:
    """The same behind the asynchronous face."""
    face = AsyncTwoFactor(ThreadedStore(HostsStore()), keys=KeyRing(KEY), issuer="Example")

    assert ["store_failed"] == _check(face)


def test_a_store_in_memory(tmp_path: Path) -> None:
    """Whatever is in memory is gone with the process."""
    for store in (MemoryStore(), SQLiteStore(":memory:")):
        assert ["in_memory"] == _check(TwoFactor(store, keys=KeyRing(KEY), issuer="Example"))


def test_shards(tmp_path: Path) -> None:
    """Each shard is asked, and its findings say which one it is."""
    with SQLiteStore(tmp_path / "0.db") as first, SQLiteStore(tmp_path / "1.db") as second:
        (tmp_path / "1.db").chmod(0o644)
        store = ShardedStore([first, HostsStore(), second])

        [finding] = store.diagnose(0)

    assert isinstance(finding, Finding)
    assert finding.message.startswith("shard 2: other users of this machine")


@pytest.mark.parametrize(("answer", "expected"), [(None, "no_records"), (OSError("gone"), "store_failed")])
def test_a_record_that_is_gone(answer: Any, expected: str) -> None:
    """A user who is forgotten between the list and the reading is nothing to report; a store that fails then is."""

    class Listed(HostsStore):
        def __init__(self) -> None:
            super().__init__()
            self.load = self._load  # type: ignore[assignment]

        def user_ids(self, after: str = "", limit: int = 100) -> list[str]:
            return [] if after else ["user-1"][:limit]

        def _load(self, user_id: str) -> None:
            if user_id == "user-1" and answer is not None:
                raise answer

    assert [expected] == _check(TwoFactor(Listed(), keys=KeyRing(KEY), issuer="Example"))
