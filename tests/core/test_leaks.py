"""P11, nothing leaks: every public path is run while everything that could be seen of it is searched for its secrets.

The list of paths is made from the public methods' own signatures, and a test fails where a method or an error of the
library has no path. What counts as a secret is not a list of samples either: it is whatever was typed, whatever the
library itself hides, every random number that becomes a key or a code, and what is inside the sealed record.
"""

from __future__ import annotations

import base64
import inspect
import sqlite3
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from secret_net import MALFORMED_CODE, NO_TOKEN, WRONG_TYPES, Net, Secrets, observe, seen_of_error
from support import ACCOUNT, KEY, OTHER_KEY, USER, CountingStore, World

from twofa import (
    Argon2id,
    AsyncTwoFactor,
    ByCode,
    ByRecoveryCode,
    ByVerification,
    KeyRing,
    Policy,
    Setup,
    Stored,
    Throttle,
    TwoFactor,
    Vouched,
    errors,
)
from twofa import _entropy as entropy
from twofa._engine.attempt import open_record
from twofa._engine.transitions import TABLE
from twofa._record import recovery
from twofa.errors import (
    CodeReused,
    InvalidCode,
    InvalidKeyUri,
    InvalidSecret,
    MalformedCode,
    NoSetup,
    OutcomeUnknown,
    PolicyError,
    ProofRequired,
    RecordDamaged,
    RecoveryCodesExhausted,
    ReenrolmentRequired,
    SetupExpired,
    StoreContention,
    Throttled,
    TwoFactorError,
    UnknownKey,
    UnsupportedRecord,
)
from twofa.stores import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support import Phone

    from twofa import Change, Event, Store

KINDS = ["blocking", "awaiting"]
POLICY = Policy(digits=8, recovery_codes=3, recovery_code_length=24)
"""Codes of eight digits, so that none is found in a number by chance. A secret takes 20 random bytes, a set 69 (and 48
that are public salts)."""
CAROL = Vouched(by="support:carol", reason="identity checked, ticket 4711")
OLD_KEY = "VGhlIGtleSBiZWZvcmUgdGhlIGtleSwgMzIgYnl0ZXM"
WRONG_RECOVERY_CODE = "ZZZZ-CANA-RYCA-NARY-CANA-RYZZ"
"""Well formed, and in no set: its slot is beyond the tenth."""
IMPORTED = b"CANARY of an imported app"
IMPORTED_CODES = ("CANARY-2468", "canary-1357", "Canary-8642")
NO_HANDLE = "CANARY of no set-up"
PROOFS = (ByCode, ByRecoveryCode, ByVerification, Vouched)


# --- the scene -----------------------------------------------------------------------------------------------------


class BrokenStore(CountingStore):
    """A memory store whose database fails when it is told to."""

    broken = ""

    def load(self, user_id: str) -> Stored | None:
        if self.broken == "load":
            raise OSError("the database went away")
        return super().load(user_id)

    def swap(self, user_id: str, change: Change) -> bool:
        if self.broken == "swap":
            raise OSError("the database went away")
        return False if self.broken == "contention" else super().swap(user_id, change)


