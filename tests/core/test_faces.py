"""What a host sees of the two faces: how they are made, what they return, and how their checks and waits behave."""

from __future__ import annotations

import copy
import pickle
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support import ACCOUNT, FAST, KEY, OTHER_KEY, USER, CountingStore, World, enter_wrong_codes

from twofa import (
    AsyncTwoFactor,
    ByCode,
    Event,
    KeyRing,
    Policy,
    RecoveryCodes,
    Scrypt,
    Setup,
    Status,
    TwoFactor,
    Verification,
    Vouched,
)
from twofa.errors import (
    CodeReused,
    InvalidCode,
    InvalidKeyUri,
    MalformedCode,
    NotEnrolled,
    PolicyError,
    ProofRequired,
    RecordDamaged,
    RecoveryCodesExhausted,
    ReenrolmentRequired,
    Throttled,
)
from twofa.stores import MemoryStore, ThreadedStore

if TYPE_CHECKING:
    from collections.abc import Callable


CAROL = Vouched(by="support:carol", reason="identity checked, ticket 4711")
FACES: list[Any] = [TwoFactor, AsyncTwoFactor]
any_face = pytest.mark.parametrize("face", FACES)
TOKEN = r"[0-9a-f]{32}"


def _at(world: World, seconds: int = 0) -> datetime:
    return datetime.fromtimestamp(world.clock.now + seconds, UTC)


# --- made ----------------------------------------------------------------------------------------------------------


class Untouchable:
    """A store, a clock and a listener that nobody may use yet."""

    def load(self, *_: object) -> Any:
        raise AssertionError("used before it was time")

    swap = __call__ = load


def _make(face: Any, **changed: Any) -> Any:
    nobody = Untouchable()
    options = {"store": nobody, "keys": KeyRing(KEY), "issuer": "Example", "clock": nobody, "on_event": nobody}
    return face(**(options | changed))


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"store": None}, TypeError, "store"),
    ({"store": "app.db"}, TypeError, "store"),
    ({"keys": KEY}, TypeError, "keys"),
    ({"keys": None}, TypeError, "keys"),
    ({"keys": [KEY]}, TypeError, "keys"),
    ({"issuer": None}, TypeError, "issuer"),
    ({"issuer": b"Example"}, TypeError, "issuer"),
    ({"issuer": ""}, InvalidKeyUri, "issuer"),
    ({"issuer": "a:b"}, InvalidKeyUri, "colon"),
    ({"issuer": " Example"}, InvalidKeyUri, "space"),
    ({"issuer": "E" * 211}, InvalidKeyUri, "210"),
    ({"policy": {"digits": 6}}, TypeError, "policy"),
    ({"policy": Policy}, TypeError, "policy"),
    ({"clock": 1_800_000_000}, TypeError, "clock"),
    ({"clock": None}, TypeError, "clock"),
    ({"on_event": "log"}, TypeError, "on_event must be a function"),
    ({"namespace": None}, TypeError, "namespace"),
    ({"namespace": b"shop"}, TypeError, "namespace"),
    ({"namespace": type("Shop", (str,), {})("shop")}, TypeError, "namespace must be exactly str, not Shop"),
    ({"namespace": "n" * 256}, ValueError, "namespace"),
    ({"namespace": "a\0b"}, ValueError, "namespace"),
    ({"namespace": "\ud800"}, ValueError, "namespace"),
]


@any_face
@pytest.mark.parametrize(("changed", "error", "message"), WRONG, ids=lambda value: ascii(value)[:40])
def test_a_wrong_setting_is_refused_when_the_face_is_made(
    changed: dict[str, Any], error: type[Exception], message: str, face: Any
) -> None:
    """By name, before a store, a clock or a listener is used: at the start of the application, not at a login."""
    with pytest.raises(error, match=message):
        _make(face, **changed)


