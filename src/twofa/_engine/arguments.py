"""The checks on what a host passes in: wrong types and unusable values are refused before anything is read.

The faces hide every code, handle and token before they look at it, so that no frame of this library holds one bare when
a check fails. `docs/architecture.md` explains how secrets are kept out of tracebacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twofa import key_uri
from twofa._hidden import Hidden, Unexpected
from twofa._text import storable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twofa.proofs import Proof

LONGEST_NAME = 255
"""Characters of a user id or a namespace."""

LONGEST_SOURCE = 256
"""Characters of a `source` that are kept."""


def require(value: object, kind: type | tuple[type, ...], name: str, wanted: str) -> None:
    """Raise `TypeError` for a value of another kind."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {wanted}, not {type(value).__name__}")


def check_user_id(user_id: object) -> str:
    """Return the user id; raises `TypeError` or `ValueError` for one that no store could keep apart from others."""
    if type(user_id) is int:
        raise TypeError(f"user_id must be str, not int: pass str(user.id), here {str(user_id)!r}")
    return check_name(user_id, "user_id", shortest=1)


def check_name(name: object, what: str, *, shortest: int) -> str:
    """Return a name; raises `TypeError` or `ValueError`."""
    # Exactly `str`: a subclass with a `__format__` or `encode` of its own could give two users one seal (P8).
    if type(name) is not str:
        exactly = "exactly " if isinstance(name, str) else ""
        raise TypeError(f"{what} must be {exactly}str, not {type(name).__name__}")
    if not shortest <= len(name) <= LONGEST_NAME:
        raise ValueError(f"{what} must have {shortest} to {LONGEST_NAME} characters, not {len(name)}")
    if not storable(name):
        raise ValueError(f"{what} must not contain NUL or unpaired surrogates")
    return name


def checked_code(code: Hidden[str | None]) -> Hidden[str]:
    """Return the code. A missing form field is an empty code, which reads as malformed and not as a server's error."""
    return _checked_text(code, "code")


def hidden_codes(recovery_codes: Sequence[str]) -> tuple[Hidden[str], ...] | Unexpected:
    """Return recovery codes hidden, or only the type of what is no list of them: one bare code is a likely mistake."""
    if isinstance(recovery_codes, str) or not isinstance(recovery_codes, (list, tuple)):
        return Unexpected(recovery_codes)
    return tuple(map(Hidden, recovery_codes))


def checked_codes(recovery_codes: Sequence[Hidden[str]] | Unexpected) -> Sequence[Hidden[str]]:
    """Return the codes; raises `TypeError` unless they are a list or tuple of text."""
    if isinstance(recovery_codes, Unexpected):
        raise TypeError(f"recovery_codes must be a list or tuple of str, not {recovery_codes.kind}")
    return [_checked_text(code, "each of recovery_codes") for code in recovery_codes]


def checked_handle(handle: Hidden[str | None]) -> Hidden[str]:
    """Return the handle. A session that has none holds no set-up, which is no server's error either."""
    return _checked_text(handle, "handle, which begin_setup gave this session,")


def check_generation(generation: object) -> None:
    """Raise `TypeError` for a generation that is neither text nor absent."""
    if generation is not None:
        require(generation, str, "generation", "str or None")


def checked_proof(proof: Proof | Unexpected | None) -> Proof | None:
    """Return the proof, if there is one; raises `TypeError` for anything else."""
    if isinstance(proof, Unexpected):
        hint = ": pass ByVerification(verification.token)" if proof.kind == "Verification" else ""
        raise TypeError(f"proof must be ByCode, ByRecoveryCode, ByVerification or Vouched, not {proof.kind}{hint}")
    return proof


def check_label(account_name: object, issuer: object) -> None:
    """Raise `TypeError`, or `InvalidKeyUri` for a label that no app could show."""
    require(account_name, str, "account_name", "what the user knows the account by, as str")
    require(issuer, str, "issuer", "the application's name as str")
    key_uri.check_label(str(account_name), str(issuer))


def clean_source(source: object) -> str | None:
    """Cut hostile text to size, and replace what some database would refuse."""
    if source is None:
        return None
    if not isinstance(source, str):
        raise TypeError(f"source must be str or None, not {type(source).__name__}")
    return source[:LONGEST_SOURCE].replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _checked_text(hidden: Hidden[Any], name: str) -> Hidden[str]:
    if hidden.value is None:
        return Hidden("")
    if not isinstance(hidden.value, str):
        raise TypeError(f"{name} must be str, not {type(hidden.value).__name__}")
    return hidden