class Scene(World):
    """A user in a state, with everything that a call may need at hand."""

    state = "active"

    def __init__(
        self, kind: str, secrets: Secrets, state: str = "active", store: Store | None = None, policy: Policy = POLICY
    ) -> None:
        # Built with the blocking face, which is quicker; the records are the same.
        super().__init__("blocking", policy=policy, store=store or BrokenStore(), keys=KeyRing(KEY, OLD_KEY))
        secrets.add(OLD_KEY, base64.urlsafe_b64decode(OLD_KEY + "="), IMPORTED, *IMPORTED_CODES)
        self.secrets, self.policy = secrets, policy
        self.device: Phone | None = None
        self.setup: Setup | None = None
        self.codes: tuple[str, ...] = ()
        self.token = NO_TOKEN
        if state == "pending":
            self.setup = self.begin()
        if state in {"active", "reenrol"}:
            self.face = self.new_face(policy, keys=KeyRing(OLD_KEY))
            self.device, codes = self.enrol()
            self.codes = tuple(codes)
            self.token = self.login(self.device).token
            self.setup = self.begin(proof=CAROL)
            self.face = self.new_face(policy)
        if state == "reenrol":
            self.setup = self.face.reset_authenticator(USER, account_name=ACCOUNT, proof=CAROL)
        assert state == self.face.status(USER).state
        self.kind = kind
        self.face = self.new_face(policy)
        secrets.add_record(self.record(), self.keys)
        secrets.add(*self.codes, self.token)
        for phone in (self.device, self.setup and self.phone(self.setup)):
            if phone:
                secrets.add_phone(phone)
        if self.setup:
            secrets.add(self.setup.uri, self.setup.manual_key, self.setup.handle)

    def device_works(self) -> bool:
        """Whether the user's app signs in."""
        return self.face.status(USER).state == "active"

    def right(self, operation: str) -> dict[str, Any]:
        """Return arguments with which the operation succeeds, wherever it can."""
        code = self.device.code() if self.device else "87654321"
        setup = self.setup
        arguments: dict[str, Any] = {
            "user_id": USER,
            "account_name": ACCOUNT,
            "code": code,
            "handle": setup.handle if setup else NO_HANDLE,
            "proof": ByCode(code) if self.device_works() else CAROL,
            "secret": IMPORTED,
            "recovery_codes": list(IMPORTED_CODES),
            "by": CAROL.by,
            "reason": CAROL.reason,
        }
        if operation == "redeem_recovery_code" or (operation == "authenticate" and not self.device_works()):
            arguments["code"] = self.codes[0] if self.codes else WRONG_RECOVERY_CODE
        if operation == "confirm_setup" and setup:
            arguments["code"] = self.phone(setup).code()
        if operation == "acknowledge_recovery_codes" and self.codes:
            self.face.reset_recovery_codes(USER, proof=CAROL)  # which nobody has acknowledged yet
        wanted = inspect.signature(getattr(TwoFactor, operation)).parameters
        return {name: value for name, value in arguments.items() if name in wanted}

    def call(self, operation: str, **changed: object) -> Any:
        """Call the operation, with other arguments than the right ones where they are given."""
        arguments = self.right(operation) | changed
        typed = [value for name, value in arguments.items() if name in {"code", "handle", "proof", "secret"}]
        self.secrets.add(*(value for value in typed if value is not None and not isinstance(value, PROOFS)))
        return getattr(self.face, operation)(**arguments)

    def refused(self, operation: str, times: int = 1, **changed: object) -> None:
        """Call it in vain, on the way to something else."""
        for _ in range(times):
            with pytest.raises(TwoFactorError):
                self.call(operation, **changed)

    def spend(self, method: str) -> None:
        """Accept the right code once, so that it is no longer right."""
        self.call("verify" if method == "code" else "redeem_recovery_code")

    def spend_all(self) -> None:
        """Use up the recovery codes."""
        for code in self.codes:
            self.face.redeem_recovery_code(USER, code)

    def break_store(self, how: str) -> None:
        """Let the database fail from here on."""
        assert isinstance(self.store, BrokenStore)
        self.store.broken = how

    def put(self, document: str) -> None:
        """Lay another document into the database."""
        stored = self.record()
        assert stored is not None
        assert isinstance(self.store, BrokenStore)
        self.store._records[USER] = Stored(stored.version, document)

    def rewrite(self, old: str, new: str) -> None:
        """Change the text inside the sealed record, as only a holder of the key could."""
        stored, seal = self.record(), self.keys.for_user(USER)
        assert stored is not None
        document = seal.open(stored.document).decode()
        assert old in document
        self.put(seal.close(document.replace(old, new).encode()))

    def look(self, net: Net) -> list[tuple[str, str]]:
        """Return what was caught."""
        net.see_events([*self.events, *getattr(self.store, "events", lambda _: ())(USER)])
        self.secrets.add_record(self.store_as_it_is(), KeyRing(KEY, OLD_KEY, OTHER_KEY))
        return self.secrets.found_in(net.texts)

    def store_as_it_is(self) -> Stored | None:
        """Return the record if it is whole."""
        if isinstance(self.store, BrokenStore):
            self.store.broken = ""
        try:
            open_record(self.keys.for_user(USER), stored := self.record())
        except (TwoFactorError, sqlite3.Error):
            return None
        return stored


