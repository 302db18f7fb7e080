"""Moving in: data that the old library itself has written, the script as an operator runs it, and then the users."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
import strength
from operator_console import HELPERS, ROOT, Ended, Operator
from support import FAST, KEY

from twofa import KeyRing, TwoFactor, errors
from twofa.stores import SQLiteStore
from twofa.testing import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.heavy

PEERS = HELPERS / "peers"
SCRIPTS = ROOT / "examples" / "migration"


class Phone(pyotp.TOTP):
    """An app, by pyotp's arithmetic, as it was when pyotp still made secrets of 16 characters."""

    min_secret_length_bits = 80

    @classmethod
    def that_scanned(cls, uri: str) -> Phone:
        """Return the app that holds this Key URI."""
        said = {name: values[0] for name, values in parse_qs(urlsplit(uri).query).items()}
        digest = getattr(hashlib, said.get("algorithm", "SHA1").lower())
        digits, interval = int(said.get("digits", 6)), int(said.get("period", 30))
        return cls(said["secret"], digits=digits, digest=digest, interval=interval)


@dataclass(frozen=True, kw_only=True)
class Old:
    """An application on another library."""

    writer: tuple[str, ...]
    """The program that enrols its users as the library does, and its arguments."""
    script: tuple[str, ...]
    """The migration script and its arguments; `{folder}` is where the old database is."""
    environment: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    """Users who cannot come along, and part of the reason."""
    remarks: dict[str, str] = field(default_factory=dict)
    """Users who come along with a remark, and part of it."""
    left_out: tuple[str, ...] = ()
    """Users who have no second factor there."""
    silent: tuple[str, ...] = ()
    """Users who come along, but whose app does not serve."""


DJANGO_OTP = Old(
    writer=("otp_site.py",),
    script=("from_django_otp.py",),
    environment={"DJANGO_SETTINGS_MODULE": "otp_site"},
    refused={"other epoch": "t0=1600000000", "broken key": "not hexadecimal", "paper only": "no confirmed TOTP device"},
    remarks={"wrong clock": "120 seconds behind", "two phones": "2 TOTP devices"},
    left_out=("unfinished",),
    silent=("wrong clock",),
)
ALLAUTH = Old(
    writer=("allauth_site.py",),
    script=("from_allauth.py",),
    environment={"DJANGO_SETTINGS_MODULE": "allauth_site"},
    refused={"key only": "no authenticator app, but webauthn"},
    remarks={"with a key": "security keys do not come along"},
)
ALLAUTH_ENCRYPTED = Old(
    writer=("allauth_site.py",),
    script=("from_allauth.py",),
    environment={"DJANGO_SETTINGS_MODULE": "allauth_site", "OLD_ENCRYPTED": "1", "OLD_DIGITS": "1"},
    refused={"key only": "no authenticator app, but webauthn", "other key": "MFA_ADAPTER cannot decrypt"},
    remarks={"with a key": "security keys do not come along"},
)
FLASK_SECURITY = Old(
    writer=("security_app.py",),
    script=("from_flask_security.py", "security_app:create_app"),
    refused={"by mail": "a code by email", "lost key": "SECURITY_TOTP_SECRETS cannot decrypt"},
)
FLASK_SECURITY_ENCRYPTED = Old(
    writer=("security_app.py",),
    script=("from_flask_security.py", "security_app:create_app"),
    environment={"OLD_ENCRYPTED": "1"},
    refused=FLASK_SECURITY.refused,
    remarks={"stale codes": "1 of the recovery codes"},
)
_TABLE = ("sqlite:///{folder}/old.db", "--table", "account", "--id-column", "name")
PYOTP = Old(
    writer=("columns.py", "pyotp"),
    script=("from_pyotp.py", *_TABLE, "--secret-column", "stored"),
    refused={"digit one": "is '1'", "cut short": "30 symbols", "too short": "10 to 128 bytes"},
    left_out=("empty", "none"),
)
LIBPASS = Old(
    writer=("columns.py", "libpass"),
    script=("from_libpass.py", *_TABLE, "--json-column", "stored", "--counter-column", "last_counter"),
    refused={"no JSON": "cannot read it", "encrypted by nobody knows what": "cannot read it"},
)
LIBPASS_ENCRYPTED = Old(
    writer=LIBPASS.writer,
    script=(*LIBPASS.script, "--wallet", "{folder}/wallet"),
    environment={"OLD_WALLET": "{folder}/wallet"},
    refused=LIBPASS.refused,
)
ASPNET = Old(
    writer=("aspnet.py",),
    script=("from_aspnet_identity.py", "sqlite:///{folder}/old.db"),
    refused={"by mail": "sent by mail or SMS"},
    left_out=("switched off",),
)


