"""What a migration script asks with `--verify`: is this user here what the other library says? Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from twofa._engine.decision import Decision
from twofa._engine.hashing import Check, Job
from twofa._engine.judging import read_typed_code, rows_to_compare
from twofa._engine.operation import Operation
from twofa._hidden import Hidden, same
from twofa._record.recovery import Scheme, hash_at
from twofa._record.state import EnrolledTOTP
from twofa.otp import LenientTOTP

if TYPE_CHECKING:
    from twofa._engine.hashing import Done
    from twofa._engine.settings import Settings
    from twofa._record.state import Record, RecoverySet
    from twofa.otp import Algorithm


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CompareAuthenticator(Operation[str]):
    """No method of `TwoFactor`: it would tell whoever calls it whether a guess is right."""

    name: ClassVar[str] = "compare_authenticator"

    totp: EnrolledTOTP
    recovery_codes: Sequence[Hidden[str]]

    @classmethod
    def prepare(
        cls,
        settings: Settings,
        user_id: str,
        secret: Hidden[bytes | str],
        recovery_codes: Sequence[Hidden[str]],
        *,
        algorithm: Algorithm,
        digits: int,
        period: int,
    ) -> CompareAuthenticator:
        """Check the arguments."""
        call = settings.call(cls.name, user_id, None, None)
        totp = LenientTOTP(secret.value, algorithm=algorithm, digits=digits, period=period)
        return cls(call=call, totp=EnrolledTOTP.of(totp), recovery_codes=recovery_codes)

    def decide(self, record: Record, done: Done | None) -> Decision[str]:
        """Return what differs, or nothing. Of the recovery codes one is compared by its hash, the others by number."""
        state = record.state.at(self.call.now)
        held = state.recovery
        if held is None:
            return Decision(value="is not enrolled here")
        if state.authenticator is None:
            return Decision(value="has no authenticator here: it was reset or blocked")
        if state.authenticator.totp != self.totp:
            return Decision(value="has another secret or other parameters here")
        if held.reading == "own":
            return Decision(value="has made new recovery codes here")
        if held.remaining != len(self.recovery_codes):
            return Decision(value=f"has {held.remaining} recovery codes here and {len(self.recovery_codes)} there")
        return self._compare_a_code(held, done) if held.remaining else Decision(value="")

    def _compare_a_code(self, held: RecoverySet, done: Done | None) -> Decision[str]:
        if done is None:
            read = read_typed_code(held, self.recovery_codes[0])
            if read is not None:
                check = Check(scheme=Scheme.read(held.scheme), code=read, rows=rows_to_compare(held, read))
                return Decision(job=Job(work=check, threads=self.call.threads))
        elif same(hash_at(held.hashes, done.index), done.digest):
            return Decision(value="")
        return Decision(value="has other recovery codes here")
