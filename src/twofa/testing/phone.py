"""`Phone`: an authenticator app, as a test holds it in its hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twofa.otp import TOTP

if TYPE_CHECKING:
    from collections.abc import Callable

FOREVER = 10
"""Time steps to either side of now within which a wrong code is wrong: more than any drift window reaches."""


class Phone:
    """An authenticator app that has scanned a QR code."""

    def __init__(self, uri: str, clock: Callable[[], float]) -> None:
        """Scan the otpauth Key URI of a `Setup`; show codes at the time of `clock`, which returns Unix seconds.

        Raises `InvalidKeyUri` for a text that no app could read.
        """
        self._totp = TOTP.from_uri(uri)
        self._clock = clock

    @property
    def period(self) -> int:
        """Seconds that a code is shown."""
        return self._totp.period

    def code(self, steps: int = 0) -> str:
        """Return the code that it shows now, or would show that many time steps later."""
        return self._totp.code(int(self._clock()) + steps * self.period)

    def wrong_code(self) -> str:
        """Return a code that is wrong now and in the time steps around."""
        shown = {self.code(steps) for steps in range(-FOREVER, FOREVER + 1)}
        return next(code for code in (f"{n:0{len(self.code())}}" for n in range(len(shown) + 1)) if code not in shown)

    def __repr__(self) -> str:
        return "Phone(<hidden>)"
