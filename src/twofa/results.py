"""What the faces return: immutable values with a `repr` that is safe to log. Times are aware UTC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, overload

from twofa._values import Value

if TYPE_CHECKING:
    from datetime import datetime

    from twofa._record.state import StateName
    from twofa.policy import Algorithm

__all__ = ["RecoveryCodes", "Setup", "Status", "Verification"]


class Setup(Value):
    """An authenticator that waits to be confirmed. Show it to nobody but the session that asked for it.

    Keep `handle` in that session: it alone shows the same secret again or confirms it. The page wants
    `Cache-Control: no-store` (ASVS 5.0 14.3.2), and the picture is drawn here so that no chart service sees it.
    """

    __slots__ = ("expires_at", "generation", "handle", "manual_key", "uri")
    _hidden = frozenset({"handle", "manual_key", "uri"})

    handle: str
    """32 characters; a bearer secret."""
    uri: str
    """The otpauth Key URI that the QR code carries."""
    manual_key: str
    """The secret in base32, in groups of four, for typing in by hand."""
    expires_at: datetime
    generation: str | None
    """The account's generation, which `reset_authenticator` renews; `None` before the first confirm."""

    def __init__(self, *, handle: str, uri: str, manual_key: str, expires_at: datetime, generation: str | None) -> None:
        self._fill(handle=handle, uri=uri, manual_key=manual_key, expires_at=expires_at, generation=generation)

    def qr_svg(self) -> str:
        """Return the QR code as an SVG element to put into a page as it is."""
        from twofa import qr  # draws with `qrcode`, which only enrolment needs

        return qr.svg(self.uri)

    def qr_png(self) -> bytes:
        """Return the QR code as a PNG file."""
        from twofa import qr

        return qr.png(self.uri)

    def qr_data_uri(self) -> str:
        """Return the QR code as a `data:` URI for an `<img>`."""
        from twofa import qr

        return qr.data_uri(self.uri)

    def qr_text(self) -> str:
        """Return the QR code as lines of block characters for a terminal."""
        from twofa import qr

        return qr.text(self.uri)


class Verification(Value):
    """A second factor was checked and spent. The first one, usually a password, is the host's to check."""

    __slots__ = (
        "at",
        "failed_before",
        "generation",
        "method",
        "recovery_codes_remaining",
        "step_offset",
        "token",
    )
    _hidden = frozenset({"token"})

    method: Literal["totp", "recovery_code"]
    at: datetime
    recovery_codes_remaining: int
    step_offset: int | None
    """Time steps by which the app's clock was ahead (or, negative, behind); `None` for a recovery code."""
    failed_before: int
    """Wrong codes of this kind since the last right one: worth telling the owner (ASVS 5.0 6.3.5)."""
    token: str
    """Proof of this verification for `ByVerification`: keep it in the session, not in a log."""
    generation: str
    """Compare it on each request to end sessions that began before the second factor changed (ASVS 5.0 7.4.3)."""

    def __init__(
        self,
        *,
        method: Literal["totp", "recovery_code"],
        at: datetime,
        recovery_codes_remaining: int,
        step_offset: int | None,
        failed_before: int,
        token: str,
        generation: str,
    ) -> None:
        self._fill(
            method=method,
            at=at,
            recovery_codes_remaining=recovery_codes_remaining,
            step_offset=step_offset,
            failed_before=failed_before,
            token=token,
            generation=generation,
        )


class RecoveryCodes(Value, Sequence[str]):
    """A new set of recovery codes, in readable form for this once: only hashes are kept.

    A sequence of strings. `str()` and `print()` give one code a line, `repr()` none.
    """

    __slots__ = ("_codes", "generation")
    _hidden = frozenset({"_codes"})

    _codes: tuple[str, ...]
    generation: str
    """The account's new generation."""

    def __init__(self, codes: tuple[str, ...], generation: str) -> None:
        self._fill(_codes=codes, generation=generation)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return self._codes[index]

    def __len__(self) -> int:
        return len(self._codes)

    def __str__(self) -> str:
        return "\n".join(self._codes)

    def text(self) -> str:
        """Return the content of a `.txt` download: one code a line."""
        return f"{self}\n"

    def __repr__(self) -> str:
        return f"RecoveryCodes(<{len(self)} hidden>, generation={self.generation!r})"


class Status(Value):
    """Where an account stands. Carries no secret."""

    __slots__ = (
        "algorithm",
        "confirmed_at",
        "digits",
        "generation",
        "last_used_at",
        "period",
        "recovery_codes_issued_at",
        "recovery_codes_remaining",
        "recovery_retry_at",
        "required",
        "retry_at",
        "setup_expires_at",
        "state",
    )

    required: bool
    """Whether a login needs the second factor."""
    state: StateName
    """`none`, `pending`, `active` or `reenrol`."""
    setup_expires_at: datetime | None
    """When the set-up that waits to be confirmed dies; `None` where none waits."""
    confirmed_at: datetime | None
    """When the present authenticator was confirmed."""
    last_used_at: datetime | None
    """When the present authenticator's last code was accepted."""
    recovery_codes_remaining: int
    recovery_codes_issued_at: datetime | None
    retry_at: datetime | None
    """When a TOTP code is looked at again; `None` if now."""
    recovery_retry_at: datetime | None
    """When a recovery code is looked at again; `None` if now."""
    generation: str | None
    algorithm: Algorithm | None
    digits: int | None
    """Digits of the present authenticator's codes, for the input field."""
    period: int | None
    """Seconds of its time step."""

    def __init__(
        self,
        *,
        required: bool,
        state: StateName,
        setup_expires_at: datetime | None,
        confirmed_at: datetime | None,
        last_used_at: datetime | None,
        recovery_codes_remaining: int,
        recovery_codes_issued_at: datetime | None,
        retry_at: datetime | None,
        recovery_retry_at: datetime | None,
        generation: str | None,
        algorithm: Algorithm | None,
        digits: int | None,
        period: int | None,
    ) -> None:
        self._fill(
            required=required,
            state=state,
            setup_expires_at=setup_expires_at,
            confirmed_at=confirmed_at,
            last_used_at=last_used_at,
            recovery_codes_remaining=recovery_codes_remaining,
            recovery_codes_issued_at=recovery_codes_issued_at,
            retry_at=retry_at,
            recovery_retry_at=recovery_retry_at,
            generation=generation,
            algorithm=algorithm,
            digits=digits,
            period=period,
        )
