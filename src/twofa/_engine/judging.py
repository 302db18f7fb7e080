"""Is this code, is this proof, right? Pure functions; the operations decide what follows from the answer.

A wrong code is a decision too: it is counted in a write, and the error is raised after it.

Slow work is counted first. An operation that hashes only after a right code would tell by its time what its answer
hides. So an attempt that needs slow work is written as a failure, with its event, before the work begins. Whoever goes
away during the hash has made one wrong attempt. If the code proves right, the last write takes the count back. The
attempt is judged only against the secret or set that it was counted against.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twofa._engine.decision import Decision, Passed
from twofa._engine.hashing import Check, Counted, Job
from twofa._hidden import Hidden, same
from twofa._record.imported_codes import read_imported_code
from twofa._record.recovery import Row, Scheme, hash_at, read_recovery_code, salt_at
from twofa._time import utc
from twofa.errors import (
    CodeReused,
    InvalidCode,
    MalformedCode,
    ProofRequired,
    RecoveryCodesExhausted,
    ReenrolmentRequired,
)
from twofa.events import Event, EventKind
from twofa.otp import read_code
from twofa.proofs import ByCode, ByRecoveryCode, ByVerification, Vouched

if TYPE_CHECKING:
    from twofa._engine.decision import Call
    from twofa._engine.hashing import Done
    from twofa._record.recovery import NewCodes
    from twofa._record.state import Authenticator, RecoverySet, State
    from twofa._record.throttle import Failures, LaneName
    from twofa.events import Plain
    from twofa.policy import Throttle
    from twofa.proofs import Proof

FEW_RECOVERY_CODES = 3
"""From this many on the owner is told that the codes run out."""

# --- a TOTP code ---------------------------------------------------------------------------------------------------


def judge_totp(
    call: Call, state: State, code: Hidden[str], *, new_codes: NewCodes | None = None, done: Done | None = None
) -> Passed | Decision[Any]:
    """Judge a TOTP code; a right one leads to `new_codes`, where there are any, and `done` says what came of them.

    Only a step later than the last accepted one counts (RFC 6238 §5.2). The last accepted one, still in the window,
    reads as reused and is not counted: a double click is not a guess.
    """
    authenticator = state.authenticator
    if authenticator is None:
        return call.refuse(ReenrolmentRequired())
    if read_code(code.value, authenticator.totp.digits) is None:
        return call.refuse(MalformedCode(), EventKind.CODE_MALFORMED)
    throttle = call.policy.throttle
    failures = authenticator.failures.under(throttle)
    counted = done.counted if done else None
    if counted is None:
        lane = call.lane(state)
        until = failures.wait_until(lane, throttle, call.now, throttle.longest_wait)
        if until is not None:
            return call.wait(_with_totp(state, authenticator, failures.anchored(lane, call.now)), until)
    elif counted.against != authenticator.totp:
        return _rejected_elsewhere(call, state, "totp")
    else:
        lane = counted.lane
    calculator = authenticator.totp.calculator()
    step = calculator.match(code.value, call.now, call.policy.window, after=authenticator.last_step - 1)
    if step == authenticator.last_step:
        return _reused_step(call, state, authenticator, counted)
    if step is None:
        return _wrong_totp(call, state, authenticator, failures, lane, counted)
    if new_codes is not None and done is None:
        return _count_before_hashing(call, state, authenticator, failures, lane, new_codes)
    accepted = replace(
        authenticator,
        last_step=step,
        last_used_at=call.now,
        failures=failures.succeeded(lane, counted.at if counted else None),
    )
    offset = step - calculator.step(call.now)
    return Passed(
        state=replace(state, authenticator=accepted),
        events=(call.event(EventKind.CODE_ACCEPTED, operation=call.operation, step_offset=offset),),
        proof={"proof": "totp"},
        failed_before=_failed_before(failures, counted),
        step_offset=offset,
    )


def _reused_step(call: Call, state: State, authenticator: Authenticator, counted: Counted | None) -> Decision[Any]:
    refusal: Decision[Any] = call.refuse(CodeReused(), EventKind.CODE_REUSED)
    if counted is None:
        return refusal
    # Another call spent the same code while this one hashed: a double click, so the count is taken back.
    taken_back = authenticator.failures.taken_back(counted.lane, counted.at)
    return replace(refusal, state=_with_totp(state, authenticator, taken_back))


def _wrong_totp(
    call: Call,
    state: State,
    authenticator: Authenticator,
    failures: Failures,
    lane: LaneName,
    counted: Counted | None,
) -> Decision[Any]:
    warnings: tuple[Event, ...] = ()
    if counted is None:
        failures, warnings = _count(call, failures, lane, "totp")
    rejected: Decision[Any] = _rejection(call, "totp", failures, lane, call.policy.throttle.longest_wait)
    if not failures.blocked(call.policy.throttle):
        state = _with_totp(state, authenticator, failures)
        return replace(rejected, state=state, events=(*rejected.events, *warnings))
    # NIST SP 800-63B-4 §3.2.2: blocked for good, and usable again only by binding a new one.
    blocked = call.event(EventKind.AUTHENTICATOR_BLOCKED)
    return replace(rejected, state=replace(state, authenticator=None), events=(*rejected.events, *warnings, blocked))


def _count_before_hashing(
    call: Call,
    state: State,
    authenticator: Authenticator,
    failures: Failures,
    lane: LaneName,
    new_codes: NewCodes,
) -> Decision[Any]:
    failures, warnings = _count(call, failures, lane, "totp")
    counted = Counted(against=authenticator.totp, lane=lane, at=failures.lane(lane).recent[-1])
    return Decision(
        state=_with_totp(state, authenticator, failures),
        events=(_counted_event(call, "totp", failures), *warnings),
        job=Job(work=new_codes, counted=counted, threads=call.threads),
    )


def _with_totp(state: State, authenticator: Authenticator, failures: Failures) -> State:
    return replace(state, authenticator=replace(authenticator, failures=failures))


# --- a recovery code: first counted, then judged --------------------------------------------------------------------


def judge_recovery_code(
    call: Call, state: State, code: Hidden[str], *, new_codes: NewCodes | None = None, done: Done | None = None
) -> Passed | Decision[Any]:
    """Judge a recovery code: one slow hash, hit or miss. A right one leads to `new_codes`, where there are any."""
    held = state.recovery
    if done is None:
        return _count_recovery_code(call, state, held, code)
    if held is None or done.counted is None or done.counted.against != held.hashes:
        return _rejected_elsewhere(call, state, "recovery_code")
    return _judge_hash(call, state, held, done, done.counted, new_codes)


def _count_recovery_code(call: Call, state: State, held: RecoverySet | None, code: Hidden[str]) -> Decision[Any]:
    throttle = call.policy.throttle
    if held is None or not held.usable(throttle):
        return call.refuse(RecoveryCodesExhausted())
    failures = held.failures.under(throttle)
    read = read_typed_code(held, code)
    if read is None:
        return call.refuse(MalformedCode(), EventKind.CODE_MALFORMED)
    lane = call.lane(state)
    longest_wait = _longest_recovery_wait(throttle, lane)
    until = failures.wait_until(lane, throttle, call.now, longest_wait)
    if until is not None:
        return call.wait(_with_recovery(state, held, failures.anchored(lane, call.now)), until)
    failures, warnings = _count(call, failures, lane, "recovery_code")
    if failures.blocked(throttle):
        warnings = (*warnings, call.event(EventKind.RECOVERY_CODES_BLOCKED))
    rows = rows_to_compare(held, read)
    if not rows:
        # A slot that the set does not have: wrong without any hash.
        rejected: Decision[Any] = _rejection(call, "recovery_code", failures, lane, longest_wait)
        return replace(
            rejected,
            state=_after_failure(call, state, held, failures),
            events=(*rejected.events, *warnings),
        )
    check = Check(scheme=Scheme.read(held.scheme), code=read, rows=rows)
    counted = Counted(against=held.hashes, lane=lane, at=failures.lane(lane).recent[-1])
    return Decision(
        state=_with_recovery(state, held, failures),
        events=(_counted_event(call, "recovery_code", failures), *warnings),
        job=Job(work=check, counted=counted, threads=call.threads),
    )


def read_typed_code(held: RecoverySet, code: Hidden[str]) -> Hidden[str] | None:
    """Return what was typed as a code of this set, or `None` if it cannot be one."""
    if held.reading == "own":
        return read_recovery_code(code, held.length)
    return read_imported_code(code, held.length, any_case=held.reading == "any case")


def rows_to_compare(held: RecoverySet, read: Hidden[str]) -> tuple[Row, ...]:
    """Return the row that the code's slot names, none for a slot that the set does not have.

    Imported codes have no slots: each that is left has to be compared.
    """
    if held.reading == "own":
        index = held.slots.find(read.value[0])
        return (_row(held, index),) if index >= 0 else ()
    spent = {index for index, _ in held.spent}
    return tuple([_row(held, index) for index in range(len(held.slots)) if index not in spent])


def _row(held: RecoverySet, index: int) -> Row:
    return Row(index, salt_at(held.hashes, index), hash_at(held.hashes, index))


def _judge_hash(
    call: Call, state: State, held: RecoverySet, done: Done, counted: Counted, new_codes: NewCodes | None
) -> Passed | Decision[Any]:
    failures = held.failures.under(call.policy.throttle)
    if not same(hash_at(held.hashes, done.index), done.digest):
        return _wrong_recovery_code(call, state, held, failures, counted)
    if any(index == done.index for index, _ in held.spent):
        return _wrong_recovery_code(call, state, held, failures, counted, CodeReused, EventKind.CODE_REUSED)
    if new_codes is not None and not done.hashes:
        # Only now: a code that is known to be wrong or spent costs one hash, not eleven.
        return Decision(job=Job(work=new_codes, counted=counted, before=done, threads=call.threads))
    spent = replace(
        held,
        spent=(*held.spent, (done.index, call.now)),
        failures=failures.succeeded(counted.lane, counted.at),
        acknowledged=True,
    )
    events = [call.event(EventKind.RECOVERY_CODE_USED, operation=call.operation, remaining=spent.remaining)]
    if spent.remaining <= FEW_RECOVERY_CODES:
        events.append(call.event(EventKind.RECOVERY_CODES_LOW, remaining=spent.remaining))
    return Passed(
        state=replace(state, recovery=spent),
        events=tuple(events),
        proof={"proof": "recovery_code"},
        failed_before=_failed_before(failures, counted),
    )


def _wrong_recovery_code(
    call: Call,
    state: State,
    held: RecoverySet,
    failures: Failures,
    counted: Counted,
    error: type[InvalidCode] = InvalidCode,
    kind: EventKind = EventKind.CODE_REJECTED,
) -> Decision[Any]:
    longest_wait = _longest_recovery_wait(call.policy.throttle, counted.lane)
    rejected: Decision[Any] = _rejection(call, "recovery_code", failures, counted.lane, longest_wait, error, kind)
    return replace(rejected, state=_after_failure(call, state, held, failures))


def _after_failure(call: Call, state: State, held: RecoverySet, failures: Failures) -> State:
    if failures.blocked(call.policy.throttle):
        # NIST SP 800-63B-4 §3.2.2. The event of it was written when the attempt was counted.
        return replace(state, recovery=replace(held.blocked(), failures=failures))
    return _with_recovery(state, held, failures)


def _with_recovery(state: State, held: RecoverySet, failures: Failures) -> State:
    return replace(state, recovery=replace(held, failures=failures))


def _longest_recovery_wait(throttle: Throttle, lane: LaneName) -> int:
    # 75 random bits need no waits; NIST SP 800-63B-4 §4.2.1.1 asks for them. Long ones make blocking take months.
    return throttle.longest_recovery_wait if lane == "strangers" else throttle.longest_wait


# --- what both have in common --------------------------------------------------------------------------------------


def _count(call: Call, failures: Failures, lane: LaneName, method: str) -> tuple[Failures, tuple[Event, ...]]:
    """Count a failure; return the counts and, if strangers have failed often by now, the warning to the owner."""
    counted = failures.counted(lane, call.policy.throttle, call.now)
    if not counted.is_suspicious(call.policy.throttle, call.now):
        return counted, ()
    warning = call.event(EventKind.ATTACK_SUSPECTED, method=method, failures=len(counted.strangers.within(call.now)))
    return counted.suspected(call.now), (warning,)


def _counted_event(call: Call, method: str, failures: Failures) -> Event:
    return call.event(EventKind.ATTEMPT_COUNTED, operation=call.operation, method=method, failures=failures.consecutive)


def _rejection(
    call: Call,
    method: str,
    failures: Failures,
    lane: LaneName,
    longest_wait: int,
    error: type[InvalidCode] = InvalidCode,
    kind: EventKind = EventKind.CODE_REJECTED,
) -> Decision[Any]:
    """Return the refusal of a code that was counted; the caller adds the state."""
    throttle = call.policy.throttle
    until = None if failures.blocked(throttle) else failures.wait_until(lane, throttle, call.now, longest_wait)
    detail: dict[str, Plain] = {
        "operation": call.operation,
        "method": method,
        "reason": error.code,
        "failures": failures.consecutive,
        "retry_at": until,
    }
    retry_at = None if until is None else utc(until)
    return Decision(error=error(retry_at), events=(call.event(kind, **detail),))


def _rejected_elsewhere(call: Call, state: State, method: str) -> Decision[Any]:
    """Refuse a code whose secret or set was replaced during the slow work: there is nothing left to judge it against.

    Written, so that the audit trail has the outcome of the attempt that was counted.
    """
    event = call.event(EventKind.CODE_REJECTED, operation=call.operation, method=method, reason=InvalidCode.code)
    return Decision(error=InvalidCode(), state=state, events=(event,))


def _failed_before(failures: Failures, counted: Counted | None) -> int:
    return max(0, failures.consecutive - (1 if counted else 0))


# --- a proof -------------------------------------------------------------------------------------------------------


def judge_proof(
    call: Call, state: State, proof: Proof | None, *, new_codes: NewCodes | None = None, done: Done | None = None
) -> Passed | Decision[Any]:
    """Judge what shows that the owner is asking; it is spent in the state that comes back."""
    if isinstance(proof, ByCode):
        return judge_totp(call, state, Hidden(proof.code), new_codes=new_codes, done=done)
    if isinstance(proof, ByRecoveryCode):
        return judge_recovery_code(call, state, Hidden(proof.code), new_codes=new_codes, done=done)
    if isinstance(proof, ByVerification) and _is_fresh(state, proof):
        passed = Passed(state=replace(state, verification=None), proof={"proof": "verification"})
    elif isinstance(proof, Vouched):
        passed = Passed(state=state, proof={"proof": "vouched", "by": proof.by, "reason": proof.reason})
    else:
        return call.refuse(ProofRequired())
    if new_codes is not None and done is None:
        # Neither is a guess (128 random bits; the host's own word), so nothing is counted before the slow work.
        return Decision(job=Job(work=new_codes, threads=call.threads))
    return passed


def _is_fresh(state: State, proof: ByVerification) -> bool:
    return state.verification is not None and is_token(state.verification.token, Hidden(proof.token))


def is_token(kept: str, offered: Hidden[str]) -> bool:
    """Compare a bearer token, in a time that does not depend on where it differs."""
    # How long a token is, is no secret; what is longer is not even copied.
    return len(kept) == len(offered.value) and same(kept.encode(), offered.value.encode("utf-8", "replace"))
