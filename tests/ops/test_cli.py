"""`python -m twofa` as a process, as an operator or a monitoring system starts it."""

from __future__ import annotations

import runpy
import signal
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import strength
from operator_console import Operator
from postgresql import on_postgresql
from running_app import KILLED, Application
from support import KEY, OTHER_KEY, USER

from twofa import ByCode, KeyRing, TwoFactor, Vouched, errors

if TYPE_CHECKING:
    from pathlib import Path

    from operator_console import Ended

    from twofa import Status

WORD = ("--by", "support:carol", "--reason", "identity checked, ticket 4711")


# --- keys ----------------------------------------------------------------------------------------------------------


def test_a_generated_key_serves_a_key_ring() -> None:
    """`generate-key` needs no application, and what it prints is all that a `KeyRing` needs."""
    nobody = Operator("", "", app=None, in_process=True)

    printed = nobody.run("generate-key")
    data = nobody.run("generate-key", "--json").data

    assert (0, "") == (printed.code, printed.err)
    assert 1 == len(KeyRing(printed.out.strip()).key_ids)
    assert (data["key_id"],) == KeyRing(data["key"]).key_ids
    assert data["key"] != printed.out.strip()


# --- one user ------------------------------------------------------------------------------------------------------


def test_status(application: Application) -> None:
    """`status` shows where an account stands, to people and to programs."""
    application.enrol(USER)

    shown = application.operator.run("status", USER)
    data = application.operator.run("status", USER, "--json").data

    assert 0 == shown.code
    assert f"{USER}: active" == shown.out.splitlines()[0]
    assert "recovery codes left   10" in shown.out
    assert application.two_factor().status(USER).to_dict() | {"user_id": USER} == data


def test_status_of_a_stranger(on_sqlite: Application) -> None:
    """A user whom the store does not know is `none`, which is no error."""
    ended = on_sqlite.operator.run("status", "nobody", "--json")

    assert (0, "none", False) == (ended.code, ended.data["state"], ended.data["required"])


def test_events(application: Application) -> None:
    """`events` shows the audit trail, the newest first, and no more than asked for."""
    phone, _ = application.enrol(USER)
    application.two_factor().verify(USER, phone.code(), source="203.0.113.7")

    shown = application.operator.run("events", USER, "--limit", "2")
    data = application.operator.run("events", USER, "--json").data

    lines = shown.out.splitlines()
    assert 2 == len(lines)
    assert "code_accepted" in lines[0]
    assert "203.0.113.7" in lines[0]
    assert "operation=verify" in lines[0]
    kinds = [event["kind"] for event in data["events"]]
    assert "code_accepted" == kinds[0]
    assert "setup_begun" == kinds[-1]


def test_events_of_a_stranger(on_sqlite: Application) -> None:
    """Without events there is an empty list, or a word that is not part of the result."""
    shown = on_sqlite.operator.run("events", "nobody")

    assert (0, "", "no events\n") == (shown.code, shown.out, shown.err)
    assert [] == on_sqlite.operator.run("events", "nobody", "--json").data["events"]


def test_hostile_text_cannot_control_the_terminal(on_sqlite: Application) -> None:
    """What came from outside shows its control characters instead of sending them to the terminal."""
    phone, _ = on_sqlite.enrol(USER)
    on_sqlite.two_factor().verify(USER, phone.code(), source="\x1b[2J\r\n\u202eevil")

    shown = on_sqlite.operator.run("events", USER, "--limit", "1")

    assert r"\x1b[2J\r\n\u202eevil" in shown.out
    assert 1 == len(shown.out.splitlines())


def test_reset_codes(application: Application) -> None:
    """`reset-codes` shows new codes, each of which works, and the old ones are dead; the word is on record."""
    _, old = application.enrol(USER)

    ended = application.operator.run("reset-codes", USER, *WORD)

    codes = ended.out.splitlines()
    assert 0 == ended.code
    assert 10 == len(codes)
    assert "shown only now" in ended.err
    assert "recovery_code" == application.two_factor().redeem_recovery_code(USER, codes[3]).method
    with pytest.raises(errors.InvalidCode):
        application.two_factor().redeem_recovery_code(USER, old[0])
    issued = next(event for event in application.store.events(USER)[::-1] if event.kind == "recovery_codes_issued")
    word = {"proof": "vouched", "by": "support:carol", "reason": "identity checked, ticket 4711"}
    assert word | {"count": 10} == dict(issued.detail)
    assert "python -m twofa" == issued.source


