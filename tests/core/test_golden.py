"""P12: records that earlier versions sealed are read for ever, with the codes that belong to them.

`golden/` holds one file for each form of a record that was ever released: keys, sealed records of users in every state,
and for each what its user did next, with the codes of that time. Once released a file is never changed. A version that
writes a new form adds one, made with the sources of that version by

    python tests/core/test_golden.py schema-2
"""

from __future__ import annotations

import base64
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyotp
import pytest
from support import ACCOUNT, FAST, Clock, World

from twofa import (
    Argon2id,
    ByVerification,
    Change,
    KeyRing,
    Policy,
    Scrypt,
    Stored,
    TwoFactor,
    Vouched,
)
from twofa._record.document import load
from twofa.errors import RecordDamaged, RecordError, TwoFactorError, UnknownKey, UnsupportedRecord
from twofa.stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("*.json"))
RECORDS = [(path.stem, record["name"]) for path in FILES for record in json.loads(path.read_text("ascii"))["records"]]
CAROL = Vouched(by="support:carol", reason="identity checked, ticket 4711")


class Relic:
    """A golden record, laid into a store of today as it was."""

    def __init__(self, file: str, name: str) -> None:
        content = json.loads((GOLDEN / f"{file}.json").read_text("ascii"))
        self.keys: list[str] = content["keys"]
        [self.record] = [record for record in content["records"] if record["name"] == name]
        self.user_id: str = self.record["user_id"]
        self.clock, self.store = Clock(), MemoryStore()
        stored = Stored(self.record["version"], self.record["document"])
        assert self.store.swap(self.user_id, Change(None, stored))

    def face(self, *keys: str) -> TwoFactor:
        return TwoFactor(
            self.store,
            keys=KeyRing(*(keys or self.keys)),
            issuer="Another name by now",
            policy=FAST,
            clock=self.clock,
            namespace=self.record["namespace"],
        )

    def replay(self, face: TwoFactor) -> None:
        """Do what the user did then, and compare what came of it."""
        for step in self.record["steps"]:
            self.clock.now = step["at"]
            outcome = _outcome(face, self.user_id, step["do"], step["with"])
            if isinstance(outcome, dict):  # a later version may have more to say
                outcome = {name: value for name, value in outcome.items() if name in step["gives"]}
            assert step["gives"] == outcome, step


def _outcome(face: TwoFactor, user_id: str, do: str, given: dict[str, str]) -> object:
    try:
        return DO[do](face, user_id, given)
    except TwoFactorError as refusal:
        return {"raises": refusal.code}


def _verify(face: TwoFactor, user_id: str, given: dict[str, str]) -> object:
    verification = face.verify(user_id, given["code"])
    return {"method": verification.method, "failed_before": verification.failed_before}


def _redeem(face: TwoFactor, user_id: str, given: dict[str, str]) -> object:
    verification = face.redeem_recovery_code(user_id, given["code"])
    return {"method": verification.method, "remaining": verification.recovery_codes_remaining}


def _status(face: TwoFactor, user_id: str, _given: dict[str, str]) -> object:
    status = face.status(user_id)
    shown = {name: getattr(status, name) for name in status.__slots__}
    return {name: value if not hasattr(value, "timestamp") else int(value.timestamp()) for name, value in shown.items()}


DO: dict[str, Callable[[TwoFactor, str, dict[str, str]], object]] = {
    "verify": _verify,
    "redeem": _redeem,
    "status": _status,
    "confirm": lambda face, user_id, given: len(face.confirm_setup(user_id, given["code"], handle=given["handle"])),
    "show": lambda face, user_id, given: (
        face.resume_setup(user_id, account_name=ACCOUNT, handle=given["handle"]).manual_key
    ),
    "password": lambda face, user_id, _given: face.password_changed(user_id) and None,
    "prove": lambda face, user_id, given: len(face.reset_recovery_codes(user_id, proof=ByVerification(given["token"]))),
}


# --- what must hold for ever ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "name"), RECORDS)
def test_yesterdays_users_still_get_in(file: str, name: str) -> None:
    """P12: a record of an earlier version is read, and its codes serve and fail as they did."""
    relic = Relic(file, name)

    relic.replay(relic.face())


