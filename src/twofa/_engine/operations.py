"""What every operation decides: pure functions of the state, the call, and the slow work done for it so far.

No I/O, no clock, no chance, nothing slow: `run` and the faces do those. A failed attempt is a decision too, written
first and raised afterwards. A decision with a `job` asks to be called again with what came of it, after its state was
written.

Slow work is counted first: an operation that hashes only after a right code would tell by its time what its answer
hides. So an attempt that may need slow work writes its count, then runs the job, and its last write takes the count
back. It is judged only against the secret or set that it was counted against.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from twofa._engine.jobs import Check, Job
from twofa._engine.transitions import TABLE, Gate
from twofa._hidden import Hidden, same
from twofa._record.recovery import Scheme, read_recovery_code, unpack
from twofa._record.state import Authenticator, Pending, RecoverySet, State
from twofa._time import utc
from twofa.errors import (
    CodeReused,
    InvalidCode,
    MalformedCode,
    NoSetup,
    ProofRequired,
    RecoveryCodesExhausted,
    ReenrolmentRequired,
    SetupExpired,
    Throttled,
    TwoFactorError,
)
from twofa.events import Event, EventKind
from twofa.otp import read_code
from twofa.proofs import ByCode, ByRecoveryCode, ByVerification, Vouched
from twofa.results import RecoveryCodes, Setup, Status, Verification

if TYPE_CHECKING:
    from datetime import datetime

    from twofa._engine.jobs import Done
    from twofa._record.recovery import NewCodes
    from twofa._record.state import Key
    from twofa._record.throttle import Failures
    from twofa.events import Plain
    from twofa.policy import Policy
    from twofa.proofs import Proof

T = TypeVar("T")

MOST_WRONG_CODES_IN_SETUP = 10
"""The handle keeps strangers out, so this bounds only a confused owner; there are no waits."""

FEW_RECOVERY_CODES = 3


class Decision(Generic[T]):
    """What to do now: write, tell, then work, raise or return."""

    __slots__ = ("erase", "error", "events", "job", "state", "value")

    def __init__(
        self,
        value: T | None = None,
        *,
        error: TwoFactorError | None = None,
        state: State | None = None,
        erase: bool = False,
        events: tuple[Event, ...] = (),
        job: Job | None = None,
    ) -> None:
        self.value, self.error = value, error
        self.state = state
        """What to write; `None` writes nothing."""
        self.erase = erase
        """Delete the record instead."""
        self.events = events
        self.job = job
        """Work to do before the same call decides again."""


class Call:
    """What all operations have in common."""

    __slots__ = ("now", "policy", "source", "user_id")

    def __init__(self, user_id: str, now: int, source: str | None, policy: Policy) -> None:
        self.user_id, self.now, self.source, self.policy = user_id, now, source, policy


class NewSetup:
    """An authenticator that nobody has yet, and the label that its user will see."""

    __slots__ = ("account_name", "handle", "issuer", "key")

    def __init__(self, key: Key, handle: Hidden[str], account_name: str, issuer: str) -> None:
        self.key, self.handle, self.account_name, self.issuer = key, handle, account_name, issuer

    def pending(self, call: Call) -> Pending:
        """Return what is remembered of it until it is confirmed."""
        return Pending(self.key, self.handle.value, call.now + call.policy.setup_lifetime)

    def shown(self, pending: Pending, key: Key, handle: Hidden[str], generation: str | None) -> Setup:
        """Return what its user sees."""
        totp = key.totp()
        base32 = totp.base32
        return Setup(
            _handle=handle,
            _uri=Hidden(totp.uri(account_name=self.account_name, issuer=self.issuer)),
            _manual_key=Hidden(" ".join(base32[at : at + 4] for at in range(0, len(base32), 4))),
            expires_at=utc(pending.expires_at),
            generation=generation,
        )


class Passed:
    """A code or proof that was accepted, and the state in which it is spent."""

    __slots__ = ("events", "failed_before", "proof", "state", "step_offset")

    def __init__(
        self,
        state: State,
        *,
        events: tuple[Event, ...] = (),
        proof: dict[str, Plain] | None = None,
        failed_before: int = 0,
        step_offset: int | None = None,
    ) -> None:
        self.state, self.events = state, events
        self.proof = proof or {}
        """How it was proven, for the event of what it allows."""
        self.failed_before, self.step_offset = failed_before, step_offset


class Operation(Generic[T]):
    """One call with everything that it will ever need: decided as often as needed, with the same outcome."""

    __slots__ = ("call",)

    name: ClassVar[str]

    def __init__(self, call: Call) -> None:
        self.call = call

    def decide(self, state: State, done: Done | None) -> Decision[T]:
        """Decide on the state as it is stored, with what came of this call's last job."""
        state = state.at(self.call.now)
        gate = TABLE[self.name][state.name].gate
        if gate is Gate.NOTHING:
            return Decision()
        if isinstance(gate, Gate):
            return self.pass_gate(gate, state, done)
        return self.refuse(gate())

    def pass_gate(self, gate: Gate, state: State, done: Done | None) -> Decision[T]:
        """Decide in a state where the table does not settle it."""
        raise NotImplementedError(self.name)  # every operation has its own

    def event(self, kind: EventKind, **detail: Plain) -> Event:
        """Return an event of this call."""
        return Event(kind, self.call.user_id, utc(self.call.now), source=self.call.source, detail=detail)

    def refuse(self, error: TwoFactorError, kind: EventKind = EventKind.REFUSED) -> Decision[T]:
        """Decline without a write: the listener hears of it, the record does not change."""
        return Decision(error=error, events=(self.event(kind, operation=self.name, reason=error.code),))

    def wait(self, state: State, anchored: State, until: int) -> Decision[T]:
        """Decline to look at a code at all. Written only where a clock that moved back would stretch the wait."""
        event = self.event(EventKind.THROTTLED, operation=self.name, retry_at=until)
        return Decision(error=Throttled(utc(until)), state=anchored if anchored != state else None, events=(event,))

    def __repr__(self) -> str:
        return f"<{self.name} of {self.call.user_id!r}>"


