"""The command that each migration script is, apart from any library: what it says, and what it does with each user."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import runpy
import shlex
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pyotp
import pytest
from operator_console import ROOT, Operator
from sqlalchemy import column, select, table
from support import KEY, USER

from twofa import KeyRing
from twofa.migration import Enrolment, NotMovable, main, with_time_zone
from twofa.migration.sql import pages

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterable

    from operator_console import Ended
    from running_app import Application

Read = "Callable[[Namespace], Iterable[Enrolment | NotMovable]]"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def users(*given: Enrolment | NotMovable) -> Callable[[Namespace], Iterable[Enrolment | NotMovable]]:
    """Return what reads these users."""
    return lambda arguments: iter(given) if arguments.batch else iter(())


def enrolment(user_id: str, **options: Any) -> Enrolment:
    """Return a user who can come along."""
    return Enrolment(user_id=user_id, **{"secret": SECRET, **options})


ALL = users(
    enrolment("user-1", recovery_codes=("12345678", "23456789")),
    enrolment("user-2", remark="first of two apps", drift=3),
    enrolment("user-3", secret="0189"),
    NotMovable(user_id="user-4", reason="the second factor is an SMS"),
    enrolment("user-5", drift=-2, period=60),
    enrolment("user-6", drift=1),
)


def run(application: Application, read: Any, *arguments: str, **options: Any) -> Ended:
    """Run a script that reads these users, in this process."""
    operator = application.operator
    operator.main = lambda given: main("elsewhere", read, arguments=given, **options)
    return operator.run("--by", "ops:carol", *arguments)


def test_moving(on_sqlite: Application) -> None:
    """Each user is moved under the operator's word, or reported with the reason."""
    ended = run(on_sqlite, ALL, "--json")

    assert 1 == ended.code
    assert {"users": 6, "moved": 4, "enrolled_already": 0, "not_moved": 2} == ended.data
    assert "" == ended.err
    reported = {line["user_id"]: (line["outcome"], line["message"]) for line in ended.lines[:-1]}
    assert {
        "user-2": (
            "moved",
            "first of two apps; the phone's clock is 90 seconds ahead: its codes are refused until it is set "
            "automatically",
        ),
        "user-3": ("not_moved", "character 1 of the base32 secret is '0', which is not in its alphabet: A to Z and 2 to "
                   "7, but not 0, 1, 8 or 9 (RFC 4648 §6)"),
        "user-4": ("not_moved", "the second factor is an SMS"),
        "user-5": (
            "moved",
            "the phone's clock is 120 seconds behind: its codes are refused until it is set automatically",
        ),
    } == reported  # fmt: skip
    [event] = on_sqlite.store.events("user-1")
    assert {"by": "ops:carol", "reason": "moved from elsewhere"}.items() <= event.detail.items()
    assert "twofa.migration" == event.source


def test_for_people(on_sqlite: Application) -> None:
    """The report is text, and the sum its last line."""
    lines = run(on_sqlite, ALL, "--batch", "2").out.splitlines()

    assert "user-4: not moved: the second factor is an SMS" in lines
    assert "user-5: moved, but: the phone's clock is 120 seconds behind" in " ".join(lines)
    assert "6 users: 4 moved, 0 enrolled already, 2 not moved" == lines[-1]


def test_again(on_sqlite: Application) -> None:
    """Who is moved already is left alone, and those who could not be are reported again."""
    run(on_sqlite, ALL)
    before = [on_sqlite.store.load(user_id) for user_id in on_sqlite.store.user_ids()]

    ended = run(on_sqlite, ALL, "--json")

    assert {"users": 6, "moved": 0, "enrolled_already": 4, "not_moved": 2} == ended.data
    assert before == [on_sqlite.store.load(user_id) for user_id in on_sqlite.store.user_ids()]


def test_a_dry_run(on_sqlite: Application) -> None:
    """Says what would happen, word for word, and writes nothing; who is enrolled already counts as such."""
    on_sqlite.enrol("user-6")

    rehearsed = run(on_sqlite, ALL, "--dry-run", "--json")
    assert ("user-6",) == on_sqlite.store.user_ids()
    moved = run(on_sqlite, ALL, "--json")

    assert {"users": 6, "would_be_moved": 3, "enrolled_already": 1, "not_moved": 2} == rehearsed.data
    assert {"users": 6, "moved": 3, "enrolled_already": 1, "not_moved": 2} == moved.data
    said = [line | {"outcome": line["outcome"].replace("would_be_moved", "moved")} for line in rehearsed.lines[:-1]]
    assert said == moved.lines[:-1]


def test_nobody_left_behind(on_sqlite: Application) -> None:
    """If everybody comes along, the exit code is 0, also where there is nobody."""
    assert 0 == run(on_sqlite, users(enrolment("user-1"))).code
    assert (0, 0) == (run(on_sqlite, users(), "--json").code, run(on_sqlite, users(), "--json").data["users"])


