"""What a reader of another library's data hands over: one value a user."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NoReturn

from twofa.otp import Algorithm


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """A user's authenticator and recovery codes, as another library keeps them."""

    user_id: str
    """As your application will pass it to twofa."""
    secret: bytes | str = field(repr=False)
    """At least 10 bytes, or the same in base32: spelled in lower case, with spaces, hyphens or padding, if need be."""
    algorithm: Algorithm = "SHA1"
    digits: int = 6
    period: int = 30
    """Seconds of a time step."""
    confirmed_at: datetime | None = None
    """When the authenticator was set up, as an aware datetime; `None` if nobody knows."""
    last_step: int | None = None
    """The last time step whose code was accepted, so that twofa does not accept it again; `None` if nobody knows."""
    drift: int = 0
    """Time steps by which the phone's clock is known to be ahead, or behind where it is negative."""
    recovery_codes: tuple[str, ...] = field(default=(), repr=False)
    """Those that were not used yet, as the user holds them."""
    remark: str = ""
    """What the operator should know about this user's move; shown in the report."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Enrolment carries a secret and cannot be pickled")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMovable:
    """A user whose second factor cannot come along. Until it is set up again, a login asks for the password only."""

    user_id: str
    reason: str
    """Why, in words for the operator: no secret stands in them."""


def with_time_zone(at: datetime | None) -> datetime | None:
    """Return a time with its time zone: this machine's, where a database keeps none (Django without `USE_TZ`)."""
    return at if at is None or at.utcoffset() is not None else at.astimezone()
