"""What went wrong, in one family of exceptions.

Every error has a stable `code` for JSON and translation, and carries what its handler needs. A message says what
happened and what to do; none contains a secret. A wrong type is a plain `TypeError` and an unusable user id a plain
`ValueError`, both raised before anything is read; a store's own exceptions from `load` pass through unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from twofa._time import http_date, rfc3339

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "AlreadyEnrolled",
    "CodeRequired",
    "CodeReused",
    "CrossSiteRequest",
    "InvalidCode",
    "InvalidKey",
    "InvalidKeyUri",
    "InvalidSecret",
    "MalformedCode",
    "NoSetup",
    "NotEnrolled",
    "OutcomeUnknown",
    "PolicyError",
    "ProofRequired",
    "RecordDamaged",
    "RecordError",
    "RecoveryCodesExhausted",
    "ReenrolmentRequired",
    "SetupExpired",
    "SignInRequired",
    "StoreContention",
    "Throttled",
    "TwoFactorError",
    "UnknownKey",
    "UnsupportedRecord",
]


_MISCONFIGURED = "two-factor authentication is not set up correctly on this site"


class TwoFactorError(Exception):
    """The base of everything that twofa raises on its own account."""

    code: ClassVar[str] = "two_factor_error"
    """A stable name for machines: never renamed, never reused for another meaning."""

    http_status: ClassVar[int] = 500
    """The status of an HTTP answer that reports the error (RFC 9110 §15.5, §15.6, RFC 6585 §4)."""

    message: str = "two-factor authentication failed"
    """What `str()` says, to developers and in logs, where nothing else was said when the error was made."""

    public_message: ClassVar[str | None] = None
    """What a client hears instead, where the message speaks of method names or of what is inside the store."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else self.message

    def to_dict(self) -> dict[str, Any]:
        """Return what a client may see, for JSON: `code`, `message`, and `retry_at` (`2027-01-15T12:00:00Z` or `None`).

        `code` is for programs and translations. Nothing from inside the store is in it.
        """
        retry_at: datetime | None = getattr(self, "retry_at", None)
        return {
            "code": self.code,
            "message": self.public_message or str(self),
            "retry_at": None if retry_at is None else rfc3339(retry_at),
        }

    @property
    def http_headers(self) -> dict[str, str]:
        """`Retry-After` as a date where the error says when to try again (RFC 9110 §10.2.3), otherwise nothing."""
        retry_at: datetime | None = getattr(self, "retry_at", None)
        return {} if retry_at is None else {"Retry-After": http_date(retry_at)}


class InvalidCode(TwoFactorError):
    """The code was not accepted, and the attempt was counted (NIST SP 800-63B-4 §3.2.2)."""

    code = "invalid_code"
    http_status = 422
    message = "the code is not right: enter the app's newest code, or a recovery code of the latest set"

    setup_message: ClassVar[str] = (
        "the code is not right: enter what the app shows now for the new entry, and set the phone's time to automatic"
    )

    def __init__(self, retry_at: datetime | None = None, *, in_setup: bool = False) -> None:
        super().__init__(retry_at)
        self.retry_at = retry_at
        """When the next attempt will be looked at (aware UTC), where this failure started a wait."""
        if in_setup:  # where only the new app's code serves, the message must not speak of recovery codes
            self.message = self.setup_message

    def __str__(self) -> str:
        return self.message if self.retry_at is None else f"{self.message}, after {_clock_time(self.retry_at)}"


class MalformedCode(InvalidCode):
    """This cannot be a code at all: wrong length or characters. Not counted; nothing was written."""

    code = "malformed_code"
    message = (
        "that does not have the form of a code: an app's code has only digits, a recovery code letters and digits "
        "in groups of four"
    )
    setup_message = "that does not have the form of a code: enter the digits that the app shows for the new entry"


class CodeReused(InvalidCode):
    """The code was right once and is already spent (RFC 6238 §5.2)."""

    code = "code_reused"
    message = "this code has been used already: wait for the app's next code, or take another recovery code"