# --- the paths -----------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """One way through one operation."""

    operation: str
    name: str
    outcome: type[BaseException] | None
    act: Callable[[Scene], object]
    state: str = "active"

    def __repr__(self) -> str:
        return f"{self.operation}-{self.name}"


NO_OPERATION = {"browser_token", "events", "session", "bearer", "login_ticket", "verify_ticket"}
"""What is no operation on a record: these have cases of their own, sessions and tickets in `tests/session`."""
OPERATIONS = [name for name in vars(TwoFactor) if not name.startswith("_") and name not in NO_OPERATION]
PARAMETERS = {name: set(inspect.signature(getattr(TwoFactor, name)).parameters) for name in OPERATIONS}
WRITING = [name for name in OPERATIONS if name not in {"status", "resume_setup"}]
PROVEN = [name for name in OPERATIONS if "proof" in PARAMETERS[name]]


def _always(operation: str) -> Iterator[Case]:
    """What can happen to any operation."""
    ways: dict[str, tuple[type[BaseException] | None, Callable[[Scene], object]]] = {
        "success": (None, lambda _: None),
        "load fails": (OSError, lambda scene: scene.break_store("load")),
        "damaged record": (RecordDamaged, lambda scene: scene.put(f"twofa1.{KeyRing(KEY).key_ids[0]}.{'A' * 99}")),
        "no record": (RecordDamaged, lambda scene: scene.put("CANARY")),
        "newer format": (UnsupportedRecord, lambda scene: scene.put("twofa2.abc.def")),
        "newer schema": (UnsupportedRecord, lambda scene: scene.rewrite('"schema":2', '"schema":3')),
        "no schema": (RecordDamaged, lambda scene: scene.rewrite('"schema":2', '"SCHEMA":2')),
        "no list": (RecordDamaged, lambda scene: scene.rewrite('"state":[', '"state":[0,')),
        "another user's record": (RecordDamaged, _swap_users),
        "unknown key": (UnknownKey, _rotate_too_far),
        "listener fails": (None, _break_listener),
    }
    if operation in WRITING:
        ways["swap fails"] = (OutcomeUnknown, lambda scene: scene.break_store("swap"))
        ways["contention"] = (StoreContention, lambda scene: scene.break_store("contention"))
    state = _state_for(operation)
    for name, (outcome, prepare) in ways.items():
        yield Case(operation, name, outcome, _then(prepare, operation), state)
    for wrong in (None, 5, b"user-42"):
        yield Case(operation, f"user id {wrong!r}", TypeError, _with(operation, user_id=wrong))
    for length in (0, 256):
        yield Case(operation, f"user id of {length}", ValueError, _with(operation, user_id="u" * length))
    if operation != "reseal":  # which takes no time
        yield Case(operation, "clock fails", RuntimeError, _then(_stop_clock, operation))
        yield Case(operation, "clock gives no time", ValueError, _then(_stop_clock_silently, operation))
    if "source" in PARAMETERS[operation]:
        yield Case(operation, "source", TypeError, _with(operation, source=b"an address"))
        yield Case(operation, "source kept", None, _with(operation, source="192.0.2.7"), state)
    if "account_name" in PARAMETERS[operation]:
        yield Case(operation, "account name", InvalidKeyUri, _with(operation, account_name="a:b"))
        yield Case(operation, "issuer", TypeError, _with(operation, issuer=5))