# --- judging a TOTP code -------------------------------------------------------------------------------------------


def judge_totp(
    operation: Operation[T], state: State, code: Hidden[str], *, make: NewCodes | None = None, done: Done | None = None
) -> Passed | Decision[T]:
    """Look at a TOTP code; `make` is slow work that a right one leads to, `done` what came of it.

    Only a step later than the last accepted one counts (RFC 6238 §5.2). The last accepted one, still in the window,
    reads as reused and is not counted: a double click is not a guess.
    """
    call, device = operation.call, state.authenticator
    if device is None:
        return operation.refuse(ReenrolmentRequired())
    if read_code(code.value, device.key.digits) is None:
        return operation.refuse(MalformedCode(), EventKind.CODE_MALFORMED)
    if done is None:
        until = device.failures.wait_until(call.policy.throttle, call.now)
        if until is not None:
            return operation.wait(state, _with_totp(state, device, device.failures.anchored(call.now)), until)
    elif done.counted_against != device.key:
        return _wrong(operation, state, "totp", None)
    totp = device.key.totp()
    step = totp.match(code.value, call.now, call.policy.window, after=device.last_step - 1)
    if step == device.last_step:
        return _reused_step(operation, state, device, done)
    if step is None:
        failures = device.failures if done else device.failures.counted(call.now)
        return _wrong(operation, _with_totp(state, device, failures), "totp", failures)
    if make is not None and done is None:
        counted = _with_totp(state, device, device.failures.counted(call.now))
        return Decision(state=counted, job=Job(make=make, counted_against=device.key))
    used = device.changed(
        last_step=step, last_used_at=call.now, failures=device.failures.cleared(call.now if done else None)
    )
    offset = step - totp.step(call.now)
    return Passed(
        state=state.changed(authenticator=used),
        events=(operation.event(EventKind.CODE_ACCEPTED, operation=operation.name, step_offset=offset),),
        proof={"proof": "totp"},
        failed_before=_failed_before(device.failures, done),
        step_offset=offset,
    )