def test_reset_codes_for_programs(on_sqlite: Application) -> None:
    """With `--json` the codes come with the new generation, and nothing else is written."""
    on_sqlite.enrol(USER)

    ended = on_sqlite.operator.run("reset-codes", USER, *WORD, "--json")

    assert "" == ended.err
    assert {"user_id", "recovery_codes", "generation"} == set(ended.data)
    assert on_sqlite.two_factor().status(USER).generation == ended.data["generation"]


def test_disable(application: Application) -> None:
    """`disable` turns the second factor off."""
    application.enrol(USER)

    ended = application.operator.run("disable", USER, *WORD, "--json")

    status = application.two_factor().status(USER)
    assert (0, False) == (ended.code, status.required)
    assert {"user_id": USER, "generation": status.generation} == ended.data
    assert "the second factor is off" in application.operator.run("disable", USER, *WORD).out


def test_end_sessions(application: Application) -> None:
    """`end-sessions` gives the account a new generation, by which every session dies."""
    application.enrol(USER)
    before = application.two_factor().status(USER).generation

    ended = application.operator.run("end-sessions", USER, "--json")

    after = application.two_factor().status(USER).generation
    assert (0, {"user_id": USER, "generation": after}) == (ended.code, ended.data)
    assert before != after
    assert "every session has ended" in application.operator.run("end-sessions", USER).out


# --- resealing -----------------------------------------------------------------------------------------------------


def test_reseal(application: Application) -> None:
    """`reseal` seals every record under the primary key, so that the old one can be dropped."""
    users = [f"user-{number}" for number in range(7)]
    phones = [application.enrol(user, OTHER_KEY)[0] for user in users]

    first = application.operator.run("reseal", "--batch", "3", "--json")
    second = application.operator.run("reseal")

    assert (0, {"users": 7, "resealed": 7, "failed": 0}) == (first.code, first.data)
    assert "7 users: 0 resealed, 7 sealed with the primary key already\n" == second.out
    for user, phone in zip(users, phones, strict=True):
        assert "totp" == application.two_factor(KEY).verify(user, phone.code()).method


def test_reseal_after_a_user(on_sqlite: Application) -> None:
    """`--after` leaves out the users up to one."""
    for number in range(4):
        on_sqlite.enrol(f"user-{number}", OTHER_KEY)

    assert 2 == on_sqlite.operator.run("reseal", "--after", "user-1", "--json").data["resealed"]


def test_reseal_reports_whom_it_could_not_reseal(application: Application) -> None:
    """A record that does not open is named and left alone; the others are resealed, and the exit code says so."""
    lost = KeyRing.generate_key()
    application.enrol("user-1", OTHER_KEY)
    application.enrol("user-2", lost)
    application.enrol("user-3", OTHER_KEY)

    ended = application.operator.run("reseal", "--json")
    shown = application.operator.run("reseal")

    assert (1, {"users": 3, "resealed": 2, "failed": 1}) == (ended.code, ended.data)
    assert ("user-2", "unknown_key") == (ended.lines[0]["user_id"], ended.lines[0]["error"])
    assert KeyRing(lost).key_ids[0] in ended.lines[0]["message"]
    assert "user-2: " in shown.out
    assert ", 1 failed" in shown.out


def _sealed_with_the_primary_key(application: Application) -> int:
    ring, store = KeyRing(KEY), application.store
    return sum(ring.is_current(store.load(user).document) for user in store.user_ids(limit=1000))