def _state_for(operation: str) -> str:
    """Return a state in which the operation has something to do."""
    return "pending" if operation == "import_authenticator" else "active"


def _then(prepare: Callable[[Scene], object], operation: str, **changed: object) -> Callable[[Scene], object]:
    def act(scene: Scene) -> object:
        arguments = scene.right(operation) | changed
        prepare(scene)
        return getattr(scene.face, operation)(**arguments)

    return act


def _with(operation: str, **changed: object) -> Callable[[Scene], object]:
    return lambda scene: scene.call(operation, **changed)


def _swap_users(scene: Scene) -> None:
    scene.begin("somebody else")
    other = scene.record("somebody else")
    assert other is not None
    scene.put(other.document)


def _rotate_too_far(scene: Scene) -> None:
    scene.face = scene.new_face(scene.policy, keys=KeyRing(OTHER_KEY))


def _break_listener(scene: Scene) -> None:
    def listen(event: Event) -> None:
        scene.events.append(event)
        raise RuntimeError("the mail server is down")

    scene.face = scene.new_face(scene.policy, on_event=listen)


def _stop_clock(scene: Scene) -> None:
    def stopped() -> float:
        raise RuntimeError("no time server")

    scene.face = scene.new_face(scene.policy, clock=stopped)


def _stop_clock_silently(scene: Scene) -> None:
    scene.face = scene.new_face(scene.policy, clock=lambda: float("nan"))


def _of_arguments(operation: str) -> Iterator[Case]:
    """What can be wrong with the secrets that an operation takes."""
    for parameter in sorted(PARAMETERS[operation] & {"code", "handle", "proof"}):
        for wrong in [*WRONG_TYPES, *(["24681357"] if parameter == "proof" else [])]:
            name = f"{parameter} is {type(wrong).__name__}"
            yield Case(operation, name, TypeError, _with(operation, **{parameter: wrong}))
        if operation != "begin_setup":
            missing = {"code": MalformedCode, "handle": NoSetup, "proof": ProofRequired}[parameter]
            if operation == "cancel_setup":
                missing = None  # without a handle it cancels whatever waits
            yield Case(operation, f"{parameter} is missing", missing, _with(operation, **{parameter: None}))


def _of_code(operation: str, method: str, give: Callable[[str], dict[str, object]]) -> Iterator[Case]:
    """What can be wrong with a code, given as an argument or as a proof."""
    totp = method == "code"

    def wrong(scene: Scene) -> dict[str, object]:
        code = scene.device.wrong_code() if totp and scene.device else WRONG_RECOVERY_CODE
        scene.secrets.add(code)
        return give(code)

    def right(scene: Scene) -> dict[str, object]:
        return give(scene.device.code() if totp and scene.device else scene.codes[0])

    def throttled(scene: Scene) -> object:
        scene.refused(operation, 5, **wrong(scene))
        return scene.call(operation, **right(scene))

    def reused(scene: Scene) -> object:
        arguments = right(scene)
        scene.spend(method)
        return scene.call(operation, **arguments)

    def blocking(scene: Scene) -> object:
        scene.face = scene.new_face(Policy(digits=8, throttle=Throttle(block_after=1)))
        return scene.call(operation, **wrong(scene))

    def exhausted(scene: Scene) -> object:
        scene.spend_all()
        return scene.call(operation, **right(scene))

    ways: dict[str, tuple[type[TwoFactorError] | None, Callable[[Scene], object]]] = {
        "right": (None, lambda scene: scene.call(operation, **right(scene))),
        "malformed": (MalformedCode, lambda scene: scene.call(operation, **give(MALFORMED_CODE))),
        "wrong": (InvalidCode, lambda scene: scene.call(operation, **wrong(scene))),
        "throttled": (Throttled, throttled),
        "reused": (CodeReused, reused),
        "blocking": (InvalidCode, blocking),
    }
    if not totp:
        ways["exhausted"] = (RecoveryCodesExhausted, exhausted)
    for name, (outcome, act) in ways.items():
        yield Case(operation, f"{method} {name}", outcome, act)
    if totp and operation in PROVEN:
        yield Case(operation, "code after reset", ReenrolmentRequired, _with(operation, **give("13572468")), "reenrol")


