"""What callers pass and get back: proofs, settings and results are immutable, compared by content, and safe to log."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, asdict, astuple, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, get_type_hints

import flask
import pytest
from leaks import frames, shown

from twofa import (
    Argon2id,
    ByCode,
    ByRecoveryCode,
    ByVerification,
    Event,
    EventKind,
    ExportedAuthenticator,
    Policy,
    RecoveryCodes,
    Scrypt,
    Setup,
    Status,
    Throttle,
    Verification,
    Vouched,
    qr,
)
from twofa._hidden import Hidden, same
from twofa._time import utc
from twofa.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
CANARY = "CANARY7KQXM4TZ"
URI = f"otpauth://totp/Example:alice?secret={CANARY}&issuer=Example"


def _setup(handle: str = CANARY) -> Setup:
    return Setup(
        _handle=Hidden(handle),
        _uri=Hidden(URI),
        _manual_key=Hidden(CANARY),
        expires_at=NOON,
        generation=None,
    )


def _verification(failed_before: int = 0) -> Verification:
    return Verification(
        user_id="user-42",
        method="totp",
        at=NOON,
        recovery_codes_remaining=10,
        step_offset=0,
        failed_before=failed_before,
        _token=Hidden(CANARY),
        generation="g",
    )


def _status(digits: int = 6) -> Status:
    return Status(
        recovery_codes_acknowledged=True,
        failures=0,
        required=True,
        state="active",
        setup_expires_at=None,
        confirmed_at=NOON,
        last_used_at=NOON,
        recovery_codes_remaining=10,
        recovery_codes_issued_at=NOON,
        retry_at=None,
        recovery_retry_at=None,
        generation="g",
        algorithm="SHA1",
        digits=digits,
        period=30,
        short_secret=False,
    )


def _exported(digits: int = 6) -> ExportedAuthenticator:
    return ExportedAuthenticator(
        _secret=Hidden(CANARY.encode()), _uri=Hidden(URI), algorithm="SHA1", digits=digits, period=30, last_step=-1
    )


SECRETIVE: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    # one of each kind that carries a secret, and another that differs
    "ByCode": (lambda: ByCode(CANARY), lambda: ByCode("other")),
    "ByRecoveryCode": (lambda: ByRecoveryCode(CANARY), lambda: ByRecoveryCode("other")),
    "ByVerification": (lambda: ByVerification(CANARY), lambda: ByVerification("other")),
    "Setup": (_setup, lambda: _setup("other")),
    "Verification": (_verification, lambda: _verification(1)),
    "RecoveryCodes": (
        lambda: RecoveryCodes(_codes=Hidden((CANARY,)), _token=Hidden(CANARY), generation="g"),
        lambda: RecoveryCodes(_codes=Hidden(("other",)), _token=Hidden("other"), generation="g"),
    ),
    "ExportedAuthenticator": (_exported, lambda: _exported(8)),
}
OPEN: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    # the same for those that carry none
    "Vouched": (lambda: Vouched("carol", "ticket 1"), lambda: Vouched("carol", "ticket 2")),
    "Status": (_status, lambda: _status(8)),
    "Policy": (lambda: Policy(digits=8), Policy),
    "Throttle": (lambda: Throttle(block_after=50), Throttle),
    "Argon2id": (lambda: Argon2id(iterations=3), Argon2id),
    "Scrypt": (lambda: Scrypt(n=2**18), Scrypt),
    "Event": (
        lambda: Event(EventKind.CODE_ACCEPTED, "u", NOON, detail={"remaining": 3}),
        lambda: Event(EventKind.CODE_ACCEPTED, "u", NOON, detail={"remaining": 4}),
    ),
}
ALL = SECRETIVE | OPEN


@pytest.mark.parametrize("name", ALL)
def test_values_cannot_be_changed(name: str) -> None:
    """No field can be set or deleted, the message names the field, and none can be added."""
    value = ALL[name][0]()
    for field in fields(value):
        with pytest.raises(FrozenInstanceError, match=f"cannot assign to field '{field.name}'"):
            setattr(value, field.name, None)
        with pytest.raises(FrozenInstanceError, match=f"cannot delete field '{field.name}'"):
            delattr(value, field.name)
    with pytest.raises((AttributeError, TypeError)):  # TypeError: Python before 3.14 trips over its own slots here
        value.novelty = None
    assert not hasattr(value, "__dict__")


@pytest.mark.parametrize("name", ALL)
def test_values_are_compared_by_content(name: str) -> None:
    """Two values with the same content are equal and hash alike; with another content, or of another class, they differ."""
    one, other = ALL[name]

    assert one() == one()
    assert hash(one()) == hash(one())
    assert one() != other()
    assert one() != repr(one())


def test_values_of_different_kinds_differ() -> None:
    """A code and a recovery code of the same text are different proofs."""
    assert ByCode("123456") != ByRecoveryCode("123456")


@pytest.mark.parametrize("name", ALL)
def test_a_repr_names_the_kind(name: str) -> None:
    """Every repr begins with the name of its class."""
    assert repr(ALL[name][0]()).startswith(f"{name}(")


@pytest.mark.parametrize("name", SECRETIVE)
def test_a_secret_is_in_no_repr(name: str) -> None:
    """P11: a repr shows that something is hidden, but not what it is."""
    shown = repr(SECRETIVE[name][0]())

    assert CANARY not in shown
    assert "hidden>" in shown


@pytest.mark.parametrize("name", SECRETIVE)
@pytest.mark.parametrize("carry", [pickle.dumps, copy.deepcopy, asdict, astuple])
def test_a_secret_is_never_carried_elsewhere(name: str, carry: Callable[[Any], object]) -> None:
    """P11: what carries a secret refuses to be pickled, copied or taken apart, in a message without it."""
    with pytest.raises(TypeError, match="this carries a secret and cannot be pickled or copied") as refusal:
        carry(SECRETIVE[name][0]())

    assert CANARY not in str(refusal.value)


@pytest.mark.parametrize("name", SECRETIVE)
def test_no_web_framework_makes_json_of_a_secret(name: str) -> None:
    """P11: Flask turns any dataclass into JSON, but not one that carries a secret."""
    app = flask.Flask("host")
    with app.app_context(), pytest.raises(TypeError, match="this carries a secret"):
        flask.jsonify(SECRETIVE[name][0]())


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_others_survive_pickling(name: str, protocol: int) -> None:
    """What carries no secret comes back from a pickle as it was."""
    value = OPEN[name][0]()

    assert value == pickle.loads(pickle.dumps(value, protocol))


def test_a_repr_shows_every_open_field() -> None:
    """The repr of a verification shows all of it but the token."""
    assert (
        "Verification(user_id='user-42', method='totp', at=datetime.datetime(2027, 1, 15, 12, 0, tzinfo=datetime.timezone.utc), "
        "recovery_codes_remaining=10, step_offset=0, failed_before=0, _token=<hidden>, generation='g')"
    ) == repr(_verification())


@pytest.mark.parametrize("name", ALL)
def test_the_fields_have_types_that_tools_can_read(name: str) -> None:
    """Each field's annotation resolves at run time, for tools that build forms or schemas from dataclasses."""
    value = ALL[name][0]()

    hints = get_type_hints(type(value))
    assert {field.name for field in fields(value)} <= set(hints)