@pytest.mark.parametrize(("file", "name"), RECORDS)
def test_yesterdays_users_survive_a_rotation(file: str, name: str) -> None:
    """P12: resealed under a new key, the same record serves in the same way."""
    relic, new_key = Relic(file, name), KeyRing.generate_key()
    assert relic.face(new_key, *relic.keys).reseal(relic.user_id) is True

    relic.replay(relic.face(new_key))


@pytest.mark.parametrize(("file", "name"), RECORDS)
def test_yesterdays_users_are_not_read_without_their_key(file: str, name: str) -> None:
    """P3: without its key a golden record is refused by the key's id, and never reads as "no second factor here"."""
    relic = Relic(file, name)

    with pytest.raises(UnknownKey) as refusal:
        relic.face(KeyRing.generate_key()).status(relic.user_id)
    assert refusal.value.key_id in KeyRing(*relic.keys).key_ids


def test_all_kinds_of_yesterdays_users_are_kept() -> None:
    """Every file has users in all states, with all schemes and algorithms, under both keys."""
    assert FILES
    for path in FILES:
        content = json.loads(path.read_text("ascii"))
        ring = KeyRing(*content["keys"])
        states, schemes, algorithms, keys = set(), set(), set(), set()
        for record in content["records"]:
            seal = ring.for_user(record["user_id"], record["namespace"])
            state = load(seal.open(record["document"])).state
            states.add(state.name)
            keys.add(record["document"].split(".")[1])
            schemes |= {state.recovery.scheme.split(":")[0]} if state.recovery else set()
            algorithms |= {state.authenticator.totp.algorithm} if state.authenticator else set()
        assert {"none", "pending", "active", "reenrol"} == states
        assert {"argon2id", "scrypt", "sha256"} == schemes
        assert {"SHA1", "SHA256", "SHA512"} == algorithms
        assert set(ring.key_ids) == keys


# --- what is no record of ours -------------------------------------------------------------------------------------