def _of_proof(operation: str) -> Iterator[Case]:
    yield from _of_code(operation, "code", lambda code: {"proof": ByCode(code)})
    yield from _of_code(operation, "recovery code", lambda code: {"proof": ByRecoveryCode(code)})
    yield Case(operation, "vouched", None, _with(operation, proof=CAROL))
    yield Case(operation, "verified", None, lambda scene: scene.call(operation, proof=ByVerification(scene.token)))
    stale = ByVerification(NO_TOKEN)
    yield Case(operation, "verified by nobody", ProofRequired, _with(operation, proof=stale))


def _of_setup() -> Iterator[Case]:
    def expired(scene: Scene) -> object:
        arguments = scene.right("confirm_setup")
        scene.clock.advance(600)
        return scene.face.confirm_setup(**arguments)

    def wrong(scene: Scene, times: int) -> object:
        assert scene.setup is not None
        code = scene.phone(scene.setup).wrong_code()
        scene.refused("confirm_setup", times - 1, code=code)
        return scene.call("confirm_setup", code=code)

    for state in ("pending", "active", "reenrol"):
        yield Case("confirm_setup", f"right in {state}", None, _with("confirm_setup"), state)
        yield Case("confirm_setup", f"wrong in {state}", InvalidCode, lambda scene: wrong(scene, 1), state)
        yield Case("confirm_setup", f"tenth wrong in {state}", InvalidCode, lambda scene: wrong(scene, 10), state)
        yield Case("confirm_setup", f"after ten in {state}", NoSetup, lambda scene: wrong(scene, 11), state)
        yield Case("confirm_setup", f"expired in {state}", SetupExpired, expired, state)
    yield Case("confirm_setup", "malformed", MalformedCode, _with("confirm_setup", code=MALFORMED_CODE))
    yield Case("confirm_setup", "stale handle", NoSetup, _with("confirm_setup", handle=NO_HANDLE))
    yield Case("begin_setup", "no proof", ProofRequired, _with("begin_setup", proof=None))
    yield Case("resume_setup", "stale handle", NoSetup, _with("resume_setup", handle=NO_HANDLE))


def _of_import() -> Iterator[Case]:
    def case(name: str, outcome: type[BaseException] | None, **changed: object) -> Case:
        return Case("import_authenticator", name, outcome, _with("import_authenticator", **changed), "none")

    yield case("base32", None, secret=base64.b32encode(IMPORTED).decode().lower())
    yield case("short", None, secret=IMPORTED[:10])
    yield case("too short", InvalidSecret, secret=IMPORTED[:9])
    yield case("no base32", InvalidSecret, secret="CANARY10")
    yield case("secret is int", TypeError, secret=24681357)
    yield case("secret is list", TypeError, secret=[IMPORTED])
    yield case("nine digits", PolicyError, digits=9)
    yield case("one bare code", TypeError, recovery_codes=IMPORTED_CODES[0])
    yield case("code is bytes", TypeError, recovery_codes=[IMPORTED_CODES[0].encode()])
    yield case("the same code twice", ValueError, recovery_codes=[IMPORTED_CODES[0]] * 2)
    yield case("short code", ValueError, recovery_codes=["CANAR"])
    yield case("too many codes", ValueError, recovery_codes=[f"CANARY{number}" for number in range(100, 133)])
    yield case("naive date", ValueError, confirmed_at=datetime(2027, 1, 1))
    yield case("later than now", ValueError, confirmed_at=datetime(2099, 1, 1, tzinfo=UTC))
    yield case("step of no day", ValueError, last_step=1 << 40)
    yield case("step is str", TypeError, last_step="CANARY of a step")
    yield case("nobody's word", ValueError, by="")


