"""A new recovery set, as `confirm_setup` and `reset_recovery_codes` install it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from twofa._engine.decision import Decision
from twofa._hidden import Hidden
from twofa._record.state import FreshVerification, RecoverySet
from twofa.events import EventKind
from twofa.results import RecoveryCodes

if TYPE_CHECKING:
    from twofa._engine.decision import Call, Passed
    from twofa._engine.hashing import Done
    from twofa._record.recovery import NewCodes


def issue(
    call: Call, passed: Passed, new_codes: NewCodes, done: Done, generation: str, token: Hidden[str]
) -> Decision[RecoveryCodes]:
    """Install the set under a new generation, which ends every pending set-up and every earlier verification.

    It leaves a fresh verification, so that a session whose page with the codes was lost can have new ones made.
    """
    codes = new_codes.written()
    held = RecoverySet(
        scheme=str(new_codes.scheme),
        length=len(new_codes.codes[0].value),
        slots=new_codes.slots,
        hashes=done.hashes,
        issued_at=call.now,
    )
    issued = call.event(EventKind.RECOVERY_CODES_ISSUED, count=len(codes), **passed.proof)
    return Decision(
        value=RecoveryCodes(_codes=Hidden(codes), _token=token, generation=generation),
        state=replace(
            passed.state,
            generation=generation,
            recovery=held,
            pending=None,
            verification=FreshVerification(token=token.value, at=call.now),
        ),
        events=(*passed.events, issued),
    )
