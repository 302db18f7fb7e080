"""The state machine as one table: what each operation requires in each state, and where it leads.

`Operation.decide` obeys every cell, the tests walk through every cell, and the documentation's diagram is drawn from
this table. What a cell cannot say stands with the operation that decides it:

- `confirm_setup` and `resume_setup` without a live set-up of that handle are `NoSetup`; an expired one is
  `SetupExpired`. After ten wrong codes a set-up dies, and an authenticator that it would have replaced is untouched.
- A recovery code, at login or as a proof, on an empty or blocked set is `RecoveryCodesExhausted`.
- In `reenrol` a TOTP code as a proof is `ReenrolmentRequired`.
- What would leave the owner no way back in is `RecoveryCodesExhausted`: see `operations/ways_back.py`.
- Too many wrong TOTP codes lead from `active` to `reenrol`, and a pending replacement lives on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from twofa._record.state import StateName
from twofa.errors import AlreadyEnrolled, NoSetup, NotEnrolled, ReenrolmentRequired, TwoFactorError

if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["STATES", "TABLE", "Cell", "Requirement"]


class Requirement(Enum):
    """What a call needs before it has its effect."""

    NOTHING = "nothing"
    """It is done at once."""
    CODE = "code"
    """The code that is the call's own argument, or the set-up's handle, must be right."""
    PROOF = "proof"
    """A proof must be right; it is spent in the same step."""
    NO_EFFECT = "no effect"
    """There is nothing to do, and that is no error."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What happens to one operation in one state."""

    requires: Requirement | type[TwoFactorError]
    """What it needs, or the error that it raises."""
    to: StateName
    """The state afterwards."""


Row: TypeAlias = "Mapping[StateName, Cell]"

STATES: tuple[StateName, ...] = ("none", "pending", "active", "reenrol")

_NOTHING, _CODE, _PROOF, _NO_EFFECT = Requirement


def _row(*cells: tuple[Requirement | type[TwoFactorError], StateName]) -> Row:
    return dict(zip(STATES, (Cell(*cell) for cell in cells), strict=True))


# fmt: off
TABLE: Mapping[str, Row] = {
    #                                none                     pending                   active                   reenrol
    "begin_setup":              _row((_NOTHING, "pending"),   (_NOTHING, "pending"),    (_PROOF, "active"),      (_PROOF, "reenrol")),
    "resume_setup":             _row((NoSetup, "none"),       (_CODE, "pending"),       (_CODE, "active"),       (_CODE, "reenrol")),
    "confirm_setup":            _row((NoSetup, "none"),       (_CODE, "active"),        (_CODE, "active"),       (_CODE, "active")),
    "cancel_setup":             _row((_NO_EFFECT, "none"),    (_NOTHING, "none"),       (_NOTHING, "active"),    (_NOTHING, "reenrol")),
    "verify":                   _row((NotEnrolled, "none"),   (NotEnrolled, "pending"), (_CODE, "active"),       (ReenrolmentRequired, "reenrol")),
    "redeem_recovery_code":     _row((NotEnrolled, "none"),   (NotEnrolled, "pending"), (_CODE, "active"),       (_CODE, "reenrol")),
    "authenticate":             _row((NotEnrolled, "none"),   (NotEnrolled, "pending"), (_CODE, "active"),       (_CODE, "reenrol")),
    "acknowledge_recovery_codes": _row((NotEnrolled, "none"), (NotEnrolled, "pending"), (_NOTHING, "active"),    (_NOTHING, "reenrol")),
    "reset_recovery_codes":     _row((NotEnrolled, "none"),   (NotEnrolled, "pending"), (_PROOF, "active"),      (_PROOF, "reenrol")),
    "reset_authenticator":      _row((NotEnrolled, "none"),   (NotEnrolled, "pending"), (_PROOF, "reenrol"),     (_PROOF, "reenrol")),
    "password_changed":         _row((_NOTHING, "none"),      (_NOTHING, "none"),       (_NOTHING, "active"),    (_NOTHING, "reenrol")),
    "end_sessions":             _row((_NOTHING, "none"),      (_NOTHING, "none"),       (_NOTHING, "active"),    (_NOTHING, "reenrol")),
    "import_authenticator":     _row((_NOTHING, "active"),    (_NOTHING, "active"),     (AlreadyEnrolled, "active"), (AlreadyEnrolled, "reenrol")),
    "export_authenticator":     _row((NotEnrolled, "none"),   (NotEnrolled, "pending"), (_NOTHING, "active"),    (ReenrolmentRequired, "reenrol")),
    "disable":                  _row((_NO_EFFECT, "none"),    (_NOTHING, "none"),       (_PROOF, "none"),        (_PROOF, "none")),
    "forget":                   _row((_NOTHING, "none"),      (_NOTHING, "none"),       (_PROOF, "none"),        (_PROOF, "none")),
}
# fmt: on