def test_verifying(on_sqlite: Application) -> None:
    """Secret, parameters and recovery codes are compared, and whatever differs is said of each user by name."""
    before = users(
        *(enrolment(f"user-{number}", recovery_codes=("12345678", "23456789")) for number in range(1, 8)),
        enrolment("user-8"),
    )
    run(on_sqlite, before)
    two_factor = on_sqlite.two_factor()
    two_factor.redeem_recovery_code("user-2", "23456789")
    two_factor.reset_recovery_codes("user-3", proof=_word())
    two_factor.reset_authenticator("user-4", account_name="alice@example.com", proof=_word())
    two_factor.disable("user-5", proof=_word())

    now = users(
        enrolment("user-1", recovery_codes=("12345678", "23456789")),
        enrolment("user-2", recovery_codes=("12345678", "23456789")),
        enrolment("user-3", recovery_codes=("12345678", "23456789")),
        enrolment("user-4", recovery_codes=("12345678", "23456789")),
        enrolment("user-5", recovery_codes=("12345678", "23456789")),
        enrolment("user-6", recovery_codes=("87654321", "23456789")),
        enrolment("user-7", recovery_codes=("1234567890", "23456789")),
        enrolment("user-8", digits=8),
        enrolment("user-8", secret=SECRET[:-8] + "ABCDEFGH"),
        enrolment("user-8"),
        NotMovable(user_id="user-9", reason="the second factor is an SMS"),
    )
    ended = run(on_sqlite, now, "--verify", "--json", "--workers", "1")

    assert {"users": 11, "the_same": 2, "different": 8, "not_moved": 1} == ended.data
    assert 1 == ended.code
    assert [
        ("user-2", "has 1 recovery codes here and 2 there"),
        ("user-3", "has made new recovery codes here"),
        ("user-4", "has no authenticator here: it was reset or blocked"),
        ("user-5", "is not enrolled here"),
        ("user-6", "has other recovery codes here"),
        ("user-7", "has other recovery codes here"),
        ("user-8", "has another secret or other parameters here"),
        ("user-8", "has another secret or other parameters here"),
        ("user-9", "the second factor is an SMS"),
    ] == [(line["user_id"], line["message"]) for line in ended.lines[:-1]]


def _word() -> Any:
    from twofa import Vouched

    return Vouched(by="support:carol", reason="asked")


def test_a_record_that_cannot_be_read(on_sqlite: Application) -> None:
    """One user's damaged record is that user's problem."""
    on_sqlite.enrol("user-1", KeyRing.generate_key())

    ended = run(on_sqlite, users(enrolment("user-1"), enrolment("user-2")), "--json")

    assert {"users": 2, "moved": 1, "enrolled_already": 0, "not_moved": 1} == ended.data
    assert "not in the ring" in ended.lines[0]["message"]


def test_a_store_that_fails(on_sqlite: Application) -> None:
    """A store that is down ends the run: it is not about one user."""
    on_sqlite.store._connections.close()
    with sqlite3.connect(on_sqlite.operator.store) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON twofa_record BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    connection.close()

    ended = run(on_sqlite, users(enrolment("user-1")), "--json")

    assert (2, "outcome_unknown") == (ended.code, ended.data["error"])


def test_reading_that_fails(on_sqlite: Application) -> None:
    """A script that raises ends the run with its traceback; what was read before is moved."""

    def read(arguments: Namespace) -> Any:
        yield from (enrolment(f"user-{number}") for number in range(arguments.batch))
        raise LookupError("no such column")

    shown = run(on_sqlite, read, "--batch", "2")
    ended = run(on_sqlite, read, "--batch", "2", "--json")

    assert (2, "reading from elsewhere failed: LookupError: no such column") == (shown.code, shown.err.splitlines()[-1])
    assert "Traceback" in shown.err
    assert (2, "reading_failed", "") == (ended.code, ended.data["error"], ended.err)
    assert ("user-0", "user-1") == on_sqlite.store.user_ids()


def test_arguments_of_its_own(on_sqlite: Application) -> None:
    """A script adds what it needs, and the reason can be said in other words."""

    def add_arguments(parser: ArgumentParser) -> None:
        parser.add_argument("table")

    def read(arguments: Namespace) -> Any:
        yield enrolment(f"of-{arguments.table}")

    run(on_sqlite, read, "--reason", "new owner", "users", add_arguments=add_arguments)

    assert "new owner" == on_sqlite.store.events("of-users")[0].detail["reason"]


