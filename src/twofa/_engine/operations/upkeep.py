"""What changes nothing for the user: `status` and `reseal`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from twofa._engine.decision import Decision
from twofa._engine.operation import Operation
from twofa._time import utc
from twofa.results import Status

if TYPE_CHECKING:
    from datetime import datetime

    from twofa._engine.decision import Call
    from twofa._engine.hashing import Done
    from twofa._engine.settings import Settings
    from twofa._hidden import Hidden
    from twofa._record.state import Record, State
    from twofa._record.throttle import Failures


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class GetStatus(Operation[Status]):
    """`status`."""

    name: ClassVar[str] = "status"

    @classmethod
    def prepare(cls, settings: Settings, user_id: str, browser: Hidden[str] | None) -> GetStatus:
        """Check the arguments."""
        return cls(call=settings.call(cls.name, user_id, browser, None))

    def decide(self, record: Record, done: Done | None) -> Decision[Status]:
        """Describe the state, whichever it is."""
        return Decision(value=_describe(self.call, record.state.at(self.call.now)))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Reseal(Operation[bool]):
    """`reseal`."""

    name: ClassVar[str] = "reseal"

    @classmethod
    def prepare(cls, settings: Settings, user_id: str) -> Reseal:
        """Check the arguments."""
        return cls(call=settings.call(cls.name, user_id, None, None))

    def decide(self, record: Record, done: Done | None) -> Decision[bool]:
        """Write the record again, unless the primary key has sealed it already. What has expired goes with it."""
        if record.is_current:
            return Decision(value=False)
        return Decision(value=True, state=record.state.at(self.call.now))


def _describe(call: Call, state: State) -> Status:
    authenticator, held, pending = state.authenticator, state.recovery, state.pending
    totp = authenticator.totp if authenticator else None
    live = pending is not None and pending.totp is not None
    throttle, lane = call.policy.throttle, call.lane(state)
    remaining = held.usable(throttle) if held else 0
    recovery_wait = throttle.longest_recovery_wait if lane == "strangers" else throttle.longest_wait
    return Status(
        required=state.protected,
        state="none" if state.name == "pending" and not live else state.name,
        setup_expires_at=utc(pending.expires_at) if pending and live else None,
        confirmed_at=utc(authenticator.confirmed_at) if authenticator else None,
        last_used_at=utc(authenticator.last_used_at) if authenticator and authenticator.last_used_at else None,
        recovery_codes_remaining=remaining,
        recovery_codes_issued_at=utc(held.issued_at) if held else None,
        recovery_codes_acknowledged=held is None or held.acknowledged,
        retry_at=_retry_at(call, state, authenticator.failures if authenticator else None, throttle.longest_wait),
        recovery_retry_at=_retry_at(call, state, held.failures if held and remaining else None, recovery_wait),
        failures=sum(part.failures.within(call.now) for part in (authenticator, held) if part),
        generation=state.generation,
        algorithm=totp.algorithm if totp else None,
        digits=totp.digits if totp else None,
        period=totp.period if totp else None,
        short_secret=totp is not None and totp.is_short,
    )


def _retry_at(call: Call, state: State, failures: Failures | None, longest_wait: int) -> datetime | None:
    if failures is None:
        return None
    throttle = call.policy.throttle
    until = failures.under(throttle).wait_until(call.lane(state), throttle, call.now, longest_wait)
    return None if until is None else utc(until)