def _of_table() -> Iterator[Case]:
    for operation, row in TABLE.items():
        for state, cell in row.items():
            outcome = cell.requires if isinstance(cell.requires, type) else None
            if state != "active":
                yield Case(operation, f"in {state}", outcome, _with(operation), state)


def _all_cases() -> Iterator[Case]:
    for operation in OPERATIONS:
        yield from _always(operation)
        yield from _of_arguments(operation)
    for operation in PROVEN:
        yield from _of_proof(operation)
    yield from _of_code("verify", "code", lambda code: {"code": code})
    yield from _of_code("redeem_recovery_code", "recovery code", lambda code: {"code": code})
    yield from _of_code("authenticate", "code", lambda code: {"code": code})
    yield from _of_code("authenticate", "recovery code", lambda code: {"code": code})
    yield from _of_setup()
    yield from _of_import()
    yield from _of_table()


CASES = list(_all_cases())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=repr)
def test_no_path_shows_a_secret(case: Case, kind: str, net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an operation comes to, nothing that it returns, raises, logs, reports or leaves in a frame is secret."""
    scene = Scene(kind, Secrets(monkeypatch), case.state)

    observe(case.outcome, net, lambda: case.act(scene))

    assert [] == scene.look(net)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("broken", ["load", "swap"])
def test_a_database_that_fails_shows_no_secret(
    broken: str, operation: str, kind: str, net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with SQLite's own errors: none of its messages or frames holds more than the sealed record."""
    database = tmp_path / "app.db"
    with SQLiteStore(database) as store:
        scene = Scene(kind, Secrets(monkeypatch), _state_for(operation), store=store)
        in_vain = OutcomeUnknown if operation in WRITING else None
        outcome = sqlite3.OperationalError if broken == "load" else in_vain
        case = Case(operation, broken, outcome, _then(lambda _: _sabotage(database, broken), operation))

        observe(case.outcome, net, lambda: case.act(scene))

        assert [] == scene.look(net)


def _sabotage(database: Path, broken: str) -> None:
    connection = sqlite3.connect(database)
    if broken == "load":
        connection.execute("ALTER TABLE twofa_record RENAME TO elsewhere")
    for change in ("UPDATE", "DELETE") if broken == "swap" else ():
        connection.execute(
            f"CREATE TRIGGER no_{change} BEFORE {change} ON twofa_record BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    connection.commit()
    connection.close()


# --- slow work and chance that fail --------------------------------------------------------------------------------

SLOW = Policy(digits=8, recovery_codes=2, hashing=Argon2id(memory_kib=12_288, iterations=3))
HASHING: dict[str, tuple[str, Callable[[Scene], dict[str, object]], int]] = {
    # operation, arguments, slow hashes that it takes
    "confirm": ("confirm_setup", lambda _: {}, 2),
    "redeem": ("redeem_recovery_code", lambda _: {}, 1),
    "codes by code": ("reset_recovery_codes", lambda _: {}, 2),
    "codes by recovery code": ("reset_recovery_codes", lambda scene: {"proof": ByRecoveryCode(scene.codes[0])}, 3),
    "codes by verification": ("reset_recovery_codes", lambda scene: {"proof": ByVerification(scene.token)}, 2),
    "codes by voucher": ("reset_recovery_codes", lambda _: {"proof": CAROL}, 2),
}
FAILING = [("blocking", name, number) for name, (_, _, hashes) in HASHING.items() for number in range(hashes)]
FAILING += [("awaiting", name, hashes - 1) for name, (_, _, hashes) in HASHING.items()]


@pytest.mark.parametrize(("kind", "name", "number"), FAILING)
def test_a_hash_that_fails_shows_no_secret(
    kind: str, name: str, number: int, net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that runs out of memory for the n-th slow hash gets a `MemoryError`, and no code or hash with it."""
    operation, arguments, _ = HASHING[name]
    scene = Scene(kind, Secrets(monkeypatch), policy=SLOW)
    changed, argon2id, calls = arguments(scene), recovery._argon2id, count()

    class Exhausted:
        def derive(self, _code: bytes) -> bytes:
            raise MemoryError

    def failing(*parameters: Any) -> Any:
        return Exhausted() if next(calls) == number else argon2id(*parameters)

    monkeypatch.setattr(recovery, "_argon2id", failing)
    case = Case(operation, name, MemoryError, _with(operation, **changed))

    observe(case.outcome, net, lambda: case.act(scene))

    assert [] == scene.look(net)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_chance_that_fails_shows_no_secret(
    operation: str, kind: str, net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the operating system's generator fails, its `OSError` carries nothing that was drawn or read before."""
    for number in count():
        with monkeypatch.context() as patches:
            scene = Scene(kind, Secrets(patches), _state_for(operation))
            drawing, calls = entropy.random_bytes, count()

            def failing(length: int) -> bytes:
                if next(calls) == number:  # noqa: B023  # called in this round only
                    raise OSError("no entropy")
                return drawing(length)  # noqa: B023

            patches.setattr(entropy, "random_bytes", failing)
            try:
                scene.call(operation)
            except OSError as problem:
                net.texts += seen_of_error(problem)
            caught = scene.look(net)
        assert [] == caught, f"draw {number}"
        if next(calls) <= number:
            break


# --- records that only the library itself, or a later one, could have written ---------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("old", "new", "operation"),
    [
        ('"sha256"', '"bcrypt"', "redeem_recovery_code"),
        ('"SHA1",8,30', '"SHA3",8,30', "verify"),
        ('"SHA1",8,30', '"SHA1",8,5', "confirm_setup"),
    ],
)
def test_a_record_that_makes_no_sense_shows_no_secret(
    old: str, new: str, operation: str, kind: str, net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole record with values that no known version wrote is refused by an error of the library that hides it."""
    scene = Scene(kind, Secrets(monkeypatch))
    arguments = scene.right(operation)
    scene.rewrite(old, new)

    with pytest.raises(TwoFactorError) as caught:
        getattr(scene.face, operation)(**arguments)
    net.texts += seen_of_error(caught.value)
    net.see_events(scene.events)

    assert [] == scene.secrets.found_in(net.texts)


# --- that nothing is left out --------------------------------------------------------------------------------------


def test_every_method_is_walked_to_success_and_to_every_error() -> None:
    """No public method is without paths, and no error of the library is never raised by one of them."""
    bases = {TwoFactorError, errors.RecordError}  # which are caught, never raised
    bases |= {errors.SignInRequired, errors.CodeRequired, errors.CrossSiteRequest}  # see `tests/session`
    bases |= {errors.InvalidKey}  # see `test_leaks_beside_the_faces.py`
    raised = {case.outcome for case in CASES}

    assert set(OPERATIONS) == {name for name in vars(AsyncTwoFactor) if not name.startswith("_")} - NO_OPERATION
    assert set(OPERATIONS) == {case.operation for case in CASES}
    assert set(OPERATIONS) == {case.operation for case in CASES if case.outcome is None}
    assert {getattr(errors, name) for name in errors.__all__} - bases == raised & {
        getattr(errors, name) for name in errors.__all__
    }
    for operation, row in TABLE.items():
        refusals = {cell.requires for cell in row.values() if isinstance(cell.requires, type)}
        assert refusals <= {case.outcome for case in CASES if case.operation == operation}
