"""P11 beside the two faces: arithmetic, URIs, pictures, keys, proofs, results and constructors show no secret."""

from __future__ import annotations

import base64
import inspect
import logging
import traceback
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from secret_net import MALFORMED_CODE, NO_TOKEN, WRONG_TYPES, Net, Secrets, observe, seen_of_error, seen_of_value
from support import KEY, OTHER_KEY, USER, CountingStore

import twofa
from twofa import (
    TOTP,
    AsyncTwoFactor,
    ByCode,
    ByRecoveryCode,
    ByVerification,
    ExportedAuthenticator,
    KeyRing,
    Policy,
    RecoveryCodes,
    Setup,
    TwoFactor,
    Verification,
    hotp,
    key_uri,
    qr,
)
from twofa._hidden import Hidden
from twofa._record.recovery import NewCodes
from twofa._record.state import Authenticator, EnrolledTOTP, FreshVerification, Pending, Record, RecoverySet, State
from twofa._time import utc
from twofa.errors import (
    InvalidKey,
    InvalidKeyUri,
    InvalidSecret,
    PolicyError,
    RecordDamaged,
)
from twofa.key_uri import KeyUri
from twofa.stores import ThreadedStore

if TYPE_CHECKING:
    from collections.abc import Callable


SECRET = "ONSWG4TFOQQGC3TEEBWG63THEBSW433VM5UA"
"""In base32; of 22 bytes."""
RAW_SECRET = base64.b32decode(f"{SECRET}====")
URI = f"otpauth://totp/Example:alice?secret={SECRET}&issuer=Example"
CODE = "86420135"
RECOVERY_CODE = "0CAN-ARY0-CANA-RY0C"
HANDLE = "CANARY of a set-up"
MISTYPED_SECRET = f"{SECRET[:-3]}1UA"
SHORT_SECRET = SECRET[:20]
CUT_KEY = KEY[:-1]
FLAT_KEY = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE"
HOTP_URI = URI.replace("totp", "hotp")
NINE_DIGITS_URI = f"{URI}&digits=9"
NO_URI = f"https://example.com/?secret={SECRET}"
MISTYPED_URI = URI.replace(SECRET, MISTYPED_SECRET)
LONG_URI = URI * 50
ENVIRONMENT = {"TWOFA_KEYS": f"{KEY},{OTHER_KEY}", "TWOFA_CUT_KEYS": f"{KEY} {CUT_KEY}", "TWOFA_NO_KEYS": ""}
NOON = utc(1_800_000_000)
DEVICE = TOTP(SECRET, digits=8)
SETUP = Setup(_handle=Hidden(HANDLE), _uri=Hidden(URI), _manual_key=Hidden(SECRET), expires_at=NOON, generation=None)
EXPORTED = ExportedAuthenticator(
    _secret=Hidden(RAW_SECRET), _uri=Hidden(URI), algorithm="SHA1", digits=6, period=30, last_step=-1
)
CODES = RecoveryCodes(_codes=Hidden((RECOVERY_CODE,)), _token=Hidden(NO_TOKEN), generation="a generation")
ENROLLED = EnrolledTOTP.of(DEVICE)
PENDING = Pending(totp=ENROLLED, handle=HANDLE, expires_at=0)
VERIFICATION = Verification(
    user_id="user-42",
    method="totp",
    at=NOON,
    recovery_codes_remaining=1,
    step_offset=0,
    failed_before=0,
    _token=Hidden(NO_TOKEN),
    generation="a generation",
)
TYPED: list[str | bytes] = [
    *(SECRET, RAW_SECRET, URI, CODE, RECOVERY_CODE, HANDLE, NO_TOKEN, MISTYPED_SECRET, SHORT_SECRET, CUT_KEY, FLAT_KEY),
    *(HOTP_URI, MISTYPED_URI, NO_URI, *(repr(wrong) for wrong in WRONG_TYPES)),
]

anything: Any = lambda value: value  # noqa: E731  # lets a wrong type past the type checkers

