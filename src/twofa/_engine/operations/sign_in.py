"""The second step of a login: `verify`, `redeem_recovery_code`, `authenticate`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from twofa import _entropy
from twofa._engine import arguments
from twofa._engine.decision import Decision, Passed
from twofa._engine.judging import judge_recovery_code, judge_totp
from twofa._engine.operation import Operation
from twofa._hidden import Hidden
from twofa._record.recovery import is_longer_than_any_totp_code
from twofa._record.state import FreshVerification
from twofa._time import utc
from twofa.otp import read_code
from twofa.results import Verification

if TYPE_CHECKING:
    from twofa._engine.hashing import Done
    from twofa._engine.settings import Settings
    from twofa._record.state import State


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SignIn(Operation[Verification]):
    """What the three have in common: a code, and a token for the verification that it may lead to."""

    code: Hidden[str]
    token: Hidden[str]

    @classmethod
    def prepare(
        cls, settings: Settings, user_id: str, code: Hidden[str | None], browser: Hidden[str] | None, source: str | None
    ) -> Self:
        """Check the arguments and draw the token."""
        call = settings.call(cls.name, user_id, browser, source)
        return cls(call=call, code=arguments.checked_code(code), token=Hidden(_entropy.random_token()))

    def effect(self, passed: Passed, done: Done) -> Decision[Verification]:
        """Grant, and remember the verification, so that it can serve as a proof."""
        state = passed.state
        verification = Verification(
            user_id=self.call.user_id,
            method="recovery_code" if passed.step_offset is None else "totp",
            at=utc(self.call.now),
            recovery_codes_remaining=state.recovery.usable(self.call.policy.throttle) if state.recovery else 0,
            step_offset=passed.step_offset,
            failed_before=passed.failed_before,
            _token=self.token,
            generation=state.generation or "",
        )
        fresh = FreshVerification(token=self.token.value, at=self.call.now)
        return Decision(value=verification, state=replace(state, verification=fresh), events=passed.events)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Verify(SignIn):
    """`verify`: one read, one write, nothing slow."""

    name: ClassVar[str] = "verify"

    def judge_code(self, state: State, done: Done | None) -> Passed | Decision[Verification]:
        """Judge a TOTP code."""
        return judge_totp(self.call, state, self.code)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RedeemRecoveryCode(SignIn):
    """`redeem_recovery_code`: counted, then hashed, then judged."""

    name: ClassVar[str] = "redeem_recovery_code"

    def judge_code(self, state: State, done: Done | None) -> Passed | Decision[Verification]:
        """Judge a recovery code."""
        return judge_recovery_code(self.call, state, self.code, done=done)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Authenticate(SignIn):
    """`authenticate`: whichever of the two it is."""

    name: ClassVar[str] = "authenticate"

    def judge_code(self, state: State, done: Done | None) -> Passed | Decision[Verification]:
        """Tell the kinds apart by their length: a recovery code is always longer, unless it was imported."""
        if is_longer_than_any_totp_code(self.code) or self._is_imported(state):
            return judge_recovery_code(self.call, state, self.code, done=done)
        return judge_totp(self.call, state, self.code)

    def _is_imported(self, state: State) -> bool:
        """Whether a short code can only be a recovery code of another library: it is none that the app would show."""
        if state.recovery is None or state.recovery.reading == "own":
            return False
        return state.authenticator is None or read_code(self.code.value, state.authenticator.totp.digits) is None
