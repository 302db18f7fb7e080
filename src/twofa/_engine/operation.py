"""What every operation is: a call with everything that it will ever need, decided as often as needed.

An operation draws its secrets, codes and tokens when it is made, before the record is read: a call that decides again
after a conflict must not make another secret than the one that is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from twofa._engine.decision import Call, Decision, Passed
from twofa._engine.hashing import Done
from twofa._engine.judging import judge_proof
from twofa._engine.transitions import TABLE, Requirement
from twofa.errors import OutcomeUnknown, SignInRequired, StoreContention
from twofa.events import EventKind

if TYPE_CHECKING:
    from twofa._record.recovery import NewCodes
    from twofa._record.state import Record, State
    from twofa.errors import TwoFactorError
    from twofa.events import Event
    from twofa.proofs import Proof

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Operation(Generic[T]):
    """One method of `TwoFactor`, called. Its class obeys its row of `transitions.TABLE`.

    `prepare`, which every operation has, checks the arguments and draws the chance. `decide` is pure: no I/O, no clock,
    no randomness, nothing slow.
    """

    name: ClassVar[str]
    """The method's name, and the row's."""

    call: Call

    def decide(self, record: Record, done: Done | None) -> Decision[T]:
        """Decide on the record as it is stored, with what came of this call's slow work so far."""
        state = record.state.at(self.call.now)
        if self.call.has_ended(state):
            return self.call.refuse(SignInRequired("ended"))
        requires = TABLE[self.name][state.name].requires
        if not isinstance(requires, Requirement):
            return self.call.refuse(requires())
        if requires is Requirement.NO_EFFECT:
            return self.no_effect(state)
        refusal = self.refusal(state)
        if refusal is not None:
            return self.call.refuse(refusal)
        judged = self._judge(requires, state, done)
        decision = judged if isinstance(judged, Decision) else self.effect(judged, done or Done(counted=None))
        if decision.only_if_changed and decision.state == record.state:
            return replace(decision, state=None)
        return decision

    def _judge(self, requires: Requirement, state: State, done: Done | None) -> Passed | Decision[T]:
        if requires is Requirement.PROOF:
            return judge_proof(self.call, state, self.get_proof(), new_codes=self.get_new_codes(), done=done)
        if requires is Requirement.CODE:
            return self.judge_code(state, done)
        return Passed(state=state)

    # --- what operations fill in ------------------------------------------------------------------------------------

    def get_proof(self) -> Proof | None:
        """Return the proof, for an operation that takes one."""
        return None

    def get_new_codes(self) -> NewCodes | None:
        """Return the new recovery set that a right proof leads to, for an operation that makes one."""
        return None

    def refusal(self, state: State) -> TwoFactorError | None:
        """Return why the operation is refused before any code or proof is looked at."""
        return None

    def judge_code(self, state: State, done: Done | None) -> Passed | Decision[T]:
        """Judge the code or handle that is the operation's own argument."""
        raise NotImplementedError(self.name)  # for the operations whose row says CODE

    def effect(self, passed: Passed, done: Done) -> Decision[T]:
        """Decide what a call does that may do it."""
        raise NotImplementedError(self.name)  # every operation in the table has its own

    def no_effect(self, state: State) -> Decision[T]:
        """Decide what a call answers that has nothing to do."""
        return Decision()

    def failed(self, problem: Exception) -> Event:
        """Return the event of a call that came to no decision: the store failed, or others kept changing the record."""
        if isinstance(problem, StoreContention):
            return self.call.event(EventKind.STORE_CONTENTION, operation=self.name)
        kind = EventKind.OUTCOME_UNKNOWN if isinstance(problem, OutcomeUnknown) else EventKind.STORE_FAILED
        raised = problem.__cause__ or problem
        return self.call.event(kind, operation=self.name, reason=type(raised).__name__)

    def __repr__(self) -> str:
        return f"<{self.name} of {self.call.user_id!r}>"
