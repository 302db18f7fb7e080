"""What shows that the owner of a protected account wants a change (NIST SP 800-63B-4 §4.1.2.1, ASVS 5.0 7.5.1).

A password alone is no proof, and neither is an open session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from twofa._hidden import Hidden, Unexpected, expected
from twofa._text import storable

__all__ = ["ByCode", "ByRecoveryCode", "ByVerification", "Proof", "Vouched"]

_LONGEST_WORD = 1000


# The constructors of the first three are written by hand: a generated one would still hold the bare code in a local
# variable when the check of its type raises.


@dataclass(frozen=True, slots=True, init=False)
class ByCode:
    """A current code of the authenticator app: throttled, counted and spent as at login."""

    _code: Hidden[str]

    def __init__(self, code: str | None) -> None:
        """Take what the user typed; raises `TypeError` if it is not a string.

        `None`, which web frameworks give for a form field that is missing, is an empty code, and no code has its form.
        """
        object.__setattr__(self, "_code", Hidden("" if code is None else code))
        del code
        _require_text(self, "code", self._code)

    @property
    def code(self) -> str:
        """What the user typed."""
        return self._code.value


@dataclass(frozen=True, slots=True, init=False)
class ByRecoveryCode:
    """A recovery code: throttled, counted and spent as at login."""

    _code: Hidden[str]

    def __init__(self, code: str | None) -> None:
        """Take what the user typed; raises `TypeError` if it is not a string.

        `None`, which web frameworks give for a form field that is missing, is an empty code, and no code has its form.
        """
        object.__setattr__(self, "_code", Hidden("" if code is None else code))
        del code
        _require_text(self, "code", self._code)

    @property
    def code(self) -> str:
        """What the user typed."""
        return self._code.value


@dataclass(frozen=True, slots=True, init=False)
class ByVerification:
    """A `Verification.token` that the host kept in its session: good once, for ten minutes, until the next one."""

    _token: Hidden[str]

    def __init__(self, token: str | None) -> None:
        """Take the token; raises `TypeError` if it is not a string.

        `None`, from a session that holds none, is no verification: the operation raises `ProofRequired`.
        """
        object.__setattr__(self, "_token", Hidden("" if token is None else token))
        del token
        _require_text(self, "token", self._token)

    @property
    def token(self) -> str:
        """The token, as it was given."""
        return self._token.value


@dataclass(frozen=True, slots=True)
class Vouched:
    """The host's own word, given by a person who checked: always recorded and logged (ASVS 5.0 6.4.4).

    A help desk vouches for `reset_recovery_codes` or `disable`, not for `reset_authenticator`: whoever is handed the
    `Setup` could enrol a phone of their own.

    Raises `TypeError` or `ValueError` unless both are text of 1 to 1,000 characters.
    """

    by: str
    """Who vouches, for example `support:carol`."""
    reason: str
    """Why, for example `identity checked, ticket 4711`."""

    def __post_init__(self) -> None:
        for name, text in (("by", self.by), ("reason", self.reason)):
            if not _is_text(text):
                raise TypeError(f"Vouched needs {name} as str, not {type(text).__name__}")
            if not text.strip() or len(text) > _LONGEST_WORD or not storable(text):
                raise ValueError(
                    f"Vouched needs {name} in 1 to {_LONGEST_WORD} characters, without NUL or unpaired surrogates: "
                    "it is put on record"
                )


Proof: TypeAlias = ByCode | ByRecoveryCode | ByVerification | Vouched


def recognised(proof: Proof | None) -> Proof | Unexpected | None:
    """Return a proof, or only the type of anything else: a bare code in its place is a likely mistake, and a secret."""
    return None if proof is None else expected(proof, ByCode, ByRecoveryCode, ByVerification, Vouched)


def _require_text(proof: Proof, name: str, hidden: Hidden[Any]) -> None:
    if isinstance(hidden.value, str):
        return
    kind = type(hidden.value).__name__
    hint = ": pass verification.token" if name == "token" and kind == "Verification" else ""
    raise TypeError(f"{type(proof).__name__} needs {name} as str, not {kind}{hint}")


def _is_text(value: object) -> bool:
    return isinstance(value, str)
