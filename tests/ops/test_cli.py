"""`python -m twofa` as a process, as an operator or a monitoring system starts it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from operator_console import Operator
from postgresql import on_postgresql
from support import KEY, OTHER_KEY, USER

from twofa import KeyRing, errors

if TYPE_CHECKING:
    from conftest import Application

WORD = ("--by", "support:carol", "--reason", "identity checked, ticket 4711")


# --- keys ----------------------------------------------------------------------------------------------------------


def test_a_generated_key_serves_a_key_ring() -> None:
    """`generate-key` needs no application, and what it prints is all that a `KeyRing` needs."""
    nobody = Operator("", "", app=None)

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


@pytest.mark.parametrize("kills", [4])
def test_reseal_goes_on_after_sigkill(application: Application, kills: int) -> None:
    """Whenever it is killed, a later run does the rest: in the end nobody is missed."""
    users = 300
    for number in range(users):
        application.enrol(f"user-{number}", OTHER_KEY)

    resealed = 0
    for _ in range(kills):
        running = application.operator.start("reseal", "--batch", "20")
        while _sealed_with_the_primary_key(application) < min(users, resealed + 40):
            assert running.poll() in {None, 0}
        running.send_signal(signal.SIGKILL)
        running.communicate()
        resealed = _sealed_with_the_primary_key(application)
    last = application.operator.run("reseal", "--json").data

    assert {"users": users, "resealed": users - resealed, "failed": 0} == last
    assert users == _sealed_with_the_primary_key(application)


def _sealed_with_the_primary_key(application: Application) -> int:
    ring, store = KeyRing(KEY), application.store
    return sum(ring.is_current(store.load(user).document) for user in store.user_ids(limit=1000))


def test_reseal_beside_logins(application: Application) -> None:
    """Users sign in while their records are resealed: none is refused, and no login is undone."""
    users = [f"user-{number}" for number in range(60)]
    phones = [application.enrol(user, OTHER_KEY)[0] for user in users]
    two_factor = application.two_factor(KEY, OTHER_KEY)

    running = application.operator.start("reseal", "--batch", "5", "--json")
    logins = 0
    while running.poll() is None or logins == 0 or logins % len(users):
        if logins % len(users) == 0:
            application.clock.advance(30)
        user, phone = users[logins % len(users)], phones[logins % len(users)]
        assert "totp" == two_factor.verify(user, phone.code()).method
        logins += 1
    out, _ = running.communicate()

    assert 0 == running.returncode, out
    for user, phone in zip(users, phones, strict=True):
        with pytest.raises(errors.CodeReused):
            application.two_factor(KEY).verify(user, phone.code())


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


def test_the_application_in_the_folder_where_it_is_started(on_sqlite: Application) -> None:
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


def test_ctrl_c(on_sqlite: Application) -> None:
    """Ctrl-C ends a long command with the shell's own exit code, and says how to go on."""
    for number in range(400):
        on_sqlite.enrol(f"user-{number}", OTHER_KEY)

    running = on_sqlite.operator.start("reseal", "--batch", "1", "--workers", "1")
    while _sealed_with_the_primary_key(on_sqlite) < 3:
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    _, err = running.communicate()

    assert 130 == running.returncode
    assert "stopped: run it again to go on" in err
