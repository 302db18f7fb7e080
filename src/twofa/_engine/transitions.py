"""The state machine as one table: what each operation meets in each state, and where it leads.

`decisions` obeys it, the tests walk every cell of it, and the documentation draws it. The few things that a cell cannot say:

- `begin_setup` with the handle of a live set-up returns the same secret again, in every state, and changes nothing;
- `confirm_setup` without a live set-up of that handle is `NoSetup`; an expired one is `SetupExpired`; after ten wrong
  codes the set-up dies, and an authenticator that it would have replaced is untouched;
- `redeem_recovery_code`, or such a proof, on an empty or blocked set is `RecoveryCodesExhausted`;
- in `reenrol` a TOTP code as proof is `ReenrolmentRequired`;
- `reset_authenticator` that would leave no recovery code is `RecoveryCodesExhausted`, unless it is vouched for;
- too many wrong TOTP codes lead from `active` to `reenrol`, and a pending replacement lives on.
"""

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from twofa.errors import NoSetup, NotEnrolled, ReenrolmentRequired, TwoFactorError
from twofa.results import StateName

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STATES", "TABLE", "Cell", "Gate"]


class Gate(Enum):
    """What stands between a call and its effect."""

    FREE = "free"
    """Nothing: it is done."""
    CODE = "code"
    """The code that is the call's own argument."""
    PROOF = "proof"
    """A proof, spent in the same step."""
    NOTHING = "nothing"
    """There is nothing to do, and that is no error."""


class Cell(NamedTuple):
    """What happens to one operation in one state."""

    gate: Gate | type[TwoFactorError]
    """What it takes, or the error that it raises."""
    to: StateName
    """The state afterwards."""


Row: TypeAlias = "Mapping[StateName, Cell]"

STATES: tuple[StateName, ...] = ("none", "pending", "active", "reenrol")


def _row(*cells: tuple[Gate | type[TwoFactorError], StateName]) -> Row:
    return dict(zip(STATES, (Cell(*cell) for cell in cells), strict=True))


# fmt: off
TABLE: "Mapping[str, Row]" = {
    #                            none                      pending                    active                     reenrol
    "begin_setup":          _row((Gate.FREE, "pending"),   (Gate.FREE, "pending"),    (Gate.PROOF, "active"),    (Gate.PROOF, "reenrol")),
    "confirm_setup":        _row((NoSetup, "none"),        (Gate.CODE, "active"),     (Gate.CODE, "active"),     (Gate.CODE, "active")),
    "cancel_setup":         _row((Gate.NOTHING, "none"),   (Gate.FREE, "none"),       (Gate.FREE, "active"),     (Gate.FREE, "reenrol")),
    "verify":               _row((NotEnrolled, "none"),    (NotEnrolled, "pending"),  (Gate.CODE, "active"),     (ReenrolmentRequired, "reenrol")),
    "redeem_recovery_code": _row((NotEnrolled, "none"),    (NotEnrolled, "pending"),  (Gate.CODE, "active"),     (Gate.CODE, "reenrol")),
    "reset_recovery_codes": _row((NotEnrolled, "none"),    (NotEnrolled, "pending"),  (Gate.PROOF, "active"),    (Gate.PROOF, "reenrol")),
    "reset_authenticator":  _row((NotEnrolled, "none"),    (NotEnrolled, "pending"),  (Gate.PROOF, "reenrol"),   (Gate.PROOF, "reenrol")),
    "disable":              _row((Gate.NOTHING, "none"),   (Gate.FREE, "none"),       (Gate.PROOF, "none"),      (Gate.PROOF, "none")),
    "forget":               _row((Gate.FREE, "none"),      (Gate.FREE, "none"),       (Gate.PROOF, "none"),      (Gate.PROOF, "none")),
}
# fmt: on