def _reused_step(operation: Operation[T], state: State, device: Authenticator, done: Done | None) -> Decision[T]:
    refusal = operation.refuse(CodeReused(), EventKind.CODE_REUSED)
    if done is not None:
        refusal.state = _with_totp(state, device, device.failures.taken_back(operation.call.now))
    return refusal


def _with_totp(state: State, device: Authenticator, failures: Failures) -> State:
    return state.changed(authenticator=device.changed(failures=failures))


# --- judging a recovery code ---------------------------------------------------------------------------------------


def judge_recovery_code(
    operation: Operation[T], state: State, code: Hidden[str], *, make: NewCodes | None = None, done: Done | None = None
) -> Passed | Decision[T]:
    """Count a recovery code, then, with its hash in `done`, look at it: one slow hash at most, hit or miss."""
    held = state.recovery
    if held is None or not (held.remaining or done):
        return operation.refuse(RecoveryCodesExhausted())
    if done is not None:
        return _judge_hash(operation, state, held, done)
    call = operation.call
    read = read_recovery_code(code, held.length)
    if read is None:
        return operation.refuse(MalformedCode(), EventKind.CODE_MALFORMED)
    until = held.failures.wait_until(call.policy.throttle, call.now)
    if until is not None:
        return operation.wait(state, _with_recovery(state, held, held.failures.anchored(call.now)), until)
    failures = held.failures.counted(call.now)
    counted = _with_recovery(state, held, failures)
    place = held.slots.find(read.value[0])
    if place < 0:
        return _wrong(operation, counted, "recovery_code", failures)
    check = Check(Scheme.read(held.scheme), *unpack(held.hashes, place), read, place)
    return Decision(state=counted, job=Job(check=check, make=make, counted_against=held.hashes))


def _judge_hash(operation: Operation[T], state: State, held: RecoverySet, done: Done) -> Passed | Decision[T]:
    if done.counted_against != held.hashes:
        return _wrong(operation, state, "recovery_code", None)
    _, expected = unpack(held.hashes, done.place)
    if not same(expected, done.digest):
        return _wrong(operation, state, "recovery_code", held.failures)
    if any(place == done.place for place, _ in held.spent):
        return _wrong(operation, state, "recovery_code", held.failures, CodeReused, EventKind.CODE_REUSED)
    now = operation.call.now
    spent = held.changed(spent=(*held.spent, (done.place, now)), failures=held.failures.cleared(now))
    events = [operation.event(EventKind.RECOVERY_CODE_USED, operation=operation.name, remaining=spent.remaining)]
    if spent.remaining <= FEW_RECOVERY_CODES:
        events.append(operation.event(EventKind.RECOVERY_CODES_LOW, remaining=spent.remaining))
    return Passed(
        state=state.changed(recovery=spent),
        events=tuple(events),
        proof={"proof": "recovery_code"},
        failed_before=_failed_before(held.failures, done),
    )


def _with_recovery(state: State, held: RecoverySet, failures: Failures) -> State:
    return state.changed(recovery=held.changed(failures=failures))


# --- what both have in common --------------------------------------------------------------------------------------


