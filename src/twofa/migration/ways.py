"""What a migration script does with each user: move, rehearse (`--dry-run`), or compare (`--verify`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from twofa._engine import arguments
from twofa._engine.operations.comparing import CompareAuthenticator
from twofa._engine.operations.moving import ImportAuthenticator
from twofa._hidden import Hidden
from twofa.cli.application import Application
from twofa.errors import AlreadyEnrolled, RecordError

if TYPE_CHECKING:
    from twofa.migration.enrolment import Enrolment
    from twofa.results import Status

SOURCE = "twofa.migration"
"""What the audit trail says of where an import came from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one user."""

    kind: str
    """What the sum counts the user as."""
    message: str = ""
    """What the report says of the user; nothing for those with whom all is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Starts a call for a user, and reads what came of it."""

    doing: ClassVar[str]
    """For the progress display."""
    kinds: ClassVar[tuple[str, ...]]
    """What the sum counts, in the order in which it says so. The last two are not done."""

    application: Application
    by: str
    reason: str

    def start(self, enrolment: Enrolment) -> Any:
        """Return the call's result, or on the asynchronous face what is to be awaited for it."""
        raise NotImplementedError

    def outcome(self, enrolment: Enrolment, result: Any) -> Outcome:
        """Read a result, or an exception in its place. Raises the exception, if it is not about this user alone."""
        if isinstance(result, AlreadyEnrolled):
            return Outcome(kind="enrolled already")
        if isinstance(result, RecordError | TypeError | ValueError):
            return Outcome(kind="not moved", message=str(result))
        if isinstance(result, Exception):
            raise result
        return self.read(enrolment, result)

    def read(self, enrolment: Enrolment, result: Any) -> Outcome:
        """Read a result that is no exception."""
        raise NotImplementedError

    def remark(self, enrolment: Enrolment) -> str:
        """Return what the operator should know of a user who comes along."""
        window = self.application.settings.policy.window
        if abs(enrolment.drift) <= window:
            return enrolment.remark
        off = f"{abs(enrolment.drift) * enrolment.period} seconds {'ahead' if enrolment.drift > 0 else 'behind'}"
        drift = f"the phone's clock is {off}: its codes are refused until it is set automatically"
        return f"{enrolment.remark}; {drift}" if enrolment.remark else drift


class Move(Way):
    """Enrol the user."""

    doing, kinds = "moving", ("moved", "enrolled already", "not moved")

    def start(self, enrolment: Enrolment) -> Any:
        """Import the authenticator."""
        return self.application.face.import_authenticator(
            enrolment.user_id,
            enrolment.secret,
            by=self.by,
            reason=self.reason,
            algorithm=enrolment.algorithm,
            digits=enrolment.digits,
            period=enrolment.period,
            confirmed_at=enrolment.confirmed_at,
            last_step=enrolment.last_step,
            recovery_codes=enrolment.recovery_codes,
            source=SOURCE,
        )

    def read(self, enrolment: Enrolment, result: Any) -> Outcome:  # noqa: ARG002  # the new generation
        """It is done."""
        return Outcome(kind="moved", message=self.remark(enrolment))


class Rehearse(Way):
    """Say what would happen."""

    doing, kinds = "rehearsing", ("would be moved", "enrolled already", "not moved")

    def start(self, enrolment: Enrolment) -> Any:
        """Check everything that an import checks, and look whether the user is enrolled."""
        ImportAuthenticator.prepare(
            self.application.settings,
            enrolment.user_id,
            Hidden(enrolment.secret),
            arguments.hidden_codes(enrolment.recovery_codes),
            by=self.by,
            reason=self.reason,
            algorithm=enrolment.algorithm,
            digits=enrolment.digits,
            period=enrolment.period,
            confirmed_at=enrolment.confirmed_at,
            last_step=enrolment.last_step,
            source=SOURCE,
        )
        return self.application.face.status(enrolment.user_id)

    def read(self, enrolment: Enrolment, result: Status) -> Outcome:
        """An import never replaces what is there."""
        if result.required:
            return Outcome(kind="enrolled already")
        return Outcome(kind="would be moved", message=self.remark(enrolment))


class Verify(Way):
    """Say whether the user is here as the other library has them."""

    doing, kinds = "comparing", ("the same", "different", "not moved")

    def start(self, enrolment: Enrolment) -> Any:
        """Compare secret, parameters and recovery codes."""
        operation = CompareAuthenticator.prepare(
            self.application.settings,
            enrolment.user_id,
            Hidden(enrolment.secret),
            tuple(map(Hidden, enrolment.recovery_codes)),
            algorithm=enrolment.algorithm,
            digits=enrolment.digits,
            period=enrolment.period,
        )
        return self.application.carry_out(operation)

    def read(self, enrolment: Enrolment, result: str) -> Outcome:  # noqa: ARG002
        """What differs is said in words."""
        return Outcome(kind="different", message=result) if result else Outcome(kind="the same")