def test_a_store_of_the_other_face_is_refused_when_the_face_is_made() -> None:
    """A blocking store would stop the loop, and a coroutine that nobody awaits would check nothing."""
    keys, blocking, awaiting = KeyRing(KEY), CountingStore(), ThreadedStore(CountingStore())
    with pytest.raises(TypeError, match="AsyncTwoFactor"):
        TwoFactor(awaiting, keys=keys, issuer="Example")  # type: ignore[arg-type]  # the wrong store is the point
    with pytest.raises(TypeError, match=r"ThreadedStore\(MemoryStore\(\)\)"):
        AsyncTwoFactor(blocking, keys=keys, issuer="Example")  # type: ignore[arg-type]  # the same


@any_face
def test_a_store_is_an_instance_and_not_its_class(face: Any) -> None:
    """Who forgets to make the store is told how, in words that name its class."""
    with pytest.raises(TypeError, match=r"must be an instance, not the class MemoryStore: pass MemoryStore\("):
        _make(face, store=MemoryStore)


@any_face
@pytest.mark.parametrize("missing", ["keys", "issuer"])
def test_there_is_no_default_for_keys_and_issuer(missing: str, face: Any) -> None:
    """Neither has a value that would do for everybody."""
    options = {"keys": KeyRing(KEY), "issuer": "Example"}
    del options[missing]

    with pytest.raises(TypeError, match=missing):
        face(CountingStore(), **options)


@any_face
def test_settings_are_named(face: Any) -> None:
    """Only the store is given by its place."""
    with pytest.raises(TypeError, match="positional"):
        face(CountingStore(), KeyRing(KEY), "Example")


@any_face
def test_making_a_face_uses_nothing(face: Any) -> None:
    """An application can be made before its database answers; odd but right settings are taken."""
    for settings in ({}, {"namespace": "n" * 255}, {"namespace": "Mandant 🔑"}, {"policy": Policy(hashing=Scrypt())}):
        assert _make(face, **settings)