def _wrong(
    operation: Operation[T],
    state: State,
    method: str,
    failures: Failures | None,
    error: type[InvalidCode] = InvalidCode,
    kind: EventKind = EventKind.CODE_REJECTED,
) -> Decision[T]:
    """Refuse a code whose attempt is counted in `state`; without `failures` the factor it was counted on is gone."""
    call = operation.call
    detail: dict[str, Plain] = {"operation": operation.name, "method": method, "reason": error.code}
    if failures is None:
        return Decision(error=error(), state=state, events=(operation.event(kind, **detail),))
    if failures.blocked(call.policy.throttle):
        state, blocked = _block(operation, state, method)
        return Decision(error=error(), state=state, events=(operation.event(kind, **detail), blocked))
    until = failures.wait_until(call.policy.throttle, call.now)
    detail |= {"failures": failures.in_a_row, "retry_at": until}
    retry_at = None if until is None else utc(until)
    return Decision(error=error(retry_at), state=state, events=(operation.event(kind, **detail),))


def _block(operation: Operation[T], state: State, method: str) -> tuple[State, Event]:
    # NIST SP 800-63B-4 §3.2.2: blocked for good, and usable again only by binding a new one.
    if method == "totp":
        return state.changed(authenticator=None), operation.event(EventKind.AUTHENTICATOR_BLOCKED)
    recovery = state.recovery and state.recovery.blocked()
    return state.changed(recovery=recovery), operation.event(EventKind.RECOVERY_CODES_BLOCKED)


def _failed_before(failures: Failures, done: Done | None) -> int:
    return max(0, failures.in_a_row - (1 if done else 0))


def judge_proof(
    operation: Operation[T], state: State, proof: Proof | None, make: NewCodes | None, done: Done | None
) -> Passed | Decision[T]:
    """Look at what shall show that the owner asks; spent in the state that comes back."""
    if isinstance(proof, ByCode):
        return judge_totp(operation, state, Hidden(proof.code), make=make, done=done)
    if isinstance(proof, ByRecoveryCode):
        return judge_recovery_code(operation, state, Hidden(proof.code), make=make, done=done)
    if isinstance(proof, ByVerification) and _is_fresh(state, proof):
        passed = Passed(state.changed(token=None), proof={"proof": "verification"})
    elif isinstance(proof, Vouched):
        passed = Passed(state, proof={"proof": "vouched", "by": proof.by, "reason": proof.reason})
    else:
        return operation.refuse(ProofRequired())
    # Neither is a guess (128 random bits; the host's own word), so there is nothing to count before the slow work.
    return Decision(job=Job(make=make)) if make is not None and done is None else passed


def _is_fresh(state: State, proof: ByVerification) -> bool:
    return state.token is not None and _is(state.token[0], Hidden(proof.token))


# --- the operations ------------------------------------------------------------------------------------------------


class BeginSetup(Operation[Setup]):
    """`begin_setup`."""

    __slots__ = ("handle", "new", "proof")
    name = "begin_setup"

    def __init__(self, call: Call, new: NewSetup, handle: Hidden[str] | None, proof: Proof | None) -> None:
        super().__init__(call)
        self.new, self.handle, self.proof = new, handle, proof

    def decide(self, state: State, done: Done | None) -> Decision[Setup]:
        """Show the same secret to the holder of a live handle; else as the table says."""
        pending = state.at(self.call.now).pending
        if pending and pending.key and self.handle and _holds(self.handle, pending):
            return Decision(self.new.shown(pending, pending.key, self.handle, state.generation))
        return super().decide(state, done)

    def pass_gate(self, gate: Gate, state: State, done: Done | None) -> Decision[Setup]:
        """Begin anew; any earlier set-up dies. An unprotected account needs no proof and spends none."""
        if gate is Gate.FREE:
            return self._begin(Passed(state))
        judged = judge_proof(self, state, self.proof, None, done)
        return self._begin(judged) if isinstance(judged, Passed) else judged

    def _begin(self, passed: Passed) -> Decision[Setup]:
        pending = self.new.pending(self.call)
        begun = self.event(EventKind.SETUP_BEGUN, replaces=passed.state.authenticator is not None, **passed.proof)
        return Decision(
            value=self.new.shown(pending, self.new.key, self.new.handle, passed.state.generation),
            state=passed.state.changed(pending=pending),
            events=(*passed.events, begun),
        )