class Throttled(TwoFactorError):
    """Too many wrong codes: this attempt was neither looked at nor counted (NIST SP 800-63B-4 §3.2.2)."""

    code = "throttled"
    http_status = 429

    def __init__(self, retry_at: datetime) -> None:
        super().__init__(retry_at)
        self.retry_at = retry_at
        """When an attempt will be looked at again (aware UTC)."""

    def __str__(self) -> str:
        return f"too many wrong codes: no code is looked at before {_clock_time(self.retry_at)}; try again then"


class NotEnrolled(TwoFactorError):
    """The account has no confirmed second factor. Ask `status().required` before asking for a code."""

    code = "not_enrolled"
    http_status = 409
    message = "no second factor is set up for this account: begin_setup and confirm_setup come first"
    public_message = "no second factor is set up for this account"


class AlreadyEnrolled(TwoFactorError):
    """The account has a second factor already: an import never replaces one."""

    code = "already_enrolled"
    http_status = 409
    message = "this account has a second factor already, and an import does not replace it: disable it first"
    public_message = "this account has a second factor already"


class ReenrolmentRequired(TwoFactorError):
    """The authenticator was reset or blocked by wrong codes: until a new one is confirmed, recovery codes serve."""

    code = "reenrolment_required"
    http_status = 409
    message = "the authenticator app was reset or blocked: use a recovery code, then set up the app again"


class NoSetup(TwoFactorError):
    """There is nothing to confirm, or it is another session's."""

    code = "no_setup"
    http_status = 410
    message = "no set-up with this handle is waiting for a code: begin_setup again and scan the new QR code"
    public_message = "no set-up of this session is waiting for a code: begin again and scan the new QR code"


class SetupExpired(TwoFactorError):
    """The set-up was not confirmed in time; its secret is erased."""

    code = "setup_expired"
    http_status = 410
    message = "the set-up was not confirmed in time: begin_setup again and scan the new QR code"
    public_message = "the set-up was not confirmed in time: begin again and scan the new QR code"


class RecoveryCodesExhausted(TwoFactorError):
    """No recovery code is left, or the set was blocked by wrong codes."""

    code = "recovery_codes_exhausted"
    http_status = 409
    message = "no usable recovery code would be left: make a new set with reset_recovery_codes first"
    public_message = (
        "there are no recovery codes that you could use or are known to have: make a new set and save it first"
    )
    unseen_message: ClassVar[str] = (
        "nobody has said that the recovery codes are saved, and without an authenticator they would be the only way "
        "in: make a new set with reset_recovery_codes, show it, and call acknowledge_recovery_codes first"
    )


class ProofRequired(TwoFactorError):
    """A second factor protects the account, and nothing valid was offered to prove that its owner is asking."""

    code = "proof_required"
    http_status = 403
    message = (
        "a second factor protects this account: confirm the change with a current code, a recovery code, or a "
        "verification that is not older than ten minutes and was not used yet (proof=)"
    )
    public_message = "a second factor protects this account: confirm the change with a current code or a recovery code"


SignInReason: TypeAlias = Literal["signed_out", "expired", "ended", "code_owed"]
"""Why nobody is signed in: never was or signed out, too long ago, ended from elsewhere, or a code is still owed."""


class SignInRequired(TwoFactorError):
    """Nobody is signed in in this browser, or not under the account's present generation (ASVS 5.0 7.4.3)."""

    code = "sign_in_required"
    http_status = 401
    public_message = "sign in again"

    def __init__(self, reason: SignInReason = "signed_out") -> None:
        super().__init__(reason)
        self.reason: SignInReason = reason

    def __str__(self) -> str:
        return _SIGN_IN_REASONS[self.reason]

    def to_dict(self) -> dict[str, Any]:
        """Add `reason`, so that a page can say why."""
        return {**super().to_dict(), "reason": self.reason}


