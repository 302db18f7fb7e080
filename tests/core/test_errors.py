"""The errors: one family, each with a stable code, a message that says what to do, and what its handler needs."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime

import pytest

from twofa import errors
from twofa.errors import (
    AlreadyEnrolled,
    CodeRequired,
    CodeReused,
    CrossSiteRequest,
    InvalidCode,
    InvalidKey,
    InvalidKeyUri,
    InvalidSecret,
    MalformedCode,
    NoSetup,
    NotEnrolled,
    OutcomeUnknown,
    PolicyError,
    ProofRequired,
    RecordDamaged,
    RecordError,
    RecoveryCodesExhausted,
    ReenrolmentRequired,
    SetupExpired,
    SignInRequired,
    StoreContention,
    Throttled,
    TwoFactorError,
    UnknownKey,
    UnsupportedRecord,
)

NOON = datetime(2027, 1, 15, 12, 0, 30, tzinfo=UTC)

FAMILY: dict[type[TwoFactorError], tuple[type[BaseException], str]] = {
    # error: its direct parent, and its code, which is for ever
    TwoFactorError: (Exception, "two_factor_error"),
    InvalidCode: (TwoFactorError, "invalid_code"),
    MalformedCode: (InvalidCode, "malformed_code"),
    CodeReused: (InvalidCode, "code_reused"),
    Throttled: (TwoFactorError, "throttled"),
    NotEnrolled: (TwoFactorError, "not_enrolled"),
    AlreadyEnrolled: (TwoFactorError, "already_enrolled"),
    ReenrolmentRequired: (TwoFactorError, "reenrolment_required"),
    NoSetup: (TwoFactorError, "no_setup"),
    SetupExpired: (TwoFactorError, "setup_expired"),
    RecoveryCodesExhausted: (TwoFactorError, "recovery_codes_exhausted"),
    ProofRequired: (TwoFactorError, "proof_required"),
    SignInRequired: (TwoFactorError, "sign_in_required"),
    CodeRequired: (SignInRequired, "code_required"),
    CrossSiteRequest: (TwoFactorError, "cross_site_request"),
    RecordError: (TwoFactorError, "record_error"),
    RecordDamaged: (RecordError, "record_damaged"),
    UnknownKey: (RecordError, "unknown_key"),
    UnsupportedRecord: (RecordError, "unsupported_record"),
    StoreContention: (TwoFactorError, "store_contention"),
    OutcomeUnknown: (TwoFactorError, "outcome_unknown"),
    InvalidKeyUri: (TwoFactorError, "invalid_key_uri"),
    InvalidSecret: (TwoFactorError, "invalid_secret"),
    InvalidKey: (TwoFactorError, "invalid_key"),
    PolicyError: (TwoFactorError, "policy_error"),
}
MADE: list[TwoFactorError] = [
    *(kind() for kind in FAMILY if kind not in {Throttled, UnknownKey}),
    *(
        kind("something is wrong: put it right")
        for kind in FAMILY
        if not issubclass(kind, InvalidCode | Throttled | SignInRequired)
    ),
    *(kind(NOON) for kind in (InvalidCode, MalformedCode, CodeReused, Throttled)),
    UnknownKey("AbCd_-12"),
    *(SignInRequired(reason) for reason in ("signed_out", "expired", "ended")),
    CodeRequired(recovery_only=True),
]


def test_the_family_is_complete() -> None:
    """Every public error has its place in the table above, and every class of the module is public."""
    defined = {
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == "twofa.errors"
    }

    assert set(errors.__all__) == defined == {kind.__name__ for kind in FAMILY}
    assert sorted(errors.__all__) == list(errors.__all__)


@pytest.mark.parametrize("kind", FAMILY)
def test_every_error_has_its_parent_and_code(kind: type[TwoFactorError]) -> None:
    """The hierarchy and the codes are what handlers and translations rely on."""
    parent, code = FAMILY[kind]

    assert parent is kind.__bases__[0]
    assert issubclass(kind, TwoFactorError)
    assert code == kind.code
    assert kind.__doc__


def test_codes_are_distinct() -> None:
    """No two errors share a code."""
    assert len(FAMILY) == len({kind.code for kind in FAMILY})


def test_bad_settings_are_value_errors() -> None:
    """The errors about a setting, key, secret or URI are `ValueError`s too, and no others are."""
    assert {InvalidKeyUri, InvalidSecret, InvalidKey, PolicyError} == {
        kind for kind in FAMILY if issubclass(kind, ValueError)
    }


@pytest.mark.parametrize("error", MADE, ids=repr)
def test_every_error_says_something(error: TwoFactorError) -> None:
    """A message is a sentence: not empty, not the bare repr of an argument, without a full stop at its end."""
    assert len(str(error)) >= 20
    assert "None" not in str(error)
    assert not str(error).endswith(".")


@pytest.mark.parametrize("error", MADE, ids=repr)
@pytest.mark.parametrize("carry", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy])
def test_errors_survive_pickling(error: TwoFactorError, carry: object) -> None:
    """An error that crosses a process boundary keeps its kind, message and data."""
    revived = carry(error)  # type: ignore[operator]  # one of the two functions above

    assert type(error) is type(revived)
    assert str(error) == str(revived)
    assert error.args == revived.args
    assert vars(error) == vars(revived)


def test_an_invalid_code_tells_when_to_try_again() -> None:
    """A wrong code that starts a wait says when it ends; any other has `None` there."""
    assert InvalidCode().retry_at is None
    assert NOON == InvalidCode(NOON).retry_at
    assert str(InvalidCode(NOON)) == f"{InvalidCode()}, after 2027-01-15 12:00:30 UTC"


def test_throttled_tells_when_to_try_again() -> None:
    """An error about a wait always has the end of the wait, also in its message."""
    assert NOON == Throttled(NOON).retry_at
    assert "2027-01-15 12:00:30 UTC" in str(Throttled(NOON))
    with pytest.raises(TypeError):
        Throttled()  # type: ignore[call-arg]  # the missing argument is the point


def test_an_unknown_key_is_named() -> None:
    """The id of the missing key is public, so the message shows it."""
    assert "AbCd_-12" == UnknownKey("AbCd_-12").key_id
    assert "'AbCd_-12'" in str(UnknownKey("AbCd_-12"))


def test_a_message_of_its_own_wins() -> None:
    """An error made with a message says that, and otherwise what its class says."""
    assert "the window must be 0 to 2" == str(PolicyError("the window must be 0 to 2"))
    assert NoSetup.message == str(NoSetup())
