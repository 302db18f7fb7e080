"""What `python -m twofa revoke-codes` does with each user, after a backup was restored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from twofa import _entropy
from twofa._engine.decision import Decision
from twofa._engine.operation import Operation
from twofa.events import EventKind
from twofa.proofs import Vouched

if TYPE_CHECKING:
    from twofa._engine.hashing import Done
    from twofa._engine.settings import Settings
    from twofa._record.state import Record

Revoked: TypeAlias = Literal["revoked", "nothing to revoke", "only way in"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RevokeRecoveryCodes(Operation[Revoked]):
    """No method of `TwoFactor`: a host replaces one user's codes with `reset_recovery_codes`, which shows new ones."""

    name: ClassVar[str] = "revoke_recovery_codes"

    before: int
    word: Vouched
    generation: str

    @classmethod
    def prepare(
        cls, settings: Settings, user_id: str, *, before: int, by: str, reason: str, source: str | None
    ) -> RevokeRecoveryCodes:
        """Check the arguments; draw the generation. Only sets made earlier than `before` (Unix seconds) are revoked."""
        call = settings.call(cls.name, user_id, None, source)
        word = Vouched(by=by, reason=reason)
        return cls(call=call, before=before, word=word, generation=_entropy.random_token())

    def decide(self, record: Record, done: Done | None) -> Decision[Revoked]:
        """Leave an empty set under a new generation, so that the owner makes a new one with the app."""
        state = record.state.at(self.call.now)
        held = state.recovery
        if held is None or held.issued_at >= self.before:
            return Decision(value="nothing to revoke")
        if state.authenticator is None:
            return Decision(value="only way in")
        event = self.call.event(
            EventKind.RECOVERY_CODES_REVOKED,
            count=held.remaining,
            proof="vouched",
            by=self.word.by,
            reason=self.word.reason,
        )
        # From now on, as a new set would be: so that the next run leaves this user alone.
        empty = replace(held.blocked(), issued_at=self.call.now, acknowledged=True)
        revoked = replace(state, generation=self.generation, recovery=empty, pending=None, verification=None)
        return Decision(value="revoked", state=revoked, events=(event,))