@pytest.mark.heavy
@pytest.mark.parametrize("by_process", KILLED, indirect=True)
def test_reseal_goes_on_after_sigkill(by_process: Application) -> None:
    """Whenever it is killed, a later run does the rest: in the end nobody is missed."""
    users = 120
    by_process.move_in(*(f"user-{number:03}" for number in range(users)))

    resealed = 0
    for _ in range(strength.rounds(2, 10)):
        running = by_process.operator.start("reseal", "--batch", "10", "--workers", "2")
        while _sealed_with_the_primary_key(by_process) < min(users, resealed + 10):
            assert running.poll() in {None, 0}
        running.send_signal(signal.SIGKILL)
        running.communicate()
        resealed = _sealed_with_the_primary_key(by_process)
    last = by_process.operator.run("reseal", "--json").data

    # What was on its way to PostgreSQL when its sender died may have been committed since we counted.
    assert users - resealed - 2 <= last.pop("resealed") <= users - resealed
    assert {"users": users, "failed": 0} == last
    assert users == _sealed_with_the_primary_key(by_process)


@pytest.mark.heavy
@pytest.mark.parametrize("by_process", KILLED, indirect=True)
def test_reseal_beside_logins(by_process: Application) -> None:
    """Users sign in while their records are resealed: none is refused, and no login is undone."""
    users = [f"user-{number}" for number in range(20)]
    phones = [by_process.enrol(user, OTHER_KEY)[0] for user in users]
    two_factor = by_process.two_factor(KEY, OTHER_KEY)

    running = by_process.operator.start("reseal", "--batch", "2", "--json")
    logins = 0
    while running.poll() is None or logins == 0 or logins % len(users):
        if logins % len(users) == 0:
            by_process.clock.advance(30)
        user, phone = users[logins % len(users)], phones[logins % len(users)]
        assert "totp" == two_factor.verify(user, phone.code()).method
        logins += 1
    out, _ = running.communicate()

    assert 0 == running.returncode, out
    for user, phone in zip(users, phones, strict=True):
        with pytest.raises(errors.CodeReused):
            by_process.two_factor(KEY).verify(user, phone.code())


# --- revoking recovery codes ---------------------------------------------------------------------------------------


def _revoke(application: Application, minutes: int, *arguments: str) -> Ended:
    """Revoke, an hour from now, what is older than these minutes from now."""
    application.operator.more["OPERATED_CLOCK"] = "3600"
    before = datetime.fromtimestamp(time.time() + 60 * minutes, UTC).isoformat(timespec="seconds")
    return application.operator.run("revoke-codes", "--before", before, *WORD, *arguments)


def test_revoke_codes(application: Application) -> None:
    """Old sets are dead with every session, newer ones stay, each owner makes new ones with the app; once is enough."""
    phone, old = application.enrol("user-1")
    before = application.two_factor().status("user-1").generation
    application.two_factor().begin_setup("pending", account_name="alice@example.com")
    application.clock.advance(3000)
    _, new = application.enrol("user-2")

    first = _revoke(application, 30, "--json")
    second = _revoke(application, 30)

    assert (0, {"users": 3, "revoked": 1, "only_way_in": 0, "failed": 0}) == (first.code, first.data)
    assert "3 users: 0 revoked, 3 nothing to revoke, 0 only way in\n" == second.out
    application.clock.advance(600)
    two_factor = application.two_factor()
    assert ("active", 0, True) == _standing(two_factor.status("user-1"))
    assert before != two_factor.status("user-1").generation
    with pytest.raises(errors.RecoveryCodesExhausted):
        two_factor.redeem_recovery_code("user-1", old[0])
    assert 10 == len(two_factor.reset_recovery_codes("user-1", proof=ByCode(phone.code())))
    assert "recovery_code" == two_factor.redeem_recovery_code("user-2", new[0]).method
    [revoked] = [event for event in application.store.events("user-1") if event.kind == "recovery_codes_revoked"]
    word = {"proof": "vouched", "by": "support:carol", "reason": "identity checked, ticket 4711"}
    assert word | {"count": 10} == dict(revoked.detail)
    assert "python -m twofa" == revoked.source


def _standing(status: Status) -> tuple[str, int, bool]:
    return status.state, status.recovery_codes_remaining, status.recovery_codes_acknowledged


