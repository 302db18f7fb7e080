"""`docs/operations.md`: its commands as a shell runs them, on real servers, and what its tables promise."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import postgresql
import pytest
import redis
import yaml
from mariadb import on_mariadb
from mariadb import server as mariadb_server
from not_tested import not_here
from operated_app import close, make_store
from operator_console import ROOT, Operator
from postgresql import on_postgresql
from postgresql import server as postgresql_server
from running_app import Application
from support import KEY, OTHER_KEY, USER
from valkey_server import ValkeyServer, on_redis

from twofa import EventKind, KeyRing, errors
from twofa.stores import RedisStore

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
AN_HOUR = 3600


def commands(heading: str) -> list[str]:
    """Return the console blocks under a heading, each as one script, without what the commands print."""
    _, _, rest = PAGE.partition(f"\n{heading}\n")
    assert rest, heading
    level = len(heading.partition(" ")[0])
    section = re.split(rf"^#{{2,{level}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    blocks = re.findall(r"^ *```console\n(.*?)^ *```", section, re.MULTILINE | re.DOTALL)
    return ["\n".join(re.findall(r"^ *\$ (.*)$", block, re.MULTILINE)) for block in blocks]


def run(script: str, folder: Path, environment: dict[str, str]) -> str:
    """Run commands as a shell does, in a folder; return what they print."""
    programs = [str(Path(sys.executable).parent), str(postgresql.folder_of_programs() or ""), os.environ["PATH"]]
    ended = subprocess.run(
        ["bash", "-euc", script], check=False, capture_output=True, text=True, cwd=folder, timeout=60,
        env={**os.environ, **environment, "PATH": os.pathsep.join(programs)},
    )  # fmt: skip
    assert 0 == ended.returncode, ended.stderr
    return ended.stdout


def needs(*programs: str, remedy: str) -> None:
    """Skip the test where this machine lacks a program."""
    if not all(map(shutil.which, programs)):
        not_here(programs[0], remedy)


# --- backups -------------------------------------------------------------------------------------------------------


class Restored:
    """A user whose first recovery code is spent after a backup was taken, and who enrolled an hour ago."""

    def __init__(self, application: Application) -> None:
        self.application = application
        application.clock.now -= AN_HOUR
        _, codes = application.enrol(USER)
        self.code = codes[0]

    def use_the_code(self) -> None:
        self.application.two_factor().redeem_recovery_code(USER, self.code)
        with pytest.raises(errors.CodeReused):
            self.application.two_factor().redeem_recovery_code(USER, self.code)

    def assert_as_in_the_backup(self) -> None:
        """The record is back, whole and with its audit trail; and so is the code, as the page warns."""
        kinds = [event.kind for event in self.application.store.events(USER)]
        assert ["setup_begun", "authenticator_confirmed", "recovery_codes_issued"] == kinds
        self.application.two_factor().redeem_recovery_code(USER, self.code)


@pytest.mark.heavy
def test_sqlite_from_the_backup_to_new_codes(on_sqlite: Application, tmp_path: Path) -> None:
    """The file comes back by the page's commands, and the codes that it revives are ended by the next ones."""
    restored = Restored(on_sqlite)
    environment = on_sqlite.operator.environment
    take, restore = commands("### SQLite")
    run(take, tmp_path, environment)
    restored.use_the_code()
    on_sqlite.store.close()

    run(restore, tmp_path, environment)
    [revoke] = commands("### After a restore")
    printed = run(revoke, tmp_path, environment)

    assert "OK: no findings" in printed
    assert "1 users: 1 revoked, 0 nothing to revoke, 0 only way in" in printed
    on_sqlite.store = make_store(on_sqlite.operator.store, awaits=False)
    with on_sqlite.store, pytest.raises(errors.RecoveryCodesExhausted):
        on_sqlite.two_factor().redeem_recovery_code(USER, restored.code)


@on_postgresql
@pytest.mark.heavy
def test_postgresql_comes_back(on_postgresql_too: Application, tmp_path: Path) -> None:
    """Over what is there, and into an empty database, with the numbers of the outbox going on."""
    restored = Restored(on_postgresql_too)
    take, restore = commands("### PostgreSQL")
    url = on_postgresql_too.operator.store.replace("+psycopg", "")
    run(take, tmp_path, {"DATABASE_URL": url})
    restored.use_the_code()

    run(restore, tmp_path, {"DATABASE_URL": url})
    restored.assert_as_in_the_backup()

    empty = postgresql_server().new_database()
    run(restore, tmp_path, {"DATABASE_URL": postgresql_server().url(empty)})
    on_postgresql_too.store = make_store(postgresql_server().url(empty, driver="psycopg"), awaits=False)
    restored.assert_as_in_the_backup()
    assert ["1", "2", "3", "4"] == [entry.cursor for entry in on_postgresql_too.store.events_after()][:4]


@on_mariadb
@pytest.mark.heavy
def test_mariadb_comes_back(tmp_path: Path) -> None:
    """The dump holds every byte of the tables."""
    server = mariadb_server()
    needs("mariadb-dump", "mariadb", remedy="install mariadb-client")
    database = server.new_database()
    store = make_store(server.url(database), awaits=False)
    store.create_tables()
    restored = Restored(Application(store, Operator("", KEY)))
    take, restore = commands("### MariaDB and MySQL")
    host, port = server.address
    (tmp_path / ".my.cnf").write_text(f"[client]\nhost={host}\nport={port}\nuser=root\n")
    environment = {"DATABASE": database, "HOME": str(tmp_path)}
    run(take, tmp_path, environment)
    restored.use_the_code()

    run(restore, tmp_path, environment)

    restored.assert_as_in_the_backup()
    close()