@pytest.mark.parametrize("name", SECRETIVE)
def test_a_hidden_field_has_a_property(name: str) -> None:
    """What a field hides can be read under the name without the underscore; recovery codes are read as a sequence instead."""
    value = SECRETIVE[name][0]()
    hidden = [field.name for field in fields(value) if isinstance(getattr(value, field.name), Hidden)]

    assert hidden
    for field in hidden:
        assert field.startswith("_")
        public = tuple(value) if field == "_codes" else getattr(value, field[1:])
        assert getattr(value, field).value == public


@pytest.mark.parametrize("text", [CANARY, None, b"123456", ["a"]])
def test_hidden_text_is_shown_nowhere(text: Any) -> None:
    """P11: a hidden value stays as it was passed, and shows in no repr, format or pickle."""
    hidden = Hidden(text)

    assert text is hidden.value
    assert "<hidden>" == repr(hidden) == str(hidden) == f"{hidden}"
    for carry in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="this carries a secret and cannot be pickled"):
            carry(hidden)


@pytest.mark.parametrize(("offered", "alike"), [(b"abc", True), (b"abd", False), (b"ab", False), (b"", False)])
def test_secrets_are_compared_whole(offered: bytes, alike: bool) -> None:
    """Only the same bytes are the same."""
    assert alike is same(b"abc", offered)


def test_times_are_aware_and_utc() -> None:
    """Unix seconds become aware UTC times, on both sides of 2038 and 2106."""
    assert datetime(1970, 1, 1, tzinfo=UTC) == utc(0)
    assert datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC) == utc(2**31)
    assert datetime(2106, 2, 7, 6, 28, 16, tzinfo=UTC) == utc(2**32)
    assert timedelta(0) == utc(0).utcoffset()


# --- proofs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ByCode, ByRecoveryCode, ByVerification])
@pytest.mark.parametrize("wrong", [b"123456", 123456, ["123456"], True])
def test_a_proof_takes_text(kind: type[ByCode], wrong: object) -> None:
    """Anything but a string is a `TypeError` that names the proof and the type, but not what was passed."""
    with pytest.raises(TypeError, match=f"{kind.__name__} needs .* as str, not {type(wrong).__name__}$"):
        kind(wrong)  # type: ignore[arg-type]  # the wrong type is the point


def test_a_missing_form_field_is_an_empty_code() -> None:
    """`None` in place of a code or a token counts as an empty one: the field was missing, and the host made no mistake."""
    assert ByCode("") == ByCode(None)
    assert ByRecoveryCode("") == ByRecoveryCode(None)
    assert ByVerification("") == ByVerification(None)


