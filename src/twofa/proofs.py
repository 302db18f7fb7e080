"""What shows that a change to a protected account is its owner's wish (NIST SP 800-63B-4 §4.1.2.1, ASVS 5.0 7.5.1).

A password alone is no proof, and neither is an open session.
"""

from __future__ import annotations

from typing import TypeAlias

from twofa._values import Unexpected, Value, expected, storable

__all__ = ["ByCode", "ByRecoveryCode", "ByVerification", "Proof", "Vouched"]

_LONGEST_WORD = 1000


class ByCode(Value):
    """A current code of the authenticator app: throttled, counted and spent as at login."""

    __slots__ = ("code",)
    _hidden = frozenset({"code"})

    code: str

    def __init__(self, code: str) -> None:
        """Take what the user typed; raises `TypeError` if it is not a string."""
        self._fill(code=code)
        del code
        _require_text(self, "code")


class ByRecoveryCode(Value):
    """A recovery code: throttled, counted and spent as at login."""

    __slots__ = ("code",)
    _hidden = frozenset({"code"})

    code: str

    def __init__(self, code: str) -> None:
        """Take what the user typed; raises `TypeError` if it is not a string."""
        self._fill(code=code)
        del code
        _require_text(self, "code")


class ByVerification(Value):
    """A `Verification.token` that the host kept in its session: good once, for ten minutes, until the next one."""

    __slots__ = ("token",)
    _hidden = frozenset({"token"})

    token: str

    def __init__(self, token: str) -> None:
        """Take the token; raises `TypeError` if it is not a string."""
        self._fill(token=token)
        del token
        _require_text(self, "token")


class Vouched(Value):
    """The host's own word, given by a person who checked: always recorded and logged (ASVS 5.0 6.4.4).

    A help desk vouches for `reset_recovery_codes` or `disable`, not for `reset_authenticator`: whoever is handed the
    `Setup` could enrol a phone of their own.
    """

    __slots__ = ("by", "reason")

    by: str
    """Who vouches, for example `support:carol`."""
    reason: str
    """Why, for example `identity checked, ticket 4711`."""

    def __init__(self, by: str, reason: str) -> None:
        """Take who and why; raises `TypeError` or `ValueError` unless both are text of 1 to 1,000 characters."""
        self._fill(by=by, reason=reason)
        for name in self.__slots__:
            _require_text(self, name)
            text = getattr(self, name)
            if not text.strip() or len(text) > _LONGEST_WORD or not storable(text):
                raise ValueError(
                    f"Vouched needs {name} in 1 to {_LONGEST_WORD} characters, without NUL or unpaired surrogates: "
                    "it is put on record"
                )


Proof: TypeAlias = ByCode | ByRecoveryCode | ByVerification | Vouched


def recognised(proof: Proof) -> Proof | Unexpected:
    """Return a proof, or only the type of what is none: a bare code in its place is a likely mistake, and a secret."""
    return expected(proof, ByCode, ByRecoveryCode, ByVerification, Vouched)


def _require_text(proof: Value, name: str) -> None:
    if not isinstance(getattr(proof, name), str):
        kind = type(getattr(proof, name)).__name__
        raise TypeError(f"{type(proof).__name__} needs {name} as str, not {kind}")