WAYS: list[tuple[str, type[BaseException] | None, Callable[[], object]]] = [
    # what is used, how it ends, and how it is used; what succeeds shows its secret to its caller, who asked for it
    ("hotp", None, lambda: hotp(RAW_SECRET, 1, digits=8)),
    ("hotp", TypeError, lambda: hotp(anything(SECRET), 1)),
    ("hotp", InvalidSecret, lambda: hotp(RAW_SECRET[:15], 1)),
    ("hotp", PolicyError, lambda: hotp(RAW_SECRET, 1, digits=9)),
    ("hotp", ValueError, lambda: hotp(RAW_SECRET, -1)),
    ("TOTP", None, lambda: repr(TOTP(RAW_SECRET))),
    ("TOTP", InvalidSecret, lambda: TOTP(MISTYPED_SECRET)),
    ("TOTP", InvalidSecret, lambda: TOTP(SHORT_SECRET)),
    ("TOTP", PolicyError, lambda: TOTP(SECRET, digits=9)),
    ("TOTP", PolicyError, lambda: TOTP(RAW_SECRET, algorithm=anything("MD5"))),
    *(("TOTP", TypeError, lambda wrong=wrong: TOTP(wrong)) for wrong in WRONG_TYPES if not isinstance(wrong, bytes)),
    ("TOTP.generate", None, lambda: repr(TOTP.generate())),
    ("TOTP.generate", PolicyError, lambda: TOTP.generate(period=14)),
    ("TOTP.from_uri", None, lambda: repr(TOTP.from_uri(URI))),
    ("TOTP.from_uri", InvalidKeyUri, lambda: TOTP.from_uri(HOTP_URI)),
    ("TOTP.from_uri", InvalidKeyUri, lambda: TOTP.from_uri(NINE_DIGITS_URI)),
    ("TOTP.from_uri", InvalidKeyUri, lambda: TOTP.from_uri(NO_URI)),
    ("TOTP.from_uri", InvalidSecret, lambda: TOTP.from_uri(MISTYPED_URI)),
    ("TOTP.from_uri", TypeError, lambda: TOTP.from_uri(anything(URI.encode()))),
    *(("TOTP.from_uri", TypeError, lambda wrong=wrong: TOTP.from_uri(wrong)) for wrong in WRONG_TYPES),
    ("TOTP.uri", InvalidKeyUri, lambda: DEVICE.uri(account_name="a:b", issuer="Example")),
    ("TOTP.uri", TypeError, lambda: DEVICE.uri(account_name="a", issuer=anything(5))),
    ("TOTP.step", ValueError, lambda: DEVICE.step(-1)),
    ("TOTP.code", ValueError, lambda: DEVICE.code(float("inf"))),
    ("TOTP.match", None, lambda: DEVICE.match(CODE, 0)),
    ("TOTP.match", None, lambda: DEVICE.match(MALFORMED_CODE, 0)),
    ("TOTP.match", TypeError, lambda: DEVICE.match(anything(0), anything(CODE))),
    ("TOTP.match", ValueError, lambda: DEVICE.match(CODE, float("nan"))),
    ("TOTP.match", PolicyError, lambda: DEVICE.match(CODE, 0, window=3)),
    ("TOTP.match", PolicyError, lambda: DEVICE.match(CODE, 0, window=anything(CODE))),
    ("TOTP.match", TypeError, lambda: DEVICE.match(CODE, 0, after=anything(CODE))),
    *(("TOTP.match", TypeError, lambda wrong=wrong: DEVICE.match(wrong, 0)) for wrong in WRONG_TYPES),
    ("key_uri.build", InvalidKeyUri, lambda: key_uri.build(RAW_SECRET, account_name="", issuer="Example")),
    ("key_uri.check_label", InvalidKeyUri, lambda: key_uri.check_label("a", "b:c")),
    ("key_uri.parse", None, lambda: replace(key_uri.parse(URI), issuer=None)),
    ("key_uri.parse", InvalidKeyUri, lambda: key_uri.parse(HOTP_URI)),
    ("key_uri.parse", InvalidKeyUri, lambda: key_uri.parse(LONG_URI)),
    ("key_uri.parse", InvalidSecret, lambda: key_uri.parse(MISTYPED_URI)),
    ("qr.svg", ValueError, lambda: qr.svg(URI, scale=0)),
    ("qr.svg", ValueError, lambda: qr.svg(LONG_URI)),
    ("qr.svg", TypeError, lambda: qr.svg(URI, title=anything(5))),
    ("qr.png", TypeError, lambda: qr.png(anything(URI.encode()))),
    ("qr.png", ValueError, lambda: qr.png(f"{URI}ü")),
    ("qr.data_uri", ValueError, lambda: qr.data_uri(LONG_URI)),
    ("qr.text", ValueError, lambda: qr.text(LONG_URI)),
    ("ExportedAuthenticator", None, lambda: repr(EXPORTED)),
    ("Setup", None, lambda: repr(SETUP)),
    ("Setup.qr_svg", None, SETUP.qr_svg),
    ("Setup.qr_png", None, SETUP.qr_png),
    ("Setup.qr_data_uri", None, SETUP.qr_data_uri),
    ("Setup.qr_text", None, SETUP.qr_text),
    ("Verification", None, lambda: repr(VERIFICATION)),
    ("RecoveryCodes", None, lambda: repr(CODES)),
    ("RecoveryCodes", IndexError, lambda: CODES[1]),
    ("Setup.to_dict", None, lambda: sorted(SETUP.to_dict())),
    ("Verification.to_dict", None, VERIFICATION.to_dict),
    ("RecoveryCodes.text", None, lambda: len(CODES.text())),
    ("KeyRing", None, lambda: repr(KeyRing(KEY, OTHER_KEY))),
    ("KeyRing", InvalidKey, lambda: KeyRing(CUT_KEY)),
    ("KeyRing", InvalidKey, lambda: KeyRing(FLAT_KEY)),
    ("KeyRing", InvalidKey, lambda: KeyRing(KEY, KEY)),
    ("KeyRing", InvalidKey, lambda: KeyRing(f"{KEY},{OTHER_KEY}")),
    ("KeyRing", InvalidKey, lambda: KeyRing(anything([KEY, OTHER_KEY]))),
    *(("KeyRing", InvalidKey, lambda wrong=wrong: KeyRing(KEY, wrong)) for wrong in WRONG_TYPES),
    ("KeyRing.from_env", None, lambda: repr(KeyRing.from_env("TWOFA_KEYS"))),
    ("KeyRing.from_env", InvalidKey, lambda: KeyRing.from_env("TWOFA_CUT_KEYS")),
    ("KeyRing.from_env", InvalidKey, lambda: KeyRing.from_env("TWOFA_NO_KEYS")),
    ("KeyRing.generate_key", None, lambda: len(KeyRing.generate_key())),
    ("KeyRing.for_user", None, lambda: repr(KeyRing(KEY).for_user(USER))),
    ("KeyRing.for_user", RecordDamaged, lambda: KeyRing(KEY).for_user(USER).open("twofa1.x.y")),
    ("KeyRing.is_current", None, lambda: KeyRing(KEY).is_current("twofa1.")),
    ("KeyRing.subkey", None, lambda: len(KeyRing(KEY).subkey(KeyRing(KEY).key_ids[0], b"a purpose"))),
    ("ByCode", None, lambda: repr(ByCode(CODE))),
    ("ByRecoveryCode", None, lambda: repr(ByRecoveryCode(RECOVERY_CODE))),
    ("ByVerification", None, lambda: repr(ByVerification(NO_TOKEN))),
    *(("ByCode", TypeError, lambda wrong=wrong: ByCode(wrong)) for wrong in WRONG_TYPES),
    *(("ByRecoveryCode", TypeError, lambda wrong=wrong: ByRecoveryCode(wrong)) for wrong in WRONG_TYPES),
    *(("ByVerification", TypeError, lambda wrong=wrong: ByVerification(wrong)) for wrong in WRONG_TYPES),
    ("TwoFactor", None, lambda: repr(TwoFactor(CountingStore(), keys=KeyRing(KEY), issuer="Example"))),
    ("TwoFactor", TypeError, lambda: TwoFactor(CountingStore(), keys=anything(KEY), issuer="Example")),
    ("TwoFactor", TypeError, lambda: TwoFactor(CountingStore(), keys=anything([KEY]), issuer="Example")),
    ("TwoFactor", InvalidKeyUri, lambda: TwoFactor(CountingStore(), keys=KeyRing(KEY), issuer="")),
    (
        "AsyncTwoFactor",
        None,
        lambda: repr(AsyncTwoFactor(ThreadedStore(CountingStore()), keys=KeyRing(KEY), issuer="Example")),
    ),
    (
        "AsyncTwoFactor",
        TypeError,
        lambda: AsyncTwoFactor(ThreadedStore(CountingStore()), keys=anything(KEY), issuer="Example"),
    ),
]