def test_revoking_locks_nobody_out(on_sqlite: Application) -> None:
    """P14: recovery codes that are the only way in go on working, and their owner is named; so is who cannot be read."""
    _, codes = on_sqlite.enrol("lost phone")
    on_sqlite.two_factor().reset_authenticator(
        "lost phone", account_name="a", proof=Vouched(by="carol", reason="asked")
    )
    on_sqlite.enrol("unreadable", KeyRing.generate_key())

    ended = _revoke(on_sqlite, 30, "--json")
    shown = _revoke(on_sqlite, 30)

    assert 1 == ended.code == shown.code
    assert {"users": 2, "revoked": 0, "only_way_in": 1, "failed": 1} == ended.data
    assert [("lost phone", "only_way_in"), ("unreadable", "unknown_key")] == [
        (line["user_id"], line["error"]) for line in ended.lines[:-1]
    ]
    assert "2 users: 0 revoked, 0 nothing to revoke, 1 only way in, 1 failed" == shown.out.splitlines()[-1]
    assert "recovery_code" == on_sqlite.two_factor().redeem_recovery_code("lost phone", codes[0]).method


@pytest.mark.parametrize(
    ("before", "message"),
    [("2027-01-15T08:00:00", "end it with Z for UTC"), ("noon", "invalid"), ("2999-01-01T00:00:00Z", "in the future")],
)
def test_a_time_that_cannot_be(on_sqlite: Application, before: str, message: str) -> None:
    """Without a time zone, or in the future, `--before` would end the wrong sets, or the same ones in each run."""
    on_sqlite.move_in("user-1", key=KEY)

    ended = on_sqlite.operator.run("revoke-codes", "--before", before, *WORD)

    assert 3 == ended.code
    assert message in ended.err


# --- as processes --------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_every_command_as_a_process(by_process: Application) -> None:
    """On each store and with each face an operator can look, change and check; the rest is the same in this process."""
    phone, _ = by_process.enrol(USER)
    operator = by_process.operator

    assert "active" == operator.run("status", USER, "--json").data["state"]
    codes = operator.run("reset-codes", USER, *WORD).out.splitlines()
    assert "recovery_code" == by_process.two_factor().redeem_recovery_code(USER, codes[9]).method
    assert "OK: no findings" in operator.run("check").out
    operator.in_process, operator.awaits = True, False
    assert (0, {"users": 1, "resealed": 0, "failed": 0}) == _code_and_data(operator.run("reseal", "--json"))
    assert 0 == operator.run("end-sessions", USER).code
    assert "totp" == by_process.two_factor().verify(USER, phone.code()).method
    assert 0 == operator.run("disable", USER, *WORD).code
    events = operator.run("events", USER, "--json").data["events"]
    assert ["disabled", "code_accepted", "sessions_ended"] == [event["kind"] for event in events[:3]]


def _code_and_data(ended: Ended) -> tuple[int, object]:
    return ended.code, ended.data


# --- what goes wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("app", "message"),
    [
        (None, "--app module:attribute"),
        ("operated_app", "takes module:attribute"),
        ("no_such_module:two_factor", "there is no module 'no_such_module' in"),
        ("operated_app:two_factor", "there is no 'two_factor' in 'operated_app:two_factor'"),
        ("operated_app:text", "of type str"),
        ("operated_app:fail", "LookupError: the configuration is incomplete"),
    ],
)
def test_without_an_application(on_sqlite: Application, app: str | None, message: str) -> None:
    """`--app` that leads nowhere is exit code 3, and the message says what was found instead."""
    on_sqlite.operator.app = app

    ended = on_sqlite.operator.run("status", USER)

    assert (3, "") == (ended.code, ended.out)
    assert message in ended.err.splitlines()[-1]
    assert 3 == on_sqlite.operator.run("status", USER, "--json").code