@any_face
def test_a_missing_hash_function_shows_at_the_start(face: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a build of OpenSSL without Argon2id the constructor says what to do; with `Scrypt` it goes on."""
    from cryptography.exceptions import UnsupportedAlgorithm

    from twofa._record import recovery

    def lacking(*_: object) -> Any:
        raise UnsupportedAlgorithm("argon2id")

    monkeypatch.setattr(recovery, "_argon2id", lacking)

    with pytest.raises(PolicyError, match=r"Policy\(hashing=Scrypt\(\)\)"):
        _make(face)
    assert _make(face, policy=Policy(hashing=Scrypt()))


@any_face
def test_a_face_shows_no_keys_and_is_not_pickled(face: Any) -> None:
    """Its repr names class and issuer; it is neither pickled nor copied, so that no queue carries its keys away."""
    store = CountingStore() if face is TwoFactor else ThreadedStore(CountingStore())
    made = face(store, keys=KeyRing(KEY), issuer="Example")

    assert f"{face.__name__}({store!r}, issuer='Example')" == repr(made)
    for carry in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="build one in each process"):
            carry(made)


# --- apart ---------------------------------------------------------------------------------------------------------


def test_a_namespace_is_a_world_of_its_own(world: World) -> None:
    """Two applications with the same keys and user ids cannot read each other's records, empty namespace or not."""
    phone, codes = world.enrol()

    for namespace in ("shop", "SHOP", "shop ", "user-42"):
        other = world.new_face(namespace=namespace)
        with pytest.raises(RecordDamaged):
            other.status(USER)
        with pytest.raises(RecordDamaged):
            other.verify(USER, phone.code())
        with pytest.raises(RecordDamaged):
            other.redeem_recovery_code(USER, codes[0])
        with pytest.raises(RecordDamaged):
            other.disable(USER, proof=CAROL)
    world.login(phone)


def test_the_same_namespace_is_the_same_world(world: World) -> None:
    """A restart with the same namespace finds its users."""
    world.face = world.new_face(namespace="shop")
    phone, _ = world.enrol()
    world.face = world.new_face(namespace="shop")

    assert "totp" == world.login(phone).method


def test_users_are_apart(world: World) -> None:
    """Neither code, recovery code nor handle of one user serves another, and look-alike ids are different users."""
    users = ["user-42", "USER-42", "user-42 ", "user\u201042", "user-4２"]
    phones = {user: world.enrol(user) for user in users}
    for user in users:
        others = [other for other in users if other != user]
        for other in others:
            with pytest.raises(InvalidCode):
                world.face.redeem_recovery_code(user, phones[other][1][0])
        assert 9 == world.face.redeem_recovery_code(user, phones[user][1][0]).recovery_codes_remaining
        assert 0 == world.face.verify(user, phones[user][0].code()).step_offset


# --- the set-up ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("algorithm", "groups"), [("SHA1", 8), ("SHA256", 13), ("SHA512", 26)])
def test_a_setup_has_its_shape(algorithm: Any, groups: int, world: World) -> None:
    """Handle, URI, the secret in groups of four, an aware time of expiry; no generation before the first confirm."""
    world.face = world.new_face(Policy(algorithm=algorithm, setup_lifetime=300))
    setup = world.begin()

    assert isinstance(setup, Setup)
    assert re.fullmatch(TOKEN, setup.handle)
    assert groups == len(setup.manual_key.split(" "))
    assert re.fullmatch(r"([A-Z2-7]{4} )*[A-Z2-7]{1,4}", setup.manual_key)
    assert f"secret={setup.manual_key.replace(' ', '')}&" in setup.uri
    assert _at(world, 300) == setup.expires_at
    assert timedelta(0) == setup.expires_at.utcoffset()
    assert setup.generation is None
    assert repr(setup) == (
        "Setup(_handle=<hidden>, _uri=<hidden>, _manual_key=<hidden>, "
        f"expires_at={setup.expires_at!r}, generation=None)"
    )


def test_a_setup_of_a_protected_account_tells_its_generation(world: World) -> None:
    """A replacement keeps the account's generation until it is confirmed; a reset comes with a new one."""
    phone, codes = world.enrol()

    assert codes.generation == world.begin(proof=ByCode(phone.code())).generation
    setup = world.face.reset_authenticator(USER, account_name=ACCOUNT, proof=CAROL)
    assert re.fullmatch(TOKEN, str(setup.generation))
    assert codes.generation != setup.generation


@pytest.mark.parametrize("method", ["begin_setup", "reset_authenticator"])
def test_the_issuer_can_be_another_one_for_once(method: str, world: World) -> None:
    """A host with several brands overrides the issuer, and the next set-up has the usual one again."""
    if method == "reset_authenticator":
        world.enrol()
    call = getattr(world.face, method)

    branded = call(USER, account_name=ACCOUNT, issuer="Other Brand", proof=CAROL)
    usual = call(USER, account_name=ACCOUNT, proof=CAROL)

    assert branded.uri.startswith("otpauth://totp/Other%20Brand:alice@example.com?")
    assert "&issuer=Other%20Brand&" in branded.uri
    assert usual.uri.startswith("otpauth://totp/Example:alice@example.com?")


def test_a_reloaded_page_may_name_the_account_anew(world: World) -> None:
    """With a live handle the secret stays, while the label is what is asked for now."""
    first = world.begin()
    again = world.face.resume_setup(USER, account_name="bob@example.com", issuer="Brand", handle=first.handle)

    assert (first.manual_key, first.handle, first.expires_at) == (again.manual_key, again.handle, again.expires_at)
    assert again.uri.startswith("otpauth://totp/Brand:bob@example.com?")


def test_confirming_has_no_waits(world: World) -> None:
    """Nine wrong codes in one second start no wait, carry no time, and leave the right one right."""
    setup = world.begin()
    phone = world.phone(setup)
    for _ in range(9):
        with pytest.raises(InvalidCode) as refusal:
            world.face.confirm_setup(USER, phone.wrong_code(), handle=setup.handle)
        assert refusal.value.retry_at is None
    status = world.face.status(USER)
    assert (status.retry_at, status.recovery_retry_at) == (None, None)

    assert 10 == len(world.face.confirm_setup(USER, phone.code(), handle=setup.handle))


@pytest.mark.parametrize("steps", [-1, 0, 1])
def test_a_setup_is_confirmed_with_a_clock_that_is_off(steps: int, world: World) -> None:
    """A phone one step behind or ahead enrols, and its confirming step is spent with all before it."""
    setup = world.begin()
    phone = world.phone(setup)
    world.face.confirm_setup(USER, phone.code(steps), handle=setup.handle)

    with pytest.raises(CodeReused):
        world.face.verify(USER, phone.code(steps))
    if steps > -1:
        with pytest.raises(InvalidCode):
            world.face.verify(USER, phone.code(steps - 1))


# --- the values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drift", [-1, 0, 1])
def test_a_verification_has_its_shape(drift: int, world: World) -> None:
    """Method, time, what is left, the phone's drift, what was tried before, a token, and the account's generation."""
    phone, codes = world.enrol()
    world.clock.advance(60)
    for _ in range(3):
        with pytest.raises(InvalidCode):
            world.face.verify(USER, phone.wrong_code())
    verification = world.face.verify(USER, phone.code(drift))

    assert isinstance(verification, Verification)
    assert "totp" == verification.method
    assert _at(world) == verification.at
    assert timedelta(0) == verification.at.utcoffset()
    assert 10 == verification.recovery_codes_remaining
    assert drift == verification.step_offset
    assert 3 == verification.failed_before
    assert re.fullmatch(TOKEN, verification.token)
    assert codes.generation == verification.generation
    assert repr(verification) == (
        f"Verification(user_id='user-42', method='totp', at={verification.at!r}, recovery_codes_remaining=10, step_offset={drift}, "
        f"failed_before=3, _token=<hidden>, generation={codes.generation!r})"
    )


def test_a_verification_by_recovery_code_has_its_shape(world: World) -> None:
    """No drift; one code fewer; only wrong recovery codes are counted."""
    phone, codes = world.enrol()
    for _ in range(2):
        with pytest.raises(InvalidCode):
            world.face.redeem_recovery_code(USER, "Z" * 24)
        with pytest.raises(InvalidCode):
            world.face.verify(USER, phone.wrong_code())
    verification = world.face.redeem_recovery_code(USER, codes[4])

    assert ("recovery_code", None, 9, 2) == (
        verification.method,
        verification.step_offset,
        verification.recovery_codes_remaining,
        verification.failed_before,
    )
    assert 0 == world.face.redeem_recovery_code(USER, codes[5]).failed_before
    assert 2 == world.face.verify(USER, phone.code()).failed_before


def test_no_two_verifications_share_a_token(world: World) -> None:
    """Each login has a token of its own."""
    phone, codes = world.enrol()
    verifications = [world.login(phone), world.login(phone), world.face.redeem_recovery_code(USER, codes[0])]

    assert 3 == len({verification.token for verification in verifications})


def test_recovery_codes_have_their_shape(world: World) -> None:
    """A sequence of strings in groups of four, one a line in print and in the download, hidden in repr."""
    world.face = world.new_face(Policy(recovery_codes=10))
    _, codes = world.enrol()

    assert isinstance(codes, RecoveryCodes)
    assert 10 == len(codes) == len(set(codes)) == len({code[0] for code in codes})
    assert all(re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}", code) for code in codes)
    assert "\n".join(codes) == str(codes)
    assert "\n".join(codes) + "\n" == codes.text()
    assert codes[0] in codes
    assert tuple(codes)[2:5] == codes[2:5]
    assert re.fullmatch(TOKEN, codes.generation)
    assert f"RecoveryCodes(<10 hidden>, generation={codes.generation!r})" == repr(codes)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(codes)


def test_what_carries_a_secret_is_not_pickled(world: World) -> None:
    """Set-ups and verifications do not travel; a status and events do, and come back equal."""
    phone, _ = world.enrol()
    for value in (world.begin(proof=CAROL), world.login(phone)):
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(value)
    status = world.face.status(USER)

    assert status == pickle.loads(pickle.dumps(status))
    assert world.events == pickle.loads(pickle.dumps(world.events))


def _status(**changed: Any) -> Status:
    nothing = dict.fromkeys(
        [
            *("setup_expires_at", "confirmed_at", "last_used_at", "recovery_codes_issued_at", "retry_at"),
            *("recovery_retry_at", "generation", "algorithm", "digits", "period"),
        ]
    )
    none = {"recovery_codes_remaining": 0, "recovery_codes_acknowledged": True, "failures": 0, "short_secret": False}
    return Status(**{**nothing, **none, "required": False, "state": "none", **changed})


def test_a_status_has_its_shape_in_every_state(world: World) -> None:
    """From nobody, through set-up, login and wrong codes, to a reset and back to nobody: every field, each time."""
    assert _status() == world.face.status(USER)

    setup = world.begin()
    assert _status(state="pending", setup_expires_at=_at(world, 600)) == world.face.status(USER)

    begun = world.clock.now
    phone, codes = world.confirm(setup)
    active = {
        "required": True,
        "state": "active",
        "confirmed_at": datetime.fromtimestamp(begun, UTC),
        "last_used_at": datetime.fromtimestamp(begun, UTC),
        "recovery_codes_remaining": 10,
        "recovery_codes_issued_at": datetime.fromtimestamp(begun, UTC),
        "generation": codes.generation,
        "algorithm": "SHA1",
        "digits": 6,
        "period": 30,
    }
    assert _status(**active) == world.face.status(USER)

    used = _at(world)
    world.login(phone)
    world.face.redeem_recovery_code(USER, codes[0])
    replacement = world.begin(proof=CAROL)
    active |= {"last_used_at": used, "recovery_codes_remaining": 9, "setup_expires_at": replacement.expires_at}
    assert _status(**active) == world.face.status(USER)

    enter_wrong_codes(world, phone, 5)
    enter_wrong_codes(world, None, 5)
    active |= {"retry_at": _at(world, 30), "recovery_retry_at": _at(world, 30), "failures": 10}
    assert _status(**active) == world.face.status(USER)

    reset = world.face.reset_authenticator(USER, account_name=ACCOUNT, proof=CAROL)
    gone = dict.fromkeys(["confirmed_at", "last_used_at", "retry_at", "algorithm", "digits", "period"])
    active |= {
        **gone,
        "failures": 5,
        "state": "reenrol",
        "generation": reset.generation,
        "setup_expires_at": reset.expires_at,
    }
    assert _status(**active) == world.face.status(USER)
    world.clock.advance(600)
    active |= {"recovery_retry_at": None, "setup_expires_at": None}
    assert _status(**active) == world.face.status(USER)

    world.face.disable(USER, proof=CAROL)
    off = world.face.status(USER)
    assert _status(generation=off.generation) == off
    assert re.fullmatch(TOKEN, str(off.generation))
    world.face.forget(USER, proof=CAROL)
    assert _status() == world.face.status(USER)


def test_status_changes_nothing(world: World) -> None:
    """Asking writes nothing and reports nothing, even where a set-up or a wait has run out."""
    store = world.store
    assert isinstance(store, CountingStore)
    phone, _ = world.enrol()
    world.begin(proof=CAROL)
    enter_wrong_codes(world, phone, 5)
    record, writes, events = world.record(), store.writes, len(world.events)

    for _ in range(3):
        world.face.status(USER)
        world.face.status("never seen")
        world.clock.advance(86_400)

    assert (record, writes, events) == (world.record(), store.writes, len(world.events))
    assert world.record("never seen") is None


# --- events --------------------------------------------------------------------------------------------------------


def test_few_codes_left_are_reported(world: World) -> None:
    """From the third last on each use says how few are left, and each event is of the same second and user."""
    _, codes = world.enrol()
    for code in codes:
        world.face.redeem_recovery_code(USER, code, source="192.0.2.7")
    low = [event for event in world.events if event.kind == "recovery_codes_low"]

    assert [3, 2, 1, 0] == [event.detail["remaining"] for event in low]
    assert {(USER, "192.0.2.7", _at(world))} == {(event.user_id, event.source, event.at) for event in low}
    assert ["recovery_code_used", "recovery_codes_low"] == world.kinds()[-2:]


def test_the_source_is_in_every_event_of_a_call(world: World) -> None:
    """Each method that changes or checks something records what the host says of the request."""
    phone, codes = world.enrol()
    assert {None} == {event.source for event in world.events}
    calls: list[Callable[[str], object]] = [
        lambda source: world.face.verify(USER, phone.code(), source=source),
        lambda source: world.face.redeem_recovery_code(USER, codes[0], source=source),
        lambda source: world.begin(proof=CAROL, source=source),
        lambda source: world.face.cancel_setup(USER, source=source),
        lambda source: world.face.reset_recovery_codes(USER, proof=CAROL, source=source),
        lambda source: (
            world.confirm(world.face.reset_authenticator(USER, account_name=ACCOUNT, proof=CAROL, source=source))
            and None
        ),
        lambda source: world.face.disable(USER, proof=CAROL, source=source),
        lambda source: world.face.forget(USER, proof=CAROL, source=source),
    ]
    for number, call in enumerate(calls):
        heard = len(world.events)
        call(f"source {number}")
        assert f"source {number}" == world.events[heard].source
    setup = world.begin()
    world.face.confirm_setup(USER, world.phone(setup).code(), handle=setup.handle, source="last")
    assert ["last", "last"] == [event.source for event in world.events[-2:]]


def test_a_source_is_cut_to_256_characters(world: World) -> None:
    """It is hostile text: cut, and cleaned of what a database would choke on."""
    phone, _ = world.enrol()
    world.face.verify(USER, phone.code(), source="\0\ud800" + "x" * 300)

    event: Event = world.events[-1]
    assert "\ufffd?" + "x" * 254 == event.source


# --- checks in their order -----------------------------------------------------------------------------------------


def test_types_come_before_the_state(world: World) -> None:
    """A wrong type is a `TypeError` where the state alone would be another error."""
    wrong: Any = 123456
    with pytest.raises(TypeError):
        world.face.verify(USER, wrong)
    with pytest.raises(TypeError):
        world.face.reset_recovery_codes(USER, proof=wrong)
    with pytest.raises(TypeError, match="generation must be str or None, not int"):
        world.face.acknowledge_recovery_codes(USER, generation=wrong)


def test_the_state_comes_before_the_shape(world: World) -> None:
    """Where nothing is enrolled a malformed code is `NotEnrolled`, after a reset `ReenrolmentRequired`."""
    with pytest.raises(NotEnrolled):
        world.face.verify(USER, "junk")
    with pytest.raises(NotEnrolled):
        world.face.redeem_recovery_code(USER, "junk")
    with pytest.raises(NotEnrolled):
        world.face.reset_recovery_codes(USER, proof=ByCode("junk"))
    phone, codes = world.enrol()
    world.face.reset_authenticator(USER, account_name=ACCOUNT, proof=ByCode(phone.code()))
    with pytest.raises(ReenrolmentRequired):
        world.face.verify(USER, "junk")
    with pytest.raises(ReenrolmentRequired):
        world.begin(proof=ByCode("junk"))
    for code in codes:
        world.face.redeem_recovery_code(USER, code)
    with pytest.raises(RecoveryCodesExhausted):
        world.face.redeem_recovery_code(USER, "junk")


def test_the_shape_comes_before_the_wait(world: World) -> None:
    """During a wait a malformed code is `MalformedCode`, a well-formed one `Throttled`."""
    phone, codes = world.enrol()
    enter_wrong_codes(world, phone, 5)
    enter_wrong_codes(world, None, 5)

    for junk in ("junk", "12345", ""):
        with pytest.raises(MalformedCode):
            world.face.verify(USER, junk)
        with pytest.raises(MalformedCode):
            world.face.redeem_recovery_code(USER, junk)
    with pytest.raises(Throttled):
        world.face.verify(USER, phone.code())
    with pytest.raises(Throttled):
        world.face.redeem_recovery_code(USER, codes[0])


def test_the_wait_comes_before_the_evaluation(world: World) -> None:
    """During a wait right, wrong and spent codes are all the same `Throttled`."""
    phone, codes = world.enrol()
    spent = phone.code()
    world.face.verify(USER, spent)
    world.face.redeem_recovery_code(USER, codes[0])
    enter_wrong_codes(world, phone, 5)
    enter_wrong_codes(world, None, 5)

    for code in (spent, phone.code(1), phone.wrong_code()):
        with pytest.raises(Throttled):
            world.face.verify(USER, code)
    for recovery_code in (codes[0], codes[1], "Z" * 24):
        with pytest.raises(Throttled):
            world.face.redeem_recovery_code(USER, recovery_code)


# --- whoever else has a part in a call -----------------------------------------------------------------------------


def test_a_missing_proof_is_asked_for_by_name(world: World) -> None:
    """On a protected account `begin_setup` without a proof is `ProofRequired`; the others cannot even be called so."""
    world.enrol()
    face: Any = world.face

    with pytest.raises(ProofRequired):
        world.begin()
    calls: list[Callable[[], object]] = [
        lambda: face.reset_recovery_codes(USER),
        lambda: face.reset_authenticator(USER, account_name=ACCOUNT),
        lambda: face.disable(USER),
        lambda: face.forget(USER),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="proof"):
            call()


def test_a_listener_hears_after_the_record_says_so(world: World) -> None:
    """Whatever the listener is told of can already be read, by it and by others."""
    seen: list[str] = []
    reader = World("blocking", store=world.store)
    reader.clock = world.clock
    reading = reader.new_face()
    world.face = world.new_face(on_event=lambda event: seen.append(f"{event.kind} {reading.status(USER).state}"))
    world.enrol()

    assert [
        "setup_begun pending",
        "authenticator_confirmed active",
        "recovery_codes_issued active",
        "recovery_codes_acknowledged active",
    ] == seen


def test_a_failing_listener_changes_no_outcome(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Its exception is logged, with the event's kind and user, and the call goes on."""

    def fail(_event: Event) -> None:
        raise RuntimeError("the mail server is down")

    world.face = world.new_face(on_event=fail)
    phone, _ = world.enrol()

    assert "totp" == world.login(phone).method
    failures = [record for record in caplog.records if record.levelname == "ERROR"]
    assert {"twofa"} == {record.name for record in failures}
    assert "the listener failed on code_accepted of user 'user-42'" == failures[-1].getMessage()


def test_nothing_is_kept_in_a_face(world: World) -> None:
    """Two faces over one store, with other settings, see the same users in the same state."""
    phone, codes = world.enrol()
    other = world.new_face(FAST, keys=KeyRing(OTHER_KEY, KEY), issuer="Another name")

    assert world.face.status(USER) == other.status(USER)
    other.verify(USER, phone.code())
    with pytest.raises(CodeReused):
        other.verify(USER, phone.code())
    assert 9 == other.redeem_recovery_code(USER, codes[0]).recovery_codes_remaining


def test_a_coroutine_listener_needs_the_other_face() -> None:
    """The blocking face would never await it."""

    async def listener(event: object) -> None:
        """Never called."""

    with pytest.raises(TypeError, match="needs AsyncTwoFactor"):
        TwoFactor(CountingStore(), keys=KeyRing(KEY), issuer="Example", on_event=listener)


@pytest.mark.parametrize("said", [None, 1, -1, "ok"])
def test_a_store_that_does_not_say_what_happened_lets_nobody_in(said: object, world: World) -> None:
    """P3: what is neither True nor False, such as a driver's count of rows, is an error that tells what to return."""
    phone, _ = world.enrol()
    swap = world.store.swap
    world.store.swap = lambda user_id, change: (swap(user_id, change), said)[1]  # type: ignore[method-assign]
    with pytest.raises(TypeError, match=f"must return True or False, not {type(said).__name__}"):
        world.face.verify(USER, phone.code())