@pytest.mark.parametrize("place", range(len(WAYS)), ids=lambda place: f"{place}-{WAYS[place][0]}")
def test_nothing_beside_the_faces_shows_a_secret(place: int, net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arithmetic, URIs, pictures, keys, proofs and constructors keep what they were given out of errors and reprs."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    secrets = Secrets(monkeypatch)
    secrets.add(*TYPED)
    name, outcome, act = WAYS[place]

    if outcome is None:
        net.texts += [f"{act()!r}"]
    else:
        observe(outcome, net, act)

    assert [] == secrets.found_in(net.texts)


@pytest.mark.parametrize(
    "value",
    [
        *(DEVICE, SETUP, CODES, VERIFICATION, KeyRing(KEY), KeyRing(KEY).for_user(USER)),
        *(ByCode(CODE), ByRecoveryCode(RECOVERY_CODE), ByVerification(NO_TOKEN), Hidden(CODE)),
        *(ENROLLED, PENDING, Authenticator(totp=ENROLLED, confirmed_at=0, last_step=0, last_used_at=0)),
        RecoverySet(scheme="sha256", length=24, slots="0", hashes=RECOVERY_CODE, issued_at=0),
        Record(state=State(pending=PENDING, verification=FreshVerification(token=NO_TOKEN, at=0))),
        NewCodes.draw(Policy()),
        KeyUri(
            account_name="alice", issuer="Example", _secret=Hidden(RAW_SECRET), algorithm="SHA1", digits=8, period=30
        ),
        TwoFactor(CountingStore(), keys=KeyRing(KEY), issuer="Example"),
        AsyncTwoFactor(ThreadedStore(CountingStore()), keys=KeyRing(KEY), issuer="Example"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_carries_a_secret_hides_it(value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """No repr, of public or inner objects, shows a secret, and none of the public ones can be pickled with it."""
    secrets = Secrets(monkeypatch)
    secrets.add(*TYPED)
    inner = type(value).__module__ == "twofa._record.state"  # which is written down on purpose, inside the seal
    shown = [repr(value)] if inner else seen_of_value(value)

    assert [] == secrets.found_in(shown)


def test_everything_that_takes_a_secret_is_used() -> None:
    """Every public class that hides something or takes keys, each method of it, and every function has a use above."""
    used = {name for name, _, _ in WAYS}
    public = [getattr(twofa, name) for name in twofa.__all__]
    carriers = [kind for kind in public if kind == KeyRing or (is_dataclass(kind) and "Hidden" in repr(fields(kind)))]
    methods = {
        f"{kind.__name__}.{name}"
        for kind in carriers
        for name, value in vars(kind).items()
        if not name.startswith("_") and callable(getattr(kind, name)) and not isinstance(value, property)
    }
    functions = {value.__name__ for value in public if inspect.isfunction(value)}
    modules = {f"key_uri.{name}" for name in key_uri.__all__ if name.islower()} | {
        f"qr.{name}" for name in qr.__all__ if name.islower()
    }

    assert set() == ({kind.__name__ for kind in carriers} | methods | functions | modules) - used
    assert {"TOTP", "Setup", "RecoveryCodes", "Verification", "KeyRing"} < {kind.__name__ for kind in carriers}


@pytest.mark.parametrize(
    ("outcome", "make"),
    [
        (PolicyError, lambda: Policy(digits=9)),
        (InvalidSecret, lambda: TOTP(SHORT_SECRET)),
        (InvalidKey, lambda: KeyRing(CUT_KEY)),
        (InvalidKeyUri, lambda: TwoFactor(CountingStore(), keys=KeyRing(KEY), issuer="")),
        (InvalidKeyUri, lambda: AsyncTwoFactor(ThreadedStore(CountingStore()), keys=KeyRing(KEY), issuer="")),
        (TypeError, lambda: ByCode(anything(5))),
    ],
)
def test_what_a_constructor_refused_can_be_looked_at(outcome: type[Exception], make: Callable[[], object]) -> None:
    """A tool that shows local variables shows the half-made object too, and must not trip over its repr."""
    with pytest.raises(outcome) as caught:
        make()

    walked = [frame.f_locals for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    shown = [repr(variables["self"]) for variables in walked if "self" in variables]

    assert shown


def test_the_net_catches_what_it_is_made_for(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """A code in a local variable, a message, an argument, a log line or a repr is found, in whatever spelling."""
    secrets = Secrets(monkeypatch)
    secrets.add(CODE, RAW_SECRET)
    clumsy: dict[str, Any] = {}
    exec(  # a frame of a file that is none of ours
        compile("def fail(typed):\n    code = int(typed)\n    raise ValueError('no')\n", "clumsy.py", "exec"), clumsy
    )
    with pytest.raises(ValueError, match="no") as caught:
        clumsy["fail"](CODE)
    net.texts += seen_of_error(caught.value)
    assert {CODE} == {secret for secret, _ in secrets.found_in(net.texts)}

    for shown in (f"the code {CODE} is wrong", repr({"secret": RAW_SECRET}), RAW_SECRET.hex(), f"secret={SECRET}"):
        assert secrets.found_in([shown]), shown
    logging.getLogger("twofa").debug("code=%s", CODE)
    assert 2 <= len(secrets.found_in(net.texts))
    assert [] == secrets.found_in([f"1{CODE}", f"0x{CODE}", "nothing"])