FOREIGN: dict[str, tuple[bytes, type[RecordError], str]] = {
    # what is inside an intact seal: the document, the error, and what it says
    "newer schema": (
        b'{"schema":3,"state":[]}',
        UnsupportedRecord,
        "schema 3, .* reads up to 2: upgrade this instance",
    ),
    "older schema": (b'{"schema":0,"state":[]}', UnsupportedRecord, "no version of twofa wrote: restore a backup"),
    "no JSON": (b"\x80\x04}q\x00.", RecordDamaged, "does not open"),
    "truncated": (b'{"schema":1,"state":[null,', RecordDamaged, "does not open"),
    "missing field": (b'{"schema":1,"versions":""}', RecordDamaged, "does not open"),
    "missing part": (b'{"schema":1,"state":[null,null,null,null],"versions":""}', RecordDamaged, "does not open"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_record_of_ours_says_why(name: str) -> None:
    """P3: inside an intact seal, another schema and a document that nobody wrote each have their own error."""
    document, error, message = FOREIGN[name]
    world = World("blocking")
    world.store.swap("u", Change(None, Stored("f" * 32, world.keys.for_user("u").close(document))))

    for call in (world.face.status, world.face.reseal, lambda user_id: world.face.verify(user_id, "123456")):
        with pytest.raises(error, match=message):
            call("u")


# --- how the files were made ---------------------------------------------------------------------------------------

PRIMARY = "Z29sZGVuIHByaW1hcnkga2V5IDMyIGJ5dGVzIGxvbmc"
OLDER = "dGhlIG9sZGVyIGdvbGRlbiBrZXkgLSAzMiBieXRlcyE"
SLOW = Policy(recovery_codes=4)
IMPATIENT = Policy(recovery_codes=4, recovery_code_length=24)

Step = dict[str, Any]


def _step(at: int, do: str, gives: object, **given: str) -> Step:
    return {"at": at, "do": do, "with": given, "gives": gives}


def _wrong(call: Callable[[], object]) -> None:
    with pytest.raises(TwoFactorError):
        call()


def _totp(failed_before: int = 0) -> Step:
    return {"method": "totp", "failed_before": failed_before}


def _left(remaining: int) -> Step:
    return {"method": "recovery_code", "remaining": remaining}


def _cancelled(world: World, user_id: str) -> list[Step]:
    world.begin(user_id)
    world.face.cancel_setup(user_id)
    return [_step(world.clock.now, "verify", {"raises": "not_enrolled"}, code="123456")]


def _disabled(world: World, user_id: str) -> list[Step]:
    world.enrol(user_id)
    world.face.disable(user_id, proof=CAROL)
    return [_step(world.clock.now, "verify", {"raises": "not_enrolled"}, code="123456")]


def _pending(world: World, user_id: str) -> list[Step]:
    setup = world.begin(user_id)
    phone, now = world.phone(setup), world.clock.now
    _wrong(lambda: world.face.confirm_setup(user_id, phone.wrong_code(), handle=setup.handle))
    return [
        _step(now, "confirm", {"raises": "no_setup"}, code=phone.code(), handle="another"),
        _step(now, "confirm", {"raises": "invalid_code"}, code=phone.wrong_code(), handle=setup.handle),
        _step(now, "show", setup.manual_key, handle=setup.handle),
        _step(now + 599, "confirm", 10, code=phone.code(599 // phone.period), handle=setup.handle),
        _step(now + 720, "verify", _totp(), code=phone.code(720 // phone.period)),
    ]


def _expired(world: World, user_id: str) -> list[Step]:
    setup = world.begin(user_id)
    phone = world.phone(setup)
    world.clock.advance(600)
    _wrong(lambda: world.face.confirm_setup(user_id, phone.code(), handle=setup.handle))
    return [_step(world.clock.now, "confirm", {"raises": "setup_expired"}, code=phone.code(), handle=setup.handle)]


def _active(world: World, user_id: str) -> list[Step]:
    phone, codes = world.enrol(user_id)
    used = phone.code()
    world.face.verify(user_id, used)
    world.face.redeem_recovery_code(user_id, codes[0])
    _wrong(lambda: world.face.verify(user_id, phone.wrong_code()))
    now, left = world.clock.now, len(codes) - 1
    again = "code_reused" if left else "recovery_codes_exhausted"
    return [
        _step(now, "verify", {"raises": "code_reused"}, code=used),
        _step(now + phone.period, "verify", _totp(1), code=phone.code(1)),
        _step(now + phone.period, "redeem", {"raises": again}, code=codes[0]),
        *(
            _step(now + phone.period, "redeem", _left(left - place), code=code)
            for place, code in enumerate(codes[1:], start=1)
        ),
        _step(now + phone.period, "redeem", {"raises": "recovery_codes_exhausted"}, code=codes[-1]),
    ]


def _active_with_pending(world: World, user_id: str) -> list[Step]:
    phone, codes = world.enrol(user_id)
    setup = world.begin(user_id, proof=CAROL)
    new, now = world.phone(setup), world.clock.now
    return [
        _step(now, "verify", _totp(), code=phone.code()),
        _step(now, "show", setup.manual_key, handle=setup.handle),
        _step(now + 30, "confirm", 10, code=new.code(1), handle=setup.handle),
        _step(now + 60, "verify", {"raises": "invalid_code"}, code=phone.code(2)),
        _step(now + 60, "verify", _totp(1), code=new.code(2)),
        _step(now + 60, "redeem", {"raises": "invalid_code"}, code=codes[0]),
    ]


def _verified(world: World, user_id: str) -> list[Step]:
    phone, _ = world.enrol(user_id)
    token = world.login(phone, user_id).token
    return [
        _step(world.clock.now, "prove", {"raises": "proof_required"}, token="another"),
        _step(world.clock.now, "prove", 10, token=token),
        _step(world.clock.now, "prove", {"raises": "proof_required"}, token=token),
    ]


def _throttled(world: World, user_id: str) -> list[Step]:
    phone, codes = world.enrol(user_id)
    for _ in range(5):
        _wrong(lambda: world.face.verify(user_id, phone.wrong_code()))
    now = world.clock.now
    return [
        _step(now + 29, "verify", {"raises": "throttled"}, code=phone.code()),
        _step(now + 29, "redeem", _left(3), code=codes[3]),
        _step(now + 30, "verify", _totp(5), code=phone.code(1)),
    ]


def _strangers_refused(world: World, user_id: str) -> list[Step]:
    phone, codes = world.enrol(user_id)
    while world.face.status(user_id).failures < 80:
        retry_at = world.face.status(user_id).retry_at
        world.clock.now = int(retry_at.timestamp()) if retry_at else world.clock.now
        _wrong(lambda: world.face.verify(user_id, phone.wrong_code()))
    now = world.clock.now
    return [
        _step(now + 3600, "verify", {"raises": "throttled"}, code=phone.code(3600 // phone.period)),
        _step(now + 3600, "redeem", _left(3), code=codes[3]),
        _step(now + 3600, "password", None),
        _step(now + 3600, "verify", _totp(80), code=phone.code(3600 // phone.period)),
    ]


def _unseen(world: World, user_id: str) -> list[Step]:
    setup = world.begin(user_id)
    phone = world.phone(setup)
    codes = world.face.confirm_setup(user_id, phone.code(), handle=setup.handle)
    now = world.clock.now
    return [
        _step(now + 30, "status", {"recovery_codes_acknowledged": False}),
        _step(now + 30, "redeem", _left(3), code=codes[0]),
        _step(now + 30, "status", {"recovery_codes_acknowledged": True}),
    ]


def _reset(world: World, user_id: str) -> list[Step]:
    old, codes = world.enrol(user_id)
    setup = world.face.reset_authenticator(user_id, account_name=ACCOUNT, proof=CAROL)
    new, now = world.phone(setup), world.clock.now
    return [
        _step(now, "verify", {"raises": "reenrolment_required"}, code=old.code()),
        _step(now, "redeem", _left(3), code=codes[2]),
        _step(now, "confirm", 10, code=new.code(), handle=setup.handle),
        _step(now + 30, "verify", _totp(), code=new.code(1)),
    ]


def _authenticator_blocked(world: World, user_id: str) -> list[Step]:
    phone, codes = world.enrol(user_id)
    browser = world.browser(user_id)
    while world.face.status(user_id).state == "active":
        retry_at = world.face.status(user_id, browser=browser).retry_at
        world.clock.now = int(retry_at.timestamp()) if retry_at else world.clock.now
        _wrong(lambda: world.face.verify(user_id, phone.wrong_code(), browser=browser))
    return [
        _step(world.clock.now, "verify", {"raises": "reenrolment_required"}, code=phone.code()),
        _step(world.clock.now, "redeem", _left(3), code=codes[0]),
    ]


def _recovery_blocked(world: World, user_id: str) -> list[Step]:
    phone, codes = world.enrol(user_id)
    browser = world.browser(user_id)
    while world.face.status(user_id).recovery_codes_remaining:
        retry_at = world.face.status(user_id, browser=browser).recovery_retry_at
        world.clock.now = int(retry_at.timestamp()) if retry_at else world.clock.now
        _wrong(lambda: world.face.redeem_recovery_code(user_id, "0" * 24, browser=browser))
    return [
        _step(world.clock.now, "redeem", {"raises": "recovery_codes_exhausted"}, code=codes[0]),
        _step(world.clock.now, "verify", _totp(), code=phone.code()),
    ]


def _imported(world: World, user_id: str, *, codes: list[str]) -> list[Step]:
    secret = "JBSWY3DPEHPK3PXP"
    word = {"by": CAROL.by, "reason": CAROL.reason}
    world.face.import_authenticator(user_id, secret, digits=8, recovery_codes=codes, **word)
    with pytest.raises(TwoFactorError):
        world.face.redeem_recovery_code(user_id, codes[0].swapcase() + "2")
    if len(codes) > 1:
        world.face.redeem_recovery_code(user_id, codes[1])
    phone, now = pyotp.TOTP("JBSWY3DPEHPK3PXP" * 2, digits=8), world.clock.now
    phone.byte_secret = lambda: base64.b32decode(secret)  # type: ignore[method-assign]  # it makes no short ones now
    any_case = codes[0].swapcase() if codes[0].lower() in codes else codes[0]
    return [
        _step(now, "status", {"short_secret": True, "recovery_codes_acknowledged": True}),
        _step(now, "verify", _totp(), code=phone.at(now)),
        _step(now, "redeem", _left(len(codes) - min(2, len(codes))), code=any_case),
        _step(
            now, "redeem", {"raises": "recovery_codes_exhausted" if len(codes) < 3 else "invalid_code"}, code=codes[0]
        ),
    ]


CASES: list[tuple[str, Callable[[World, str], list[Step]], Policy, dict[str, str]]] = [
    # name, what happened before the record was kept, under which policy, and where
    ("cancelled", _cancelled, FAST, {}),
    ("disabled", _disabled, IMPATIENT, {}),
    ("pending", _pending, FAST, {}),
    ("pending SHA512 8 15", _pending, Policy(algorithm="SHA512", digits=8, period=15), {}),
    ("expired", _expired, FAST, {}),
    ("active SHA1 6 30 Argon2id", _active, SLOW, {}),
    (
        "active SHA256 7 60 Scrypt",
        _active,
        Policy(algorithm="SHA256", digits=7, period=60, recovery_codes=2, hashing=Scrypt()),
        {},
    ),
    (
        "active SHA512 8 15 SHA-256",
        _active,
        Policy(algorithm="SHA512", digits=8, period=15, recovery_code_length=32),
        {},
    ),
    ("active, shortest codes", _active, Policy(recovery_codes=1, recovery_code_length=14), {}),
    ("active, most codes", _active, Policy(recovery_codes=32, recovery_code_length=24), {}),
    (
        "active, stronger Argon2id",
        _active,
        Policy(recovery_codes=2, hashing=Argon2id(memory_kib=32_768, iterations=3)),
        {},
    ),
    ("active, other Scrypt", _active, Policy(recovery_codes=1, hashing=Scrypt(n=2**15, r=9, p=3)), {}),
    ("active, in a namespace", _active, IMPATIENT, {"namespace": "tenant-7"}),
    ("active, under the older key", _active, IMPATIENT, {"keys": OLDER}),
    ("active, any user id", _active, IMPATIENT, {"user_id": "Žofie \u2603 %_' \U0001f511 "}),
    ("active with pending", _active_with_pending, IMPATIENT, {}),
    ("verified", _verified, IMPATIENT, {}),
    ("throttled", _throttled, IMPATIENT, {}),
    ("strangers refused", _strangers_refused, IMPATIENT, {}),
    ("codes that nobody saw", _unseen, IMPATIENT, {}),
    ("reset", _reset, SLOW, {}),
    ("authenticator blocked", _authenticator_blocked, IMPATIENT, {}),
    ("recovery codes blocked", _recovery_blocked, IMPATIENT, {}),
    ("imported", partial(_imported, codes=["abcd-2345", "bcde-3456", "cdef-45678"]), SLOW, {}),
    ("imported, case matters", partial(_imported, codes=["abCD-2345", "bcDE-3456"]), SLOW, {}),
    ("imported, hashed fast", partial(_imported, codes=["0123456789abcdef0123456789abcdef01"]), SLOW, {}),
]


def make(name: str) -> None:
    """Write a new file of golden records as this version seals them. An existing one is never touched."""
    path = GOLDEN / f"{name}.json"
    if path.exists():
        raise SystemExit(f"{path} exists: released records are kept as they are")
    records = []
    for case, happen, policy, where in CASES:
        user_id, namespace = where.get("user_id", "user-42"), where.get("namespace", "")
        world = World("blocking", policy=policy, keys=KeyRing(where.get("keys", PRIMARY)))
        world.face = world.new_face(policy, namespace=namespace)
        steps = happen(world, user_id)
        stored = world.record(user_id)
        assert stored is not None
        now = world.clock.now
        status = _step(now, "status", _status(world.face, user_id, {}))
        records.append(
            {
                "name": case,
                "user_id": user_id,
                "namespace": namespace,
                "version": stored.version,
                "document": stored.document,
                "steps": [status, *steps],
            }
        )
    path.write_text(json.dumps({"keys": [PRIMARY, OLDER], "records": records}, indent=1) + "\n", "ascii")


if __name__ == "__main__":
    make(sys.argv[1])