@dataclass
class Migration:
    """The operator's side of a move."""

    old: Old
    folder: Path
    operator: Operator
    held: dict[str, Any]
    """What the old users hold."""
    store: SQLiteStore
    clock: Clock

    @property
    def two_factor(self) -> TwoFactor:
        """The application after the move."""
        return TwoFactor(self.store, keys=KeyRing(KEY), issuer="Example", policy=FAST, clock=self.clock)

    def run(self, *arguments: str) -> Ended:
        """Run the script."""
        return self.operator.run(
            *arguments, "--by", "ops:carol", program=(str(SCRIPTS / self.old.script[0]), *self._script)
        )

    def run_each(self, *lists: tuple[str, ...]) -> list[Ended]:
        """Run the script once with each of these arguments, in one process."""
        script, word = str(SCRIPTS / self.old.script[0]), ("--by", "ops:carol")
        runs = json.dumps([[*self._script, *arguments, *word] for arguments in lists])
        ended = self.operator.run(script, runs, program=(str(HELPERS / "one_after_the_other.py"),))
        assert 0 == ended.code, ended.err
        return [Ended(*each) for each in ended.lines]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it, to be killed."""
        program = (str(SCRIPTS / self.old.script[0]), *self._script)
        return self.operator.start(*arguments, "--by", "ops:carol", program=program)

    @property
    def _script(self) -> list[str]:
        return [argument.format(folder=self.folder) for argument in self.old.script[1:]]

    def moved(self) -> list[str]:
        """Return the names of those who can come along."""
        return [name for name in self.held if name not in {*self.old.refused, *self.old.left_out}]


def migration_from(old: Old, folder: Path, *, users: int = 0) -> Migration:
    """Have an old application enrol its users."""
    (folder / "wallet").write_text("1: an old secret\n2: a newer one\n")
    more = {name: value.format(folder=folder) for name, value in old.environment.items()}
    more["OLD_DATABASE"] = str(folder / "old.db")
    path = os.pathsep.join([str(PEERS), str(HELPERS), os.environ.get("PYTHONPATH", "")])
    writer = subprocess.run(
        [sys.executable, str(PEERS / old.writer[0]), *old.writer[1:], str(users)],
        check=True, capture_output=True, text=True, env={**os.environ, **more, "PYTHONPATH": path},
    )  # fmt: skip
    operator = Operator(str(folder / "app.db"), KEY, more={**more, "PYTHONPATH": path})
    store = SQLiteStore(folder / "app.db", synchronous="NORMAL")
    return Migration(old, folder, operator, json.loads(writer.stdout), store, Clock(int(time.time())))


@pytest.fixture
def migration(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Migration]:
    """A move from the library that the test names."""
    made = migration_from(request.param, tmp_path)
    yield made
    made.store.close()


LIBRARIES = {
    "pyotp": PYOTP,
    "django-otp": DJANGO_OTP,
    "allauth": ALLAUTH,
    "allauth, encrypted": ALLAUTH_ENCRYPTED,
    "Flask-Security": FLASK_SECURITY,
    "Flask-Security, encrypted": FLASK_SECURITY_ENCRYPTED,
    "libpass": LIBPASS,
    "libpass, encrypted": LIBPASS_ENCRYPTED,
    "ASP.NET": ASPNET,
}


@pytest.mark.parametrize("migration", LIBRARIES.values(), ids=LIBRARIES.keys(), indirect=True)
def test_everyone_comes_along(migration: Migration) -> None:
    """The same phone signs in, each printed code works once, and who cannot come along is reported by name."""
    moved = migration.moved()

    ended, verified = migration.run_each(("--json", "--batch", "3"), ("--verify", "--json"))

    refused = len(migration.old.refused)
    code = 1 if refused else 0
    assert (code, code) == (ended.code, verified.code), ended.err
    total = {"users": len(moved) + refused, "not_moved": refused}
    assert total | {"moved": len(moved), "enrolled_already": 0} == ended.data
    assert total | {"the_same": len(moved), "different": 0} == verified.data
    _assert_reported(migration, ended)
    for name in moved:
        _assert_signs_in(migration, name)
    for name in migration.old.left_out:
        assert not migration.two_factor.status(migration.held[name]["id"]).required


def test_a_dry_run_moves_nobody(tmp_path: Path) -> None:
    """It says of everyone what the move will say, and writes nothing."""
    migration = migration_from(DJANGO_OTP, tmp_path)
    with migration.store:
        rehearsed, verified, ended = migration.run_each(
            ("--dry-run", "--json", "--batch", "3"), ("--verify", "--json"), ("--json", "--batch", "3")
        )

    assert 0 == verified.data["the_same"]
    expected = [line | {"outcome": line["outcome"].replace("would_be_moved", "moved")} for line in rehearsed.lines[:-1]]
    assert expected == ended.lines[:-1]
    assert rehearsed.data["would_be_moved"] == ended.data["moved"]


def _assert_reported(migration: Migration, ended: Ended) -> None:
    names = {held["id"]: name for name, held in migration.held.items()}
    said = {names[line["user_id"]]: (line["outcome"], line["message"]) for line in ended.lines[:-1]}
    expected = {**dict.fromkeys(migration.old.refused, "not_moved"), **dict.fromkeys(migration.old.remarks, "moved")}
    assert expected == {name: outcome for name, (outcome, _) in said.items()}
    for name, words in {**migration.old.refused, **migration.old.remarks}.items():
        assert words in said[name][1]
    for held in migration.held.values():
        secret = parse_qs(urlsplit(held.get("uri") or "").query).get("secret", ["no secret"])[0]
        for word in (secret, *(held.get("codes") or [])):
            assert word not in ended.out + ended.err


def _assert_signs_in(migration: Migration, name: str) -> None:
    held, two_factor, clock = migration.held[name], migration.two_factor, migration.clock
    user_id, used_code, used_token = held["id"], held.get("used_code"), held.get("used_token")
    phone = Phone.that_scanned(held["uri"])
    status = two_factor.status(user_id)
    assert (len(phone.byte_secret()) < 16) == status.short_secret
    assert (phone.digits, phone.interval) == (status.digits, status.period)
    if used_code is not None:
        with pytest.raises(errors.InvalidCode):
            two_factor.verify(user_id, used_code)
    clock.advance(4 * phone.interval)
    if name not in migration.old.silent:
        assert "totp" == two_factor.verify(user_id, phone.at(clock.now)).method
        clock.advance(phone.interval)
        assert "totp" == two_factor.authenticate(user_id, phone.at(clock.now)).method
    codes = [code for code in held["codes"] if code != used_token] if name != "stale codes" else []
    assert len(codes) == two_factor.status(user_id).recovery_codes_remaining
    # What looks like a code of the app is taken for one where there is only one field.
    redeem = two_factor.authenticate if phone.digits != 8 else two_factor.redeem_recovery_code
    for code in codes[:2]:
        assert "recovery_code" == redeem(user_id, code).method
        with pytest.raises((errors.InvalidCode, errors.RecoveryCodesExhausted)):
            two_factor.redeem_recovery_code(user_id, code)
    if used_token is not None:
        with pytest.raises((errors.InvalidCode, errors.RecoveryCodesExhausted)):
            two_factor.redeem_recovery_code(user_id, used_token)


NEIGHBOUR = "signs in meanwhile"

# --- interrupted, and again ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("awaits", [False, True], ids=["blocking", "async"])
def test_a_move_goes_on_after_sigkill(tmp_path: Path, awaits: bool) -> None:
    """However often it is killed, in the end everyone is moved, nobody twice, and no login beside it is refused."""
    migration = migration_from(PYOTP, tmp_path, users=150)
    migration.operator.awaits = awaits
    setup = migration.two_factor.begin_setup(NEIGHBOUR, account_name="alice@example.com")
    phone = Phone.that_scanned(setup.uri)
    migration.two_factor.confirm_setup(NEIGHBOUR, phone.at(migration.clock.now), handle=setup.handle)

    with migration.store:
        seen = 0
        for _ in range(strength.rounds(2, 10)):
            running = migration.start("--batch", "10")
            while _count(migration) < min(150, seen + 20):
                assert running.poll() in {None, 1}
                migration.clock.advance(phone.interval)
                assert "totp" == migration.two_factor.verify(NEIGHBOUR, phone.at(migration.clock.now)).method
            running.send_signal(signal.SIGKILL)
            running.communicate()
            seen = _count(migration)
        last = migration.run("--json")

        moved = len(migration.moved())
        assert {"moved": moved - seen, "enrolled_already": seen, "not_moved": 3, "users": moved + 3} == last.data
        assert moved == _count(migration)
        for user_id in _moved(migration):
            assert ["authenticator_imported"] == [event.kind for event in migration.store.events(user_id)]


def _moved(migration: Migration) -> list[str]:
    return [user_id for user_id in migration.store.user_ids(limit=1000) if user_id != NEIGHBOUR]


def _count(migration: Migration) -> int:
    return len(_moved(migration))