class ConfirmSetup(Operation[RecoveryCodes]):
    """`confirm_setup`."""

    __slots__ = ("code", "generation", "handle", "make")
    name = "confirm_setup"

    def __init__(self, call: Call, code: Hidden[str], handle: Hidden[str], make: NewCodes, generation: str) -> None:
        super().__init__(call)
        self.code, self.handle, self.make, self.generation = code, handle, make, generation

    def decide(self, state: State, done: Done | None) -> Decision[RecoveryCodes]:
        """As the table says; that the secret of an expired set-up is erased needs writing once."""
        decision = super().decide(state, done)
        if state.pending is not None and state.pending.key is None:
            decision.state = None
        return decision

    def pass_gate(self, gate: Gate, state: State, done: Done | None) -> Decision[RecoveryCodes]:
        """Activate what is pending, kill what it replaces and issue new codes, in one step."""
        pending = state.pending
        if pending is None or not _holds(self.handle, pending):
            return self.refuse(NoSetup())
        key = pending.key
        if key is None:
            return self._expired(state)
        if read_code(self.code.value, key.digits) is None:
            return self.refuse(MalformedCode(), EventKind.CODE_MALFORMED)
        step = key.totp().match(self.code.value, self.call.now, self.call.policy.window)
        if step is None:
            return self._wrong_code(state, pending)
        if done is None:
            return Decision(job=Job(make=self.make))
        device = Authenticator(key, confirmed_at=self.call.now, last_step=step, last_used_at=self.call.now)
        confirmed = self.event(EventKind.AUTHENTICATOR_CONFIRMED, replaced=state.authenticator is not None)
        return _issue(self, state.changed(authenticator=device), self.make, done, self.generation, (confirmed,))

    def _expired(self, state: State) -> Decision[RecoveryCodes]:
        refusal = self.refuse(SetupExpired(), EventKind.SETUP_EXPIRED)
        refusal.state = state
        return refusal

    def _wrong_code(self, state: State, pending: Pending) -> Decision[RecoveryCodes]:
        wrong_codes = pending.wrong_codes + 1
        events = [self.event(EventKind.SETUP_REJECTED, reason=InvalidCode.code, failures=wrong_codes)]
        left: Pending | None = pending.changed(wrong_codes=wrong_codes)
        if wrong_codes >= MOST_WRONG_CODES_IN_SETUP:
            left = None
            events.append(self.event(EventKind.SETUP_CANCELLED, reason="wrong_codes"))
        return Decision(error=InvalidCode(), state=state.changed(pending=left), events=tuple(events))


class CancelSetup(Operation[None]):
    """`cancel_setup`."""

    __slots__ = ()
    name = "cancel_setup"

    def pass_gate(self, gate: Gate, state: State, done: Done | None) -> Decision[None]:
        """Forget what is pending and touch nothing else."""
        if state.pending is None:
            return Decision()
        event = self.event(EventKind.SETUP_CANCELLED, reason="asked")
        return Decision(state=state.changed(pending=None), events=(event,))


class Verify(Operation[Verification]):
    """`verify`."""

    __slots__ = ("code", "token")
    name = "verify"

    def __init__(self, call: Call, code: Hidden[str], token: Hidden[str]) -> None:
        super().__init__(call)
        self.code, self.token = code, token

    def pass_gate(self, gate: Gate, state: State, done: Done | None) -> Decision[Verification]:
        """One read, one write, nothing slow."""
        judged = judge_totp(self, state, self.code)
        return _verified(self, judged, self.token) if isinstance(judged, Passed) else judged