_SIGN_IN_REASONS: dict[SignInReason, str] = {
    "signed_out": "nobody is signed in here: ask for the password",
    "expired": "the password was given too long ago: ask for it again",
    "ended": "this session was ended by a change or a sign-out elsewhere: ask for the password again",
    "code_owed": "the password was right, and a code of the second factor is still owed: ask for it",
}


class CodeRequired(SignInRequired):
    """The password was right, and the second factor is still to come: show the form for a code."""

    code = "code_required"
    public_message = "enter a code of your authenticator app, or a recovery code"

    def __init__(self, recovery_only: bool = False) -> None:
        super().__init__("code_owed")
        self.args = (recovery_only,)  # what a copy is made with
        self.recovery_only = recovery_only
        """Whether only a recovery code serves, since the authenticator app was reset or blocked."""

    def to_dict(self) -> dict[str, Any]:
        """Add `reason`, and `recovery_only`, for the label of the field."""
        return {**super().to_dict(), "recovery_only": self.recovery_only}


class CrossSiteRequest(TwoFactorError):
    """Another site has made the browser send this request. It was not carried out."""

    code = "cross_site_request"
    http_status = 403
    message = "this request comes from a page of another site, and was refused: open the page here and try again"


class RecordError(TwoFactorError):
    """The stored record cannot be trusted. It is never read as "no second factor"."""

    code = "record_error"
    http_status = 503
    public_message = "the second factor of this account cannot be checked at the moment: nothing was granted or changed"


class RecordDamaged(RecordError):
    """The stored record was altered, cut short, or belongs to another user or namespace."""

    code = "record_damaged"
    message = (
        "the stored record does not open: it was altered, cut short, or belongs to another user or namespace. "
        "Restore it from a backup, or check who asks and delete it by hand, which turns the second factor off"
    )


class UnknownKey(RecordError):
    """The stored record is sealed with a key that is not in the ring."""

    code = "unknown_key"

    def __init__(self, key_id: str) -> None:
        super().__init__(key_id)
        self.key_id = key_id
        """The public id of the missing key, as `KeyRing.key_ids` shows it."""

    def __str__(self) -> str:
        return f"the stored record is sealed with key {self.key_id!r}, which is not in the ring: add it as an older key"


class UnsupportedRecord(RecordError):
    """The stored record was written in a form that this version does not read."""

    code = "unsupported_record"
    message = "the stored record was written by a newer version of twofa: upgrade this instance"


class StoreContention(TwoFactorError):
    """Others kept changing the same record. The operation did not happen; at most its attempt was counted."""

    code = "store_contention"
    http_status = 503
    message = "the account's record kept changing under this request and nothing was done: try again"
    public_message = "too much happened to this account at once and nothing was done: try again"


class OutcomeUnknown(TwoFactorError):
    """The store failed in the middle. Nothing was granted, but the change may have happened."""

    code = "outcome_unknown"
    http_status = 503
    message = (
        "the store failed while saving, and it cannot be told whether the change happened: nothing was granted; "
        "look at status(), then try again with a new code"
    )
    public_message = (
        "it cannot be told whether the change was saved: nothing was granted; look at your settings, then try "
        "again with a new code"
    )


class InvalidKeyUri(TwoFactorError, ValueError):
    """An otpauth Key URI, or a part for one, that no authenticator could use."""

    code = "invalid_key_uri"
    http_status = 422


class InvalidSecret(TwoFactorError, ValueError):
    """A TOTP secret that is too short or not base32 (RFC 4226 §4 R6, RFC 4648 §6)."""

    code = "invalid_secret"
    http_status = 422


class InvalidKey(TwoFactorError, ValueError):
    """A sealing key that is not 32 random bytes in base64url."""

    code = "invalid_key"
    public_message = _MISCONFIGURED


class PolicyError(TwoFactorError, ValueError):
    """A setting outside what the standards allow; the message names the clause."""

    code = "policy_error"
    public_message = _MISCONFIGURED


def _clock_time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")