def test_the_application_in_the_current_folder(
    on_sqlite: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module in the folder where the command is started is found, as `python -m` finds it."""
    (tmp_path / "app_of_this_folder.py").write_text("from operated_app import make_two_factor")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in {"", str(tmp_path)}])
    on_sqlite.operator.app = "app_of_this_folder:make_two_factor"

    assert 0 == on_sqlite.operator.run("status", USER).code


def test_a_module_that_the_application_misses(
    on_sqlite: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a module of the application needs another one is no misspelt `--app`: its traceback is shown."""
    (tmp_path / "incomplete_app.py").write_text("import a_driver_that_is_not_installed")
    monkeypatch.chdir(tmp_path)
    on_sqlite.operator.app = "incomplete_app:two_factor"

    ended = on_sqlite.operator.run("status", USER)

    assert 3 == ended.code
    assert "Traceback" in ended.err
    assert "No module named 'a_driver_that_is_not_installed'" in ended.err


def test_python_m(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m twofa` is the same as `main`."""
    monkeypatch.setattr(sys, "argv", ["twofa", "generate-key"])

    with pytest.raises(SystemExit) as ended:
        runpy.run_module("twofa", run_name="__main__")

    assert 0 == ended.value.code
    assert 43 == len(capsys.readouterr().out.strip())


def test_a_misspelt_application(on_sqlite: Application) -> None:
    """A suggestion names the object that was probably meant."""
    on_sqlite.operator.app = "suggesting_app:two_facter"

    ended = on_sqlite.operator.run("status", USER)

    assert "did you mean --app suggesting_app:two_factor?" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [(), ("nonsense",), ("status",), ("disable", USER), ("events", USER, "--limit", "0"), ("reseal", "--batch", "x")],
)
def test_wrong_arguments(on_sqlite: Application, arguments: tuple[str, ...]) -> None:
    """Wrong arguments are exit code 3, not argparse's 2, which a monitoring system takes for an alarm."""
    assert 3 == on_sqlite.operator.run(*arguments).code


def test_a_user_id_that_cannot_be(on_sqlite: Application) -> None:
    """An unusable user id is a wrong argument."""
    ended = on_sqlite.operator.run("status", "x" * 256, "--json")

    assert (3, "wrong_argument") == (ended.code, ended.data["error"])


def test_what_is_refused(on_sqlite: Application) -> None:
    """What the library refuses is exit code 1, with the error's own code and words."""
    ended = on_sqlite.operator.run("reset-codes", "nobody", *WORD, "--json")
    shown = on_sqlite.operator.run("reset-codes", "nobody", *WORD)

    assert (1, {"error": "not_enrolled", "message": str(errors.NotEnrolled())}) == (ended.code, ended.data)
    assert (1, "", f"{errors.NotEnrolled()}\n") == (shown.code, shown.out, shown.err)


def test_a_record_that_does_not_open(on_sqlite: Application) -> None:
    """A record that cannot be trusted is exit code 2."""
    on_sqlite.enrol(USER, KeyRing.generate_key())

    ended = on_sqlite.operator.run("status", USER, "--json")

    assert (2, "unknown_key") == (ended.code, ended.data["error"])


def test_no_keys(on_sqlite: Application) -> None:
    """Without keys the application does not start, which is exit code 2 and says how to make one."""
    on_sqlite.operator.keys = ""

    ended = on_sqlite.operator.run("check", "--json")

    assert (2, "invalid_key") == (ended.code, ended.data["error"])


@on_postgresql
def test_a_store_that_is_not_there(on_postgresql_too: Application) -> None:
    """A store that cannot be reached is exit code 2, and the message is one line, without statement and parameters."""
    head, _, _ = on_postgresql_too.operator.store.rpartition("/")
    on_postgresql_too.operator.store = f"{head}/no_such_database"

    ended = on_postgresql_too.operator.run("status", USER)

    assert 2 == ended.code
    assert ended.err.startswith("the store failed: ")
    assert 1 == len(ended.err.splitlines())


def test_a_store_that_fails_meanwhile(on_sqlite: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not about one user's record ends a long command."""

    def failing(_face: TwoFactor, _user_id: str) -> bool:
        raise OSError("the disk is full\nwith details")

    on_sqlite.move_in("user-1", "user-2")
    monkeypatch.setattr(TwoFactor, "reseal", failing)

    ended = on_sqlite.operator.run("reseal")

    assert (2, "", "the store failed: OSError: the disk is full\n") == (ended.code, ended.out, ended.err)


def test_ctrl_c(on_sqlite: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends a long command with the shell's own exit code, and says how to go on."""

    def interrupted(_face: TwoFactor, _user_id: str) -> bool:
        raise KeyboardInterrupt

    on_sqlite.move_in("user-1", "user-2")
    monkeypatch.setattr(TwoFactor, "reseal", interrupted)

    ended = on_sqlite.operator.run("reseal")

    assert (130, "", "stopped: run it again to go on\n") == (ended.code, ended.out, ended.err)