class RedeemRecoveryCode(Operation[Verification]):
    """`redeem_recovery_code`."""

    __slots__ = ("code", "token")
    name = "redeem_recovery_code"

    def __init__(self, call: Call, code: Hidden[str], token: Hidden[str]) -> None:
        super().__init__(call)
        self.code, self.token = code, token

    def pass_gate(self, gate: Gate, state: State, done: Done | None) -> Decision[Verification]:
        """Counted, then hashed, then judged."""
        judged = judge_recovery_code(self, state, self.code, done=done)
        return _verified(self, judged, self.token) if isinstance(judged, Passed) else judged


class Guarded(Operation[T]):
    """An operation that a protected account allows only with a proof, spent in the same step."""

    __slots__ = ("make", "proof")

    def __init__(self, call: Call, proof: Proof, make: NewCodes | None = None) -> None:
        super().__init__(call)
        self.proof = proof
        self.make = make
        """Slow work that the proof leads to."""

    def pass_gate(self, gate: Gate, state: State, done: Done | None) -> Decision[T]:
        """Judge the proof where the table asks for one; then the effect."""
        if gate is Gate.FREE:
            return self.effect(Passed(state), done)
        judged = judge_proof(self, state, self.proof, self.make, done)
        return self.effect(judged, done) if isinstance(judged, Passed) else judged

    def effect(self, passed: Passed, done: Done | None) -> Decision[T]:
        """Decide what the proof allows."""
        raise NotImplementedError(self.name)  # every operation has its own


class ResetRecoveryCodes(Guarded[RecoveryCodes]):
    """`reset_recovery_codes`."""

    __slots__ = ("generation", "new")
    name = "reset_recovery_codes"

    def __init__(self, call: Call, proof: Proof, new: NewCodes, generation: str) -> None:
        super().__init__(call, proof, make=new)
        self.new, self.generation = new, generation

    def effect(self, passed: Passed, done: Done | None) -> Decision[RecoveryCodes]:
        """Replace the set."""
        return _issue(self, passed.state, self.new, done, self.generation, passed.events, passed.proof)


class ResetAuthenticator(Guarded[Setup]):
    """`reset_authenticator`."""

    __slots__ = ("generation", "new")
    name = "reset_authenticator"

    def __init__(self, call: Call, proof: Proof, new: NewSetup, generation: str) -> None:
        super().__init__(call, proof)
        self.new, self.generation = new, generation

    def pass_gate(self, gate: Gate, state: State, done: Done | None) -> Decision[Setup]:
        """Refuse what would lock the user out as soon as a tab is closed; the host may answer for it."""
        left = (state.recovery.remaining if state.recovery else 0) - isinstance(self.proof, ByRecoveryCode)
        if left < 1 and not isinstance(self.proof, Vouched):
            return self.refuse(RecoveryCodesExhausted())
        return super().pass_gate(gate, state, done)

    def effect(self, passed: Passed, done: Done | None) -> Decision[Setup]:
        """Kill the old device at once, keep the account protected, begin the new set-up."""
        pending = self.new.pending(self.call)
        state = passed.state.changed(generation=self.generation, authenticator=None, pending=pending, token=None)
        return Decision(
            value=self.new.shown(pending, self.new.key, self.new.handle, self.generation),
            state=state,
            events=(*passed.events, self.event(EventKind.AUTHENTICATOR_RESET, **passed.proof)),
        )


class Disable(Guarded[None]):
    """`disable`."""

    __slots__ = ("generation",)
    name = "disable"

    def __init__(self, call: Call, proof: Proof, generation: str) -> None:
        super().__init__(call, proof)
        self.generation = generation

    def effect(self, passed: Passed, done: Done | None) -> Decision[None]:
        """Erase everything but a new generation, so that no old session revives."""
        if not passed.state.protected:
            event = self.event(EventKind.SETUP_CANCELLED, reason="disabled")
            return Decision(state=passed.state.changed(pending=None), events=(event,))
        disabled = self.event(EventKind.DISABLED, **passed.proof)
        return Decision(state=State(generation=self.generation), events=(*passed.events, disabled))


