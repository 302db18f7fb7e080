"""Adding and replacing an authenticator: `begin_setup`, `resume_setup`, `confirm_setup`, `cancel_setup`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from twofa import _entropy
from twofa._engine import arguments
from twofa._engine.decision import Decision, Passed
from twofa._engine.hashing import Job
from twofa._engine.judging import is_token
from twofa._engine.operation import Operation
from twofa._engine.operations.issuing import issue
from twofa._engine.operations.ways_back import without_a_way_back
from twofa._hidden import Hidden
from twofa._record.recovery import NewCodes
from twofa._record.state import Authenticator, EnrolledTOTP, Pending, Remembered
from twofa._time import utc
from twofa.errors import InvalidCode, MalformedCode, NoSetup, SetupExpired
from twofa.events import EventKind
from twofa.otp import TOTP, read_code
from twofa.proofs import Proof
from twofa.results import RecoveryCodes, Setup

if TYPE_CHECKING:
    from twofa._engine.decision import Call
    from twofa._engine.hashing import Done
    from twofa._engine.settings import Settings
    from twofa._hidden import Unexpected
    from twofa._record.state import State
    from twofa.errors import TwoFactorError

MOST_WRONG_CODES = 10
"""The handle keeps strangers out, so this bounds only a confused owner; there are no waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What the user's app will show for the account."""

    account_name: str
    issuer: str

    @classmethod
    def checked(cls, settings: Settings, account_name: str, issuer: str | None) -> Label:
        """Return the label; raises `TypeError`, or `InvalidKeyUri` for one that no app could show."""
        label = settings.issuer if issuer is None else issuer
        arguments.check_label(account_name, label)
        return cls(account_name=account_name, issuer=label)

    def show(self, totp: EnrolledTOTP, handle: str, expires_at: int, generation: str | None) -> Setup:
        """Return what the user sees of a set-up."""
        calculator = totp.calculator()
        base32 = calculator.base32
        return Setup(
            _handle=Hidden(handle),
            _uri=Hidden(calculator.uri(account_name=self.account_name, issuer=self.issuer)),
            _manual_key=Hidden(" ".join(base32[at : at + 4] for at in range(0, len(base32), 4))),
            expires_at=utc(expires_at),
            generation=generation,
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class NewSetup(Remembered):
    """An authenticator that nobody has yet."""

    totp: EnrolledTOTP
    handle: str
    expires_at: int

    @classmethod
    def draw(cls, call: Call) -> NewSetup:
        """Draw a secret and a handle, as the policy wants them."""
        policy = call.policy
        totp = TOTP.generate(algorithm=policy.algorithm, digits=policy.digits, period=policy.period)
        expires_at = call.now + policy.setup_lifetime
        return cls(totp=EnrolledTOTP.of(totp), handle=_entropy.random_token(), expires_at=expires_at)

    def pending(self) -> Pending:
        """Return what is remembered of it until it is confirmed."""
        return Pending(totp=self.totp, handle=self.handle, expires_at=self.expires_at)

    def show(self, label: Label, generation: str | None) -> Setup:
        """Return what its user sees."""
        return label.show(self.totp, self.handle, self.expires_at, generation)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BeginSetup(Operation[Setup]):
    """`begin_setup`."""

    name: ClassVar[str] = "begin_setup"

    label: Label
    new: NewSetup
    proof: Proof | None

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
    ) -> BeginSetup:
        """Check the arguments and draw a secret."""
        call = settings.call(cls.name, user_id, browser, source)
        known = arguments.checked_proof(proof)
        label = Label.checked(settings, account_name, issuer)
        return cls(call=call, label=label, new=NewSetup.draw(call), proof=known)

    def get_proof(self) -> Proof | None:
        """An unprotected account needs no proof and spends none."""
        return self.proof

    def refusal(self, state: State) -> TwoFactorError | None:
        """In `reenrol` there is no old authenticator to fall back on if this set-up is never confirmed."""
        return without_a_way_back(self.call, state, self.proof) if state.name == "reenrol" else None

    def effect(self, passed: Passed, done: Done) -> Decision[Setup]:
        """Begin; any earlier set-up dies."""
        state = passed.state
        begun = self.call.event(EventKind.SETUP_BEGUN, replaces=state.authenticator is not None, **passed.proof)
        return Decision(
            value=self.new.show(self.label, state.generation),
            state=replace(state, pending=self.new.pending()),
            events=(*passed.events, begun),
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ResumeSetup(Operation[Setup]):
    """`resume_setup`."""

    name: ClassVar[str] = "resume_setup"

    label: Label
    handle: Hidden[str]

    @classmethod
    def prepare(
        cls,
        settings: Settings,
        user_id: str,
        handle: Hidden[str | None],
        account_name: str,
        issuer: str | None,
        source: str | None,
    ) -> ResumeSetup:
        """Check the arguments."""
        call = settings.call(cls.name, user_id, None, source)
        held = arguments.checked_handle(handle)
        return cls(call=call, label=Label.checked(settings, account_name, issuer), handle=held)

    def judge_code(self, state: State, done: Done | None) -> Passed | Decision[Setup]:
        """Show the same secret again, to the session that began the set-up alone, and change nothing."""
        pending = _held(state, self.handle)
        if pending is None:
            return self.call.refuse(NoSetup())
        if pending.totp is None:
            return _expired(self.call, state)
        return Decision(value=self.label.show(pending.totp, pending.handle, pending.expires_at, state.generation))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ConfirmSetup(Operation[RecoveryCodes]):
    """`confirm_setup`."""

    name: ClassVar[str] = "confirm_setup"

    code: Hidden[str]
    handle: Hidden[str]
    new_codes: NewCodes
    generation: str
    token: Hidden[str]

    @classmethod
    def prepare(
        cls, settings: Settings, user_id: str, code: Hidden[str | None], handle: Hidden[str | None], source: str | None
    ) -> ConfirmSetup:
        """Check the arguments; draw the recovery codes, the generation and a verification token."""
        call = settings.call(cls.name, user_id, None, source)
        return cls(
            call=call,
            code=arguments.checked_code(code),
            handle=arguments.checked_handle(handle),
            new_codes=NewCodes.draw(call.policy),
            generation=_entropy.random_token(),
            token=Hidden(_entropy.random_token()),
        )

    def judge_code(self, state: State, done: Done | None) -> Passed | Decision[RecoveryCodes]:
        """Judge the code by the secret that waits, and ask for the hashes of the new set before the last write."""
        pending = _held(state, self.handle)
        if pending is None:
            return self.call.refuse(NoSetup())
        totp = pending.totp
        if totp is None:
            return _expired(self.call, state)
        if read_code(self.code.value, totp.digits) is None:
            return self.call.refuse(MalformedCode(in_setup=True), EventKind.CODE_MALFORMED)
        step = totp.calculator().match(self.code.value, self.call.now, self.call.policy.window)
        if step is None:
            return self._wrong_code(state, pending)
        if done is None:
            return Decision(job=Job(work=self.new_codes, threads=self.call.threads))
        authenticator = Authenticator(totp=totp, confirmed_at=self.call.now, last_step=step, last_used_at=self.call.now)
        confirmed = self.call.event(EventKind.AUTHENTICATOR_CONFIRMED, replaced=state.authenticator is not None)
        return Passed(state=replace(state, authenticator=authenticator), events=(confirmed,))

    def effect(self, passed: Passed, done: Done) -> Decision[RecoveryCodes]:
        """Activate what waited, kill what it replaces and issue new codes, in one step."""
        return issue(self.call, passed, self.new_codes, done, self.generation, self.token)

    def _wrong_code(self, state: State, pending: Pending) -> Decision[RecoveryCodes]:
        wrong_codes = pending.wrong_codes + 1
        events = [self.call.event(EventKind.SETUP_REJECTED, reason=InvalidCode.code, failures=wrong_codes)]
        left: Pending | None = replace(pending, wrong_codes=wrong_codes)
        if wrong_codes >= MOST_WRONG_CODES:
            left = None
            events.append(self.call.event(EventKind.SETUP_CANCELLED, reason="wrong_codes"))
        return Decision(error=InvalidCode(in_setup=True), state=replace(state, pending=left), events=tuple(events))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CancelSetup(Operation[None]):
    """`cancel_setup`."""

    name: ClassVar[str] = "cancel_setup"

    handle: Hidden[str] | None

    @classmethod
    def prepare(
        cls, settings: Settings, user_id: str, handle: Hidden[str | None] | None, source: str | None
    ) -> CancelSetup:
        """Check the arguments."""
        call = settings.call(cls.name, user_id, None, source)
        return cls(call=call, handle=None if handle is None else arguments.checked_handle(handle))

    def effect(self, passed: Passed, done: Done) -> Decision[None]:
        """Forget what waits, if it is the holder's, and touch nothing else."""
        state = passed.state
        if state.pending is None or (self.handle and _held(state, self.handle) is None):
            return Decision()
        event = self.call.event(EventKind.SETUP_CANCELLED, reason="asked")
        return Decision(state=replace(state, pending=None), events=(event,))


def _held(state: State, handle: Hidden[str]) -> Pending | None:
    """Return the set-up that waits, if it is the one of this handle."""
    pending = state.pending
    return pending if pending is not None and is_token(pending.handle, handle) else None


def _expired(call: Call, state: State) -> Decision[Any]:
    # Persist the erasure of the secret once; afterwards write nothing.
    refusal: Decision[Any] = call.refuse(SetupExpired(), EventKind.SETUP_EXPIRED)
    return replace(refusal, state=state, only_if_changed=True)
