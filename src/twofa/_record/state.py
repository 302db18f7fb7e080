"""What is remembered of a user, as values. All times are whole Unix seconds.

Each class here carries a secret or contains one that does, so all of them hide their content in `repr`.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from twofa._parameters import SHORTEST_SECRET
from twofa._record.throttle import CLOCK_SKEW, NO_FAILURES, Failures
from twofa.otp import TOTP, Algorithm, LenientTOTP

if TYPE_CHECKING:
    from twofa.policy import Throttle

LONGEST_SETUP = 600
"""Seconds that a set-up waits at most: no policy allows more."""

VERIFICATION_LIFETIME = 600
"""Seconds that a verification serves as a proof."""

Reading: TypeAlias = Literal["own", "any case", "exact case"]
"""How recovery codes are read: as our own, or as codes of another library with or without regard to case."""

StateName: TypeAlias = Literal["none", "pending", "active", "reenrol"]


class Remembered:
    """Part of what is remembered. Shows nothing of itself in a log or a traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<hidden>)"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EnrolledTOTP(Remembered):
    """An authenticator's secret, with the parameters that it was made with. A later policy does not change them."""

    secret: str
    """In base64, as it is written down."""
    algorithm: Algorithm
    digits: int
    period: int
    """Seconds of a time step."""

    def calculator(self) -> LenientTOTP:
        """Return what computes this authenticator's codes."""
        return LenientTOTP(
            binascii.a2b_base64(self.secret), algorithm=self.algorithm, digits=self.digits, period=self.period
        )

    @property
    def is_short(self) -> bool:
        """Whether the secret has less than the 128 bits that RFC 4226 §4 R6 asks for: another library made it."""
        return len(binascii.a2b_base64(self.secret)) < SHORTEST_SECRET

    @classmethod
    def of(cls, totp: TOTP) -> EnrolledTOTP:
        """Return what to remember of a calculator."""
        secret = binascii.b2a_base64(totp.secret, newline=False).decode()
        return cls(secret=secret, algorithm=totp.algorithm, digits=totp.digits, period=totp.period)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Pending(Remembered):
    """A set-up that waits to be confirmed."""

    totp: EnrolledTOTP | None
    """`None` once the set-up has expired: the secret is erased, but its holder still learns why."""
    handle: str
    expires_at: int
    wrong_codes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Authenticator(Remembered):
    """A confirmed authenticator app."""

    totp: EnrolledTOTP
    confirmed_at: int
    last_step: int
    """The last time step that was accepted; only later ones are."""
    last_used_at: int | None
    """`None` until it was used here, for one that was imported."""
    failures: Failures = NO_FAILURES


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RecoverySet(Remembered):
    """A set of recovery codes."""

    scheme: str
    """How the codes are hashed, as `str(Scheme)` writes it; read only when a code is hashed."""
    length: int
    """Symbols of a code; 0 where imported ones differ in length."""
    slots: str
    """The codes' public first symbols, or a star for each imported code; empty once the set is blocked."""
    hashes: str
    """Each code's salt and hash, packed."""
    issued_at: int
    spent: tuple[tuple[int, int], ...] = ()
    """Index in the set and time of use of each spent code. Its hash stays, so that a second try is recognised."""
    failures: Failures = NO_FAILURES
    acknowledged: bool = False
    """Whether the owner is known to have the codes: they said so, or have used one."""
    reading: Reading = "own"

    @property
    def remaining(self) -> int:
        """Codes that can still be used."""
        return len(self.slots) - len(self.spent)

    def usable(self, throttle: Throttle) -> int:
        """Return how many codes still work: none once the set is blocked, even if nothing has erased it yet."""
        return 0 if self.failures.under(throttle).blocked(throttle) else self.remaining

    def blocked(self) -> RecoverySet:
        """Return the set with nothing left to guess."""
        return replace(self, slots="", hashes="", spent=())


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FreshVerification(Remembered):
    """The last verification, until it has served as a proof or is too old to."""

    token: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class State(Remembered):
    """All that is remembered of one user. The empty state is that of someone who was never seen."""

    generation: str | None = None
    """A random id, new with every change that should end other sessions."""
    pending: Pending | None = None
    authenticator: Authenticator | None = None
    recovery: RecoverySet | None = None
    verification: FreshVerification | None = None

    @property
    def protected(self) -> bool:
        """Whether a login needs the second factor. Every confirm issues a set, and only `disable` takes it away."""
        return self.recovery is not None

    @property
    def name(self) -> StateName:
        """The state's name in `transitions.TABLE`. An expired set-up still counts: its holder is told so."""
        if self.protected:
            return "active" if self.authenticator else "reenrol"
        return "pending" if self.pending else "none"

    def at(self, now: int) -> State:
        """Erase what has expired, and anything dated in the future because the clock went back."""
        state = self
        pending, verification = state.pending, state.verification
        if pending and pending.totp and not now < pending.expires_at <= now + LONGEST_SETUP + CLOCK_SKEW:
            state = replace(state, pending=replace(pending, totp=None))
        if verification and not verification.at - CLOCK_SKEW <= now < verification.at + VERIFICATION_LIFETIME:
            state = replace(state, verification=None)
        return state

    def __repr__(self) -> str:
        return f"State({self.name})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A state as it was or will be stored."""

    state: State = field(default_factory=State)
    versions: tuple[str, ...] = ()
    """This record's version and those before it: a call whose reply was lost can recognise its own write."""
    is_current: bool = True
    """Whether the ring's primary key has sealed it."""