@pytest.mark.parametrize("arguments", [(), ("--by", "carol", "--dry-run", "--verify")])
def test_wrong_arguments(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Who moves the users has to be said, and only one thing can be done at a time."""
    with pytest.raises(SystemExit) as ended:
        main("elsewhere", users(), arguments=arguments)
    assert 3 == ended.value.code
    assert "usage:" in capsys.readouterr().out


def test_the_process_arguments(on_sqlite: Application) -> None:
    """By default a script takes those of its process."""
    with patch.dict(os.environ, on_sqlite.operator.environment), patch("sys.argv", ["script.py", "--by", "carol"]):
        assert 0 == main("elsewhere", users(enrolment(USER)))


# --- the scripts ---------------------------------------------------------------------------------------------------


GUIDES = [
    command
    for page in sorted((ROOT / "docs" / "migration").glob("*.md"))
    for command in re.findall(r"^\$ (.*)$", page.read_text(encoding="utf-8").replace("\\\n", ""), re.MULTILINE)
]


@pytest.mark.parametrize("command", GUIDES)
def test_the_commands_of_the_guides(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each names a script that is there, and options that it has: copied, it gets as far as the application."""
    words = shlex.split(command)
    python, script, *arguments = words[words.index("python") :]
    names = runpy.run_path(str(ROOT / "examples" / "migration" / Path(script).name))
    asked_for: list[Any] = []
    monkeypatch.setattr(
        sys.modules["twofa.migration.main"], "run_on_named_application", lambda name, *_: asked_for.append(name) or 0
    )

    assert 0 == main("elsewhere", names["enrolments"], names.get("add_arguments"), arguments=arguments)

    assert "python" == python
    assert [arguments[arguments.index("--app") + 1]] == asked_for


@pytest.mark.parametrize(("digits", "moved"), [("8", ["alice"]), ("10", [])])
def test_what_pyotp_was_told_comes_along(digits: str, moved: list[str], on_sqlite: Application, tmp_path: Path) -> None:
    """Digits, interval and digest are in no column of pyotp's users: the script is told, and says whom that leaves out."""
    totp = pyotp.TOTP(pyotp.random_base32(), digits=8, interval=60, digest=hashlib.sha256)
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection, connection:
        connection.execute("CREATE TABLE users (id TEXT PRIMARY KEY, totp_secret TEXT)")
        connection.execute("INSERT INTO users VALUES ('alice', ?)", (totp.secret.lower(),))
    script = runpy.run_path(str(ROOT / "examples" / "migration" / "from_pyotp.py"))
    told = (f"sqlite:///{tmp_path}/old.db", "--digits", digits, "--period", "60", "--algorithm", "SHA256")

    ended = run(on_sqlite, script["enrolments"], *told, "--json", add_arguments=script["add_arguments"])

    assert moved == list(on_sqlite.store.user_ids())
    if moved:
        assert "totp" == on_sqlite.two_factor().verify("alice", totp.at(on_sqlite.clock.now)).method
    else:
        assert ("alice", "not_moved") == (ended.lines[0]["user_id"], ended.lines[0]["outcome"])
        assert "digits" in ended.lines[0]["message"]


def test_a_table_is_read_page_by_page(tmp_path: Path) -> None:
    """In the order of its key, each row once, also if the last page is full; the connection is closed in between."""
    database = tmp_path / "old.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE account (name TEXT PRIMARY KEY, secret TEXT)")
        connection.executemany(
            "INSERT INTO account VALUES (?, ?)", [(f"user-{number}", "x") for number in (3, 1, 4, 2)]
        )
    name: Any = column("name")
    query = select(name).select_from(table("account", name))

    read = [[row[0] for row in page] for page in pages(f"sqlite:///{database}", query, name, 2)]

    assert [["user-1", "user-2"], ["user-3", "user-4"]] == read
    assert [] == list(pages(f"sqlite:///{database}", query.where(name == "nobody"), name, 2))


def test_an_enrolment_keeps_its_secret(on_sqlite: Application) -> None:
    """Neither a repr nor a pickle shows what a user holds."""
    value = enrolment(USER, recovery_codes=("12345678",))

    assert SECRET not in repr(value)
    assert "12345678" not in repr(value)
    with pytest.raises(TypeError, match="carries a secret"):
        pickle.dumps(value)


def test_times_without_a_zone() -> None:
    """What a database keeps without a time zone is this machine's time; the rest stays as it is."""
    naive, aware = datetime(2027, 1, 15, 8), datetime(2027, 1, 15, 8, tzinfo=UTC)

    assert naive.timestamp() == with_time_zone(naive).timestamp()
    assert with_time_zone(naive).utcoffset() is not None
    assert aware is with_time_zone(aware)
    assert with_time_zone(None) is None


def test_a_bulk_move_on_the_asynchronous_face(on_sqlite: Application) -> None:
    """The same for an `AsyncTwoFactor`."""
    on_sqlite.operator.awaits = True

    assert {"users": 6, "moved": 4, "enrolled_already": 0, "not_moved": 2} == run(on_sqlite, ALL, "--json").data
    assert {"users": 6, "the_same": 4, "different": 0, "not_moved": 2} == run(on_sqlite, ALL, "--verify", "--json").data


def test_without_an_application() -> None:
    """A script needs the host's object, as the operator's commands do."""
    nobody = Operator("", KEY, app=None, in_process=True)
    nobody.main = lambda given: main("elsewhere", users(), arguments=given)

    assert 3 == nobody.run("--by", "carol").code
