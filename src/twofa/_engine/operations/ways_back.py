"""What is refused because a closed tab would lock the owner out (P14).

The answer to any call can be lost: a closed tab, a dropped connection. So a call that leaves the account without an
authenticator is allowed only while the owner is known to hold a recovery code that still works afterwards. Whoever has
used a code of the set, or said that it is saved, is known to hold it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twofa.errors import RecoveryCodesExhausted, ReenrolmentRequired
from twofa.proofs import ByRecoveryCode, Vouched

if TYPE_CHECKING:
    from twofa._engine.decision import Call
    from twofa._record.state import State
    from twofa.errors import TwoFactorError
    from twofa.proofs import Proof


def without_a_way_back(call: Call, state: State, proof: Proof | None) -> TwoFactorError | None:
    """Return why an account may not be left with its recovery codes alone, or `None` if it may.

    The host may answer for it (`Vouched`): it has other ways to know its users.
    """
    if isinstance(proof, Vouched):
        return None
    left = _left(call, state, proof)
    if left < 1:
        return RecoveryCodesExhausted()
    held = state.recovery is not None and state.recovery.acknowledged
    if not held and not isinstance(proof, ByRecoveryCode):
        return RecoveryCodesExhausted(RecoveryCodesExhausted.unseen_message)
    return None


def codes_that_could_be_lost(call: Call, state: State, proof: Proof | None) -> TwoFactorError | None:
    """Return why a new set may not replace the codes that are the owner's only way in, or `None` if it may.

    In `reenrol`, if the page with the new codes were lost, nothing would be left. Setting up an app again is safe
    there, and makes a new set as well. Only with the last code, or with codes that nobody saw, is a new set the way on.
    """
    if state.name != "reenrol" or isinstance(proof, Vouched) or state.recovery is None:
        return None
    others = state.recovery.usable(call.policy.throttle) - isinstance(proof, ByRecoveryCode)
    known = state.recovery.acknowledged or isinstance(proof, ByRecoveryCode)
    return ReenrolmentRequired() if others >= 1 and known else None


def _left(call: Call, state: State, proof: Proof | None) -> int:
    """Return how many recovery codes would work after the proof."""
    held = state.recovery
    if held is None:
        return 0
    if isinstance(proof, ByRecoveryCode):
        # Whether the set is blocked is for the judge to say: the last attempt before the block is this one, counted.
        return held.remaining - 1
    return held.usable(call.policy.throttle)