@on_redis
@pytest.mark.heavy
def test_valkey_comes_back(tmp_path: Path) -> None:
    """From a copy of its file, and from a snapshot, which a server with a file of its own would not read."""
    needs("redis-cli", remedy="install redis-tools")
    server = ValkeyServer(repl_diskless_sync_delay="0")  # a server waits 5 s for others that want the snapshot too
    environment = {"REDIS_URL": server.url, "REDIS_DIR": str(server.folder)}
    copy, from_copy, snapshot, from_snapshot, write_anew = commands("### Redis and Valkey")
    try:
        with closing(redis.Redis.from_url(server.url)) as client:
            restored = Restored(Application(RedisStore(client, shards=4), Operator("", KEY)))
            run(copy, tmp_path, environment)
            run(snapshot, tmp_path, environment)
            restored.use_the_code()

            _while_down(server, lambda: run(from_copy, tmp_path, environment))
            restored.assert_as_in_the_backup()

            _while_down(server, lambda: run(from_snapshot, tmp_path, environment))
            with pytest.raises(Exception, match="Restore the backup"):
                restored.application.two_factor().status(USER)
            _while_down(server, lambda: run(from_snapshot, tmp_path, environment), appendonly="no")
            run(write_anew, tmp_path, environment)
            server.kill()
            server._options["appendonly"] = "yes"
            server.start()
            restored.assert_as_in_the_backup()
    finally:
        server.stop()


def _while_down(server: ValkeyServer, restore: Callable[[], object], appendonly: str = "yes") -> None:
    server.kill()
    restore()
    server._options["appendonly"] = appendonly
    server.start()


# --- keys ----------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_the_key_is_changed(on_sqlite: Application, tmp_path: Path) -> None:
    """Step by step, as each ring is deployed: afterwards the new key alone opens everything."""
    phone, _ = on_sqlite.enrol(USER, OTHER_KEY)
    make, seal = commands("### Changing the key")
    new = run(make, tmp_path, {}).strip()
    on_sqlite.operator.keys = f"{OTHER_KEY},{new}"
    assert "OK: no findings" in on_sqlite.operator.run("check").out
    on_sqlite.operator.keys = f"{new},{OTHER_KEY}"
    assert "note: older_key: 1 of 1 records" in on_sqlite.operator.run("check").out

    printed = run(seal, tmp_path, on_sqlite.operator.environment)

    assert "1 users: 1 resealed, 0 sealed with the primary key already" in printed
    assert "older_key" not in printed
    assert KeyRing(new).key_ids[0] in printed
    assert "totp" == on_sqlite.two_factor(new).verify(USER, phone.code()).method


# --- alarms --------------------------------------------------------------------------------------------------------

RULES = yaml.safe_load(re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0])["groups"][0]["rules"]


def _kinds(rule: dict[str, Any]) -> set[str]:
    return {kind for kinds in re.findall(r'kind=~?"([^"]*)"', rule["expr"]) for kind in kinds.split("|")}


def test_every_alarm_has_a_runbook() -> None:
    """Each rule counts kinds of events that exist, and whoever is woken finds that event's heading on the page."""
    headings = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^### (.*)$", PAGE, re.MULTILINE))))

    kinds = {kind for rule in RULES for kind in _kinds(rule)}

    assert kinds <= set(EventKind)
    assert kinds - {"code_rejected", "code_accepted"} == headings


RUNBOOK = [command for block in commands("## When an alarm rings") for command in block.splitlines()]


@pytest.mark.parametrize("command", sorted(set(RUNBOOK)))
def test_each_command_of_the_runbook(command: str, on_sqlite: Application) -> None:
    """Whoever copies it at night gets an answer, and no usage message."""
    on_sqlite.move_in("user-42", key=KEY)
    python, _, module, *arguments = shlex.split(command)

    ended = on_sqlite.operator.run(*arguments)

    assert ("python", "twofa", 0) == (python, module, ended.code), ended.err


# --- how much it takes ---------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_the_sizes_are_the_measured_ones(tmp_path: Path) -> None:
    """What the benchmark counts is what the page says, call by call; the bytes within a tenth."""
    ended = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "sizing.py")],
        check=True, capture_output=True, text=True, env={**os.environ, "BENCH_DIR": str(tmp_path)},
    )  # fmt: skip
    counted, measured = ended.stdout.split("\n\n")

    assert counted in PAGE
    assert counted.count("\n") > 5
    for name, value in re.findall(r"^\| (.*) \| ([\d,]+) \|$", measured, re.MULTILINE):
        [said] = re.findall(rf"^\| {name} \| ([\d,]+) \|$", PAGE, re.MULTILINE)
        assert 0.9 < int(said.replace(",", "")) / int(value.replace(",", "")) < 1.1, name


@pytest.mark.proof
def test_the_benchmark_of_moving_runs(tmp_path: Path) -> None:
    """In small, it prints each of its lines, and fails for nothing but a missed bar."""
    tiny = {
        "BENCH_MOVING_USERS": "20",
        "BENCH_MOVING_CODES_OF": "1",
        "BENCH_MOVING_SIZES": "10,20",
        "BENCH_ROUNDS": "1",
    }
    modules = os.pathsep.join(sys.path)
    ended = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "moving.py")],
        check=False, capture_output=True, text=True,
        env={**os.environ, **tiny, "BENCH_DIR": str(tmp_path), "PYTHONPATH": modules},
    )  # fmt: skip

    assert ended.stderr == "" or ended.stderr.startswith("a bar was missed")
    assert 2 + 4 == len(ended.stdout.splitlines())