def test_a_verification_is_not_its_token() -> None:
    """Whoever passes the whole verification is told what to pass."""
    with pytest.raises(TypeError, match=r"needs token as str, not Verification: pass verification\.token$"):
        ByVerification(_verification())  # type: ignore[arg-type]  # the wrong type is the point


@pytest.mark.parametrize("kind", [ByCode, ByRecoveryCode, ByVerification])
def test_a_refused_proof_is_in_no_local_variable(kind: type[ByCode]) -> None:
    """P11: no frame of a refused proof's traceback shows what was passed."""
    with pytest.raises(TypeError) as refusal:
        kind([CANARY])  # type: ignore[arg-type]  # the wrong type is the point

    assert 2 == frames(refusal.value)
    assert CANARY not in shown(refusal.value)


def test_a_proof_keeps_what_was_typed() -> None:
    """A proof holds the text exactly as it was given, even an empty one: it is read later."""
    assert " 123 456 " == ByCode(" 123 456 ").code
    assert "" == ByRecoveryCode("").code
    assert "x" == ByVerification("x").token


def test_a_voucher_is_put_on_record() -> None:
    """Who vouched and why can be read, and shows in the repr."""
    vouched = Vouched(by="support:carol", reason="identity checked, ticket 4711")

    assert "support:carol" == vouched.by
    assert "identity checked, ticket 4711" == vouched.reason
    assert "Vouched(by='support:carol', reason='identity checked, ticket 4711')" == repr(vouched)


@pytest.mark.parametrize("field", ["by", "reason"])
def test_a_voucher_without_words_is_refused(field: str) -> None:
    """Who and why are text of 1 to 1,000 characters that are not all blank."""
    right = {"by": "carol", "reason": "asked"}
    for wrong in ("", "   ", "\t\n", "x" * 1001, " " * 10**6 + "x", "a\0b", "a\ud800b"):
        with pytest.raises(ValueError, match=f"Vouched needs {field} in 1 to 1000 characters"):
            Vouched(**right | {field: wrong})
    for wrong_type in (None, b"carol", 1):
        with pytest.raises(TypeError, match=f"Vouched needs {field} as str, not {type(wrong_type).__name__}"):
            Vouched(**right | {field: wrong_type})  # type: ignore[arg-type]  # the wrong type is the point
    for least_and_most in ("x", "x" * 1000):
        assert least_and_most == getattr(Vouched(**right | {field: least_and_most}), field)


# --- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["throttle", "hashing"])
@pytest.mark.parametrize("wrong", [None, "default", {}])
def test_a_policy_guesses_no_setting(field: str, wrong: Any) -> None:
    """Anything but a setting is refused. `None` too: "no throttle" must not silently mean the default."""
    with pytest.raises(PolicyError, match=f"^{field} must be .*, not {type(wrong).__name__}$"):
        Policy(**{field: wrong})


# --- results -------------------------------------------------------------------------------------------------------


def test_a_setup_draws_its_own_uri() -> None:
    """All four pictures of a set-up are pictures of its Key URI."""
    setup = _setup()

    assert qr.svg(URI) == setup.qr_svg()
    assert qr.png(URI) == setup.qr_png()
    assert qr.data_uri(URI) == setup.qr_data_uri()
    assert qr.text(URI) == setup.qr_text()


def test_a_status_is_neither_true_nor_false() -> None:
    """A status always exists, so that asking whether there is one would answer the wrong question."""
    with pytest.raises(TypeError, match=r"ask status\.required$"):
        bool(_status())


def test_recovery_codes_are_a_sequence_of_strings() -> None:
    """They can be counted, indexed, sliced, searched and iterated like a tuple."""
    codes = RecoveryCodes(_codes=Hidden(("AAAA-1", "BBBB-2", "CCCC-3")), _token=Hidden("t"), generation="g")

    assert 3 == len(codes)
    assert "AAAA-1" == codes[0]
    assert "CCCC-3" == codes[-1]
    assert ("BBBB-2", "CCCC-3") == codes[1:]
    assert ["AAAA-1", "BBBB-2", "CCCC-3"] == list(codes)
    assert "BBBB-2" in codes
    assert 1 == codes.index("BBBB-2")
    assert "g" == codes.generation
    with pytest.raises(IndexError):
        codes[3]


def test_recovery_codes_print_one_per_line() -> None:
    """`str` gives one code a line, `text` the same with a line break at the end, and `repr` no code."""
    codes = RecoveryCodes(_codes=Hidden(("AAAA-1", "BBBB-2")), _token=Hidden("t"), generation="g")

    assert "AAAA-1\nBBBB-2" == str(codes)
    assert "AAAA-1\nBBBB-2\n" == codes.text()
    assert "RecoveryCodes(<2 hidden>, generation='g')" == repr(codes)