class Forget(Guarded[None]):
    """`forget`."""

    __slots__ = ()
    name = "forget"

    def effect(self, passed: Passed, done: Done | None) -> Decision[None]:
        """Erase all; only the listener hears of it."""
        return Decision(erase=True, events=(*passed.events, self.event(EventKind.FORGOTTEN, **passed.proof)))


class Look(Operation[Status]):
    """`status`."""

    __slots__ = ()
    name = "status"

    def decide(self, state: State, done: Done | None) -> Decision[Status]:
        """Describe the state, whichever it is."""
        return Decision(describe(state.at(self.call.now), self.call.policy, self.call.now))


class Reseal(Operation[bool]):
    """`reseal`."""

    __slots__ = ()
    name = "reseal"

    def decide(self, state: State, done: Done | None) -> Decision[bool]:
        """Write the state as it is: what has expired stays, as if nobody had looked."""
        return Decision(value=True, state=state)


def _holds(handle: Hidden[str], pending: Pending) -> bool:
    return _is(pending.handle, handle)


def _is(kept: str, offered: Hidden[str]) -> bool:
    # How long a token is, is no secret; what is longer is not even copied.
    return len(kept) == len(offered.value) and same(kept.encode(), offered.value.encode("utf-8", "replace"))


def _verified(operation: Operation[Verification], passed: Passed, token: Hidden[str]) -> Decision[Verification]:
    call, state = operation.call, passed.state
    verification = Verification(
        method="recovery_code" if passed.step_offset is None else "totp",
        at=utc(call.now),
        recovery_codes_remaining=state.recovery.remaining if state.recovery else 0,
        step_offset=passed.step_offset,
        failed_before=passed.failed_before,
        _token=token,
        generation=state.generation or "",
    )
    return Decision(value=verification, state=state.changed(token=(token.value, call.now)), events=passed.events)


def _issue(
    operation: Operation[RecoveryCodes],
    state: State,
    make: NewCodes,
    done: Done | None,
    generation: str,
    events: tuple[Event, ...],
    proof: dict[str, Plain] | None = None,
) -> Decision[RecoveryCodes]:
    """Install a new set under a new generation, which ends every pending set-up and every earlier verification."""
    codes = make.written()
    held = RecoverySet(
        scheme=str(make.scheme),
        length=len(make.codes[0].value),
        slots=make.slots,
        hashes=done.hashes if done else "",
        issued_at=operation.call.now,
    )
    issued = operation.event(EventKind.RECOVERY_CODES_ISSUED, count=len(codes), **(proof or {}))
    return Decision(
        value=RecoveryCodes(_codes=Hidden(codes), generation=generation),
        state=state.changed(generation=generation, recovery=held, pending=None, token=None),
        events=(*events, issued),
    )


def describe(state: State, policy: Policy, now: int) -> Status:
    """Return where an account stands."""
    device, held, pending = state.authenticator, state.recovery, state.pending
    key = device and device.key
    live = pending is not None and pending.key is not None
    return Status(
        required=state.protected,
        state="none" if state.name == "pending" and not live else state.name,
        setup_expires_at=utc(pending.expires_at) if pending and live else None,
        confirmed_at=utc(device.confirmed_at) if device else None,
        last_used_at=utc(device.last_used_at) if device else None,
        recovery_codes_remaining=held.remaining if held else 0,
        recovery_codes_issued_at=utc(held.issued_at) if held else None,
        retry_at=_retry_at(device.failures if device else None, policy, now),
        recovery_retry_at=_retry_at(held.failures if held and held.remaining else None, policy, now),
        generation=state.generation,
        algorithm=key.algorithm if key else None,
        digits=key.digits if key else None,
        period=key.period if key else None,
    )


def _retry_at(failures: Failures | None, policy: Policy, now: int) -> datetime | None:
    until = failures.wait_until(policy.throttle, now) if failures else None
    return None if until is None else utc(until)
