"""Changes to a protected account: new recovery codes, a new authenticator, off, and what ends other sessions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from twofa import _entropy
from twofa._engine import arguments
from twofa._engine.decision import Decision, Passed
from twofa._engine.operation import Operation
from twofa._engine.operations.issuing import issue
from twofa._engine.operations.setup import Label, NewSetup
from twofa._engine.operations.ways_back import codes_that_could_be_lost, without_a_way_back
from twofa._hidden import Hidden
from twofa._record.recovery import NewCodes
from twofa._record.state import State
from twofa.events import EventKind
from twofa.proofs import Proof
from twofa.results import RecoveryCodes, Setup

if TYPE_CHECKING:
    from twofa._engine.hashing import Done
    from twofa._engine.settings import Settings
    from twofa._hidden import Unexpected
    from twofa.errors import TwoFactorError


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ResetRecoveryCodes(Operation[RecoveryCodes]):
    """`reset_recovery_codes`."""

    name: ClassVar[str] = "reset_recovery_codes"

    proof: Proof | None
    new_codes: NewCodes
    generation: str
    token: Hidden[str]

    @classmethod
    def prepare(
        cls,
        settings: Settings,
        user_id: str,
        proof: Proof | Unexpected | None,
        browser: Hidden[str] | None,
        source: str | None,
    ) -> ResetRecoveryCodes:
        """Check the arguments; draw the codes, the generation and a verification token."""
        call = settings.call(cls.name, user_id, browser, source)
        return cls(
            call=call,
            proof=arguments.checked_proof(proof),
            new_codes=NewCodes.draw(call.policy),
            generation=_entropy.random_token(),
            token=Hidden(_entropy.random_token()),
        )

    def get_proof(self) -> Proof | None:
        """The account is protected: it takes a proof."""
        return self.proof

    def get_new_codes(self) -> NewCodes:
        """They are hashed once the proof is known to be right."""
        return self.new_codes

    def refusal(self, state: State) -> TwoFactorError | None:
        """Keep the owner's only way in."""
        return codes_that_could_be_lost(self.call, state, self.proof)

    def effect(self, passed: Passed, done: Done) -> Decision[RecoveryCodes]:
        """Replace the set."""
        return issue(self.call, passed, self.new_codes, done, self.generation, self.token)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ResetAuthenticator(Operation[Setup]):
    """`reset_authenticator`."""

    name: ClassVar[str] = "reset_authenticator"

    label: Label
    new: NewSetup
    proof: Proof | None
    generation: str

    @classmethod
    def prepare(
        cls,
        settings: Settings,
        user_id: str,
        account_name: str,
        issuer: str | None,
        proof: Proof | Unexpected | None,
        browser: Hidden[str] | None,
        source: str | None,
    ) -> ResetAuthenticator:
        """Check the arguments; draw a secret and the generation."""
        call = settings.call(cls.name, user_id, browser, source)
        known = arguments.checked_proof(proof)
        label = Label.checked(settings, account_name, issuer)
        generation = _entropy.random_token()
        return cls(call=call, label=label, new=NewSetup.draw(call), proof=known, generation=generation)

    def get_proof(self) -> Proof | None:
        """The account is protected: it takes a proof."""
        return self.proof

    def refusal(self, state: State) -> TwoFactorError | None:
        """Keep a way in for the owner whose set-up is never confirmed."""
        return without_a_way_back(self.call, state, self.proof)

    def effect(self, passed: Passed, done: Done) -> Decision[Setup]:
        """Kill the old device at once, keep the account protected, begin the new set-up."""
        state = replace(
            passed.state,
            generation=self.generation,
            authenticator=None,
            pending=self.new.pending(),
            verification=None,
        )
        return Decision(
            value=self.new.show(self.label, self.generation),
            state=state,
            events=(*passed.events, self.call.event(EventKind.AUTHENTICATOR_RESET, **passed.proof)),
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Disable(Operation[str | None]):
    """`disable`."""

    name: ClassVar[str] = "disable"

    proof: Proof | None
    generation: str

    @classmethod
    def prepare(
        cls,
        settings: Settings,
        user_id: str,
        proof: Proof | Unexpected | None,
        browser: Hidden[str] | None,
        source: str | None,
    ) -> Disable:
        """Check the arguments; draw the generation."""
        call = settings.call(cls.name, user_id, browser, source)
        return cls(call=call, proof=arguments.checked_proof(proof), generation=_entropy.random_token())

    def get_proof(self) -> Proof | None:
        """An unprotected account needs no proof and spends none."""
        return self.proof

    def no_effect(self, state: State) -> Decision[str | None]:
        """Nothing to turn off: the generation stays."""
        return Decision(value=state.generation)

    def effect(self, passed: Passed, done: Done) -> Decision[str | None]:
        """Erase everything but a new generation, so that no old session revives."""
        state = passed.state
        if not state.protected:
            event = self.call.event(EventKind.SETUP_CANCELLED, reason="disabled")
            return Decision(value=state.generation, state=replace(state, pending=None), events=(event,))
        disabled = self.call.event(EventKind.DISABLED, **passed.proof)
        return Decision(
            value=self.generation, state=State(generation=self.generation), events=(*passed.events, disabled)
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Forget(Operation[None]):
    """`forget`."""

    name: ClassVar[str] = "forget"

    proof: Proof | None

    @classmethod
    def prepare(
        cls,
        settings: Settings,
        user_id: str,
        proof: Proof | Unexpected | None,
        browser: Hidden[str] | None,
        source: str | None,
    ) -> Forget:
        """Check the arguments."""
        call = settings.call(cls.name, user_id, browser, source)
        return cls(call=call, proof=arguments.checked_proof(proof))

    def get_proof(self) -> Proof | None:
        """An unprotected account needs no proof and spends none."""
        return self.proof

    def effect(self, passed: Passed, done: Done) -> Decision[None]:
        """Erase all; only the listener is told."""
        event = self.call.event(EventKind.FORGOTTEN, **passed.proof)
        return Decision(erase=True, events=(*passed.events, event))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AcknowledgeRecoveryCodes(Operation[None]):
    """`acknowledge_recovery_codes`."""

    name: ClassVar[str] = "acknowledge_recovery_codes"

    generation: str | None

    @classmethod
    def prepare(
        cls, settings: Settings, user_id: str, generation: str | None, source: str | None
    ) -> AcknowledgeRecoveryCodes:
        """Check the arguments."""
        call = settings.call(cls.name, user_id, None, source)
        arguments.check_generation(generation)
        return cls(call=call, generation=generation)

    def effect(self, passed: Passed, done: Done) -> Decision[None]:
        """Remember that the owner has the codes, if they are still the ones that the owner saw."""
        state, held = passed.state, passed.state.recovery
        seen = self.generation is None or self.generation == state.generation
        if held is None or held.acknowledged or not seen:
            return Decision()
        event = self.call.event(EventKind.RECOVERY_CODES_ACKNOWLEDGED)
        return Decision(state=replace(state, recovery=replace(held, acknowledged=True)), events=(event,))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _NewGeneration(Operation[str]):
    """What the host says of its own accord, in every state, and what ends all other sessions."""

    generation: str

    @classmethod
    def prepare(cls, settings: Settings, user_id: str, source: str | None) -> Self:
        """Check the arguments; draw the generation."""
        call = settings.call(cls.name, user_id, None, source)
        return cls(call=call, generation=_entropy.random_token())

    def ended(self, state: State) -> State:
        """Return the state under the new generation, without set-ups and verifications of before."""
        return replace(state, generation=self.generation, pending=None, verification=None)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EndSessions(_NewGeneration):
    """`end_sessions`."""

    name: ClassVar[str] = "end_sessions"

    def effect(self, passed: Passed, done: Done) -> Decision[str]:
        """Change the generation, which every session and every browser token is bound to."""
        event = self.call.event(EventKind.SESSIONS_ENDED)
        return Decision(value=self.generation, state=self.ended(passed.state), events=(event,))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PasswordChanged(_NewGeneration):
    """`password_changed`."""

    name: ClassVar[str] = "password_changed"

    def effect(self, passed: Passed, done: Done) -> Decision[str]:
        """Let the owner in at once, and whoever knew the old password out."""
        state = self.ended(passed.state)
        now, throttle = self.call.now, self.call.policy.throttle
        if state.authenticator:
            failures = state.authenticator.failures.under(throttle).password_changed(now)
            state = replace(state, authenticator=replace(state.authenticator, failures=failures))
        if state.recovery:
            failures = state.recovery.failures.under(throttle).password_changed(now)
            state = replace(state, recovery=replace(state.recovery, failures=failures))
        event = self.call.event(EventKind.PASSWORD_CHANGED)
        return Decision(value=self.generation, state=state, events=(event,))
