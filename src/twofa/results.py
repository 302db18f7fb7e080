"""What the faces return: immutable values with a `repr` that is safe to log. Times are aware UTC.

A secret is kept in a field of type `Hidden`, with a property beside it for those who are to see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NoReturn, TypeAlias, overload

from twofa import qr
from twofa._hidden import Hidden
from twofa._parameters import Algorithm
from twofa._plain import plain_fields

__all__ = ["ExportedAuthenticator", "RecoveryCodes", "Setup", "StateName", "Status", "Verification"]

StateName: TypeAlias = Literal["none", "pending", "active", "reenrol"]
"""Where an account stands: nothing begun, a set-up that waits, protected, or protected without an authenticator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """An authenticator that waits to be confirmed. Show it to nobody but the session that asked for it.

    Keep `handle` in that session: only with it can the same secret be shown again or confirmed. Send the page with
    `Cache-Control: no-store` (ASVS 5.0 14.3.2). The picture is drawn here, so that no chart service sees the secret.
    """

    _handle: Hidden[str]
    _uri: Hidden[str]
    _manual_key: Hidden[str]
    expires_at: datetime
    """Until when it can be confirmed."""
    generation: str | None
    """The account's generation, which `reset_authenticator` renews; `None` before the first confirm."""

    def to_dict(self) -> dict[str, Any]:
        """Return what the user's page shows, for JSON: `uri`, `manual_key`, `expires_at` and `generation`.

        The `handle` is left out: it belongs into the session. So is the QR code, since drawing one takes 10 to 150 ms
        of processor time: add `qr_svg()` where the page wants it. Answer with `Cache-Control: no-store`.
        """
        return {"uri": self.uri, "manual_key": self.manual_key, **plain_fields(self)}

    @property
    def handle(self) -> str:
        """32 characters; a bearer secret."""
        return self._handle.value

    @property
    def uri(self) -> str:
        """The otpauth Key URI that the QR code carries."""
        return self._uri.value

    @property
    def manual_key(self) -> str:
        """The secret in base32, in groups of four, for typing in by hand."""
        return self._manual_key.value

    def qr_svg(self) -> qr.SVG:
        """Return the QR code as an SVG element, which Jinja and Django put into a page as it is."""
        return qr.svg(self.uri)

    def qr_png(self) -> bytes:
        """Return the QR code as a PNG file."""
        return qr.png(self.uri)

    def qr_data_uri(self) -> str:
        """Return the QR code as a `data:` URI for an `<img>`."""
        return qr.data_uri(self.uri)

    def qr_text(self) -> str:
        """Return the QR code as lines of block characters for a terminal."""
        return qr.text(self.uri)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """A second factor was checked and spent. The first one, usually a password, is the host's to check."""

    user_id: str
    """Whose it is."""
    method: Literal["totp", "recovery_code"]
    """What was checked: a code of the authenticator app, or a recovery code."""
    at: datetime
    """When it was checked."""
    recovery_codes_remaining: int
    """Recovery codes that can still be used: worth a warning when few are left."""
    step_offset: int | None
    """Time steps by which the app's clock was ahead (or, negative, behind); `None` for a recovery code."""
    failed_before: int
    """Wrong codes of this kind since the last right one: worth telling the owner (ASVS 5.0 6.3.5)."""
    _token: Hidden[str]
    generation: str
    """Compare it on each request to end sessions that began before the second factor changed (ASVS 5.0 7.4.3)."""

    def to_dict(self) -> dict[str, Any]:
        """Return every field but the token, for JSON."""
        return plain_fields(self)

    @property
    def token(self) -> str:
        """Proof of this verification for `ByVerification`: keep it in the session, not in a log."""
        return self._token.value


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RecoveryCodes(Sequence[str]):
    """A new set of recovery codes, in readable form for this once: only hashes are kept.

    A sequence of strings. `str()` and `print()` give one code a line, `repr()` none.
    """

    _codes: Hidden[tuple[str, ...]]
    _token: Hidden[str]
    generation: str
    """The account's new generation."""

    @property
    def token(self) -> str:
        """A fresh verification for `ByVerification`: keep it in the session, so that lost codes can be made again."""
        return self._token.value

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return self._codes.value[index]

    def __len__(self) -> int:
        return len(self._codes.value)

    def __str__(self) -> str:
        return "\n".join(self)

    def text(self) -> str:
        """Return the content of a `.txt` download: one code a line."""
        return f"{self}\n"

    def __repr__(self) -> str:
        return f"RecoveryCodes(<{len(self)} hidden>, generation={self.generation!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where an account stands. Carries no secret."""

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
    """Recovery codes that can still be used; 0 if the set was blocked by wrong codes."""
    recovery_codes_issued_at: datetime | None
    """When the present set was made."""
    recovery_codes_acknowledged: bool
    """Whether the user is known to have the codes: said so, or has used one. True where there are none."""
    retry_at: datetime | None
    """When a TOTP code is looked at again; `None` if now."""
    recovery_retry_at: datetime | None
    """When a recovery code is looked at again; `None` if now."""
    failures: int
    """Wrong codes of the last 30 days, of both kinds: many of them mean that someone may know the password."""
    generation: str | None
    """New with every change that ends other sessions; `None` for someone who never enrolled."""
    algorithm: Algorithm | None
    """The present authenticator's hash function."""
    digits: int | None
    """Digits of the present authenticator's codes, for the input field."""
    period: int | None
    """Seconds of its time step."""
    short_secret: bool
    """Whether the authenticator came from elsewhere with less than 128 bits (RFC 4226 §4 R6): offer a new set-up."""

    def to_dict(self) -> dict[str, Any]:
        """Return every field, for JSON; times are text such as `2027-01-15T12:00:00Z`, `None` is `null`."""
        return plain_fields(self)

    def __bool__(self) -> NoReturn:
        # A status always exists. `if two_factor.status(user):` would ask everyone for a code, or skip it for nobody.
        raise TypeError("a Status is neither true nor false: ask status.required")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedAuthenticator:
    """An authenticator on its way to another library: whoever holds this can compute its codes."""

    _secret: Hidden[bytes]
    _uri: Hidden[str]
    algorithm: Algorithm
    """`SHA1`, `SHA256` or `SHA512`."""
    digits: int
    period: int
    """Seconds of a time step."""
    last_step: int
    """The last time step whose code was accepted, -1 if none was: the other library must accept only later ones."""

    @property
    def secret(self) -> bytes:
        """10 to 128 bytes."""
        return self._secret.value

    @property
    def uri(self) -> str:
        """The otpauth Key URI, as a QR code carries it."""
        return self._uri.value
