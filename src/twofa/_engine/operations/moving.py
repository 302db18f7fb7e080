"""Moving in from another library, and out: `import_authenticator`, `export_authenticator`.

Both under the host's recorded word: no code shows that the owner is asking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from twofa import _entropy
from twofa._engine import arguments
from twofa._engine.decision import Decision, Passed
from twofa._engine.hashing import Job
from twofa._engine.operation import Operation
from twofa._engine.operations.setup import Label
from twofa._hidden import Hidden
from twofa._record.imported_codes import ImportedCodes
from twofa._record.state import Authenticator, EnrolledTOTP, RecoverySet, State
from twofa._record.throttle import CLOCK_SKEW
from twofa.events import EventKind
from twofa.otp import LenientTOTP
from twofa.proofs import Vouched
from twofa.results import ExportedAuthenticator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from twofa._engine.decision import Call
    from twofa._engine.hashing import Done
    from twofa._engine.settings import Settings
    from twofa._hidden import Unexpected
    from twofa.events import Plain
    from twofa.otp import Algorithm

_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ImportAuthenticator(Operation[str]):
    """`import_authenticator`."""

    name: ClassVar[str] = "import_authenticator"

    authenticator: Authenticator
    codes: ImportedCodes
    word: Vouched
    generation: str

    @classmethod
    def prepare(
        cls,
        settings: Settings,
        user_id: str,
        secret: Hidden[bytes | str],
        recovery_codes: Sequence[Hidden[str]] | Unexpected,
        *,
        algorithm: Algorithm,
        digits: int,
        period: int,
        confirmed_at: datetime | None,
        last_step: int | None,
        by: str,
        reason: str,
        source: str | None,
    ) -> ImportAuthenticator:
        """Check the arguments; draw the generation and the salts of the codes."""
        call = settings.call(cls.name, user_id, None, source)
        word = Vouched(by=by, reason=reason)
        totp = LenientTOTP(secret.value, algorithm=algorithm, digits=digits, period=period)
        return cls(
            call=call,
            authenticator=Authenticator(
                totp=EnrolledTOTP.of(totp),
                confirmed_at=_checked_date(confirmed_at, call),
                last_step=_checked_step(last_step, totp.step(call.now + _DAY)),
                last_used_at=None,
            ),
            codes=ImportedCodes.checked(arguments.checked_codes(recovery_codes), call.policy),
            word=word,
            generation=_entropy.random_token(),
        )

    def effect(self, passed: Passed, done: Done) -> Decision[str]:
        """Activate it at once. Any set-up that waits dies."""
        codes = self.codes.codes
        if codes.codes and not done.hashes:
            # The host's word is no guess, so nothing is counted before the slow work.
            return Decision(job=Job(work=codes, threads=self.call.threads))
        held = RecoverySet(
            scheme=str(codes.scheme),
            length=self.codes.length,
            slots="*" * len(codes.codes),
            hashes=done.hashes,
            issued_at=self.call.now,
            acknowledged=True,
            reading=self.codes.reading,
        )
        state = State(generation=self.generation, authenticator=self.authenticator, recovery=held)
        event = self.call.event(
            EventKind.AUTHENTICATOR_IMPORTED,
            recovery_codes=len(codes.codes),
            short_secret=self.authenticator.totp.is_short,
            **_recorded(self.word),
        )
        return Decision(value=self.generation, state=state, events=(event,))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ExportAuthenticator(Operation[ExportedAuthenticator]):
    """`export_authenticator`."""

    name: ClassVar[str] = "export_authenticator"

    label: Label
    word: Vouched

    @classmethod
    def prepare(
        cls,
        settings: Settings,
        user_id: str,
        account_name: str,
        issuer: str | None,
        by: str,
        reason: str,
        source: str | None,
    ) -> ExportAuthenticator:
        """Check the arguments."""
        call = settings.call(cls.name, user_id, None, source)
        word = Vouched(by=by, reason=reason)
        return cls(call=call, label=Label.checked(settings, account_name, issuer), word=word)

    def effect(self, passed: Passed, done: Done) -> Decision[ExportedAuthenticator]:
        """Show the secret once the trail says so. The account stays as it is."""
        state = passed.state
        authenticator = cast("Authenticator", state.authenticator)  # the table lets only an active account through
        totp = authenticator.totp.calculator()
        exported = ExportedAuthenticator(
            _secret=Hidden(totp.secret),
            _uri=Hidden(totp.uri(account_name=self.label.account_name, issuer=self.label.issuer)),
            algorithm=totp.algorithm,
            digits=totp.digits,
            period=totp.period,
            last_step=authenticator.last_step,
        )
        event = self.call.event(EventKind.AUTHENTICATOR_EXPORTED, **_recorded(self.word))
        return Decision(value=exported, state=state, events=(event,))


def _recorded(word: Vouched) -> dict[str, Plain]:
    return {"proof": "vouched", "by": word.by, "reason": word.reason}


def _checked_date(confirmed_at: datetime | None, call: Call) -> int:
    """Return when the authenticator was confirmed, in Unix seconds; now, if nobody knows."""
    if confirmed_at is None:
        return call.now
    if confirmed_at.utcoffset() is None:
        raise ValueError("confirmed_at must say its time zone: confirmed_at.replace(tzinfo=UTC), for instance")
    seconds = int(confirmed_at.timestamp())
    if not 0 <= seconds <= call.now + CLOCK_SKEW:
        raise ValueError(f"confirmed_at must lie between 1970 and now, not at {confirmed_at.isoformat()}")
    return min(seconds, call.now)


def _checked_step(last_step: int | None, latest: int) -> int:
    """Return the last accepted time step, or one before all others if nobody knows it."""
    if last_step is None:
        return -1
    if type(last_step) is not int:
        raise TypeError(f"last_step is a whole number of periods since 1970 or None, not {type(last_step).__name__}")
    if not -1 <= last_step <= latest:
        raise ValueError("last_step must be a number of periods since 1970, at most a day in the future")
    return last_step
