"""What happened: the events that a host shows, mails, audits or alarms on.

An event never contains a code, a secret or a URI. Text that came from outside (`user_id`, `source`) stands in fields of
its own, so that no log line can be forged with it (ASVS 5.0 16.4.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeAlias

from twofa._plain import plain_fields

__all__ = ["Event", "EventKind"]

Plain: TypeAlias = "str | int | bool | None"
"""What the detail of an event consists of: values that every database and every log can take."""


class EventKind(StrEnum):
    """Every kind of event. The value never changes; `owasp` is its name in OWASP's logging vocabulary.

    `docs/events.md` has a table of them, with the names in the `detail` of each.
    """

    SETUP_BEGUN = "setup_begun"
    """A new secret waits to be confirmed; `replaces` tells whether there is an authenticator already."""
    SETUP_REJECTED = "setup_rejected"
    """A wrong code at `confirm_setup`."""
    SETUP_EXPIRED = "setup_expired"
    """Someone came back to a set-up that was not confirmed in time."""
    SETUP_CANCELLED = "setup_cancelled"
    """By `cancel_setup`, or after too many wrong codes (`reason`)."""
    AUTHENTICATOR_CONFIRMED = "authenticator_confirmed"
    """A new authenticator works from now on, and the one before is dead."""
    AUTHENTICATOR_RESET = "authenticator_reset"
    """The authenticator was killed, for a lost phone; recovery codes serve until a new one is confirmed."""
    AUTHENTICATOR_IMPORTED = "authenticator_imported"
    """By `import_authenticator`: the user was enrolled elsewhere."""
    AUTHENTICATOR_EXPORTED = "authenticator_exported"
    """By `export_authenticator`: the secret was shown."""
    AUTHENTICATOR_BLOCKED = "authenticator_blocked"
    """Too many wrong codes in a row: the authenticator is erased, and recovery codes serve."""
    RECOVERY_CODES_ISSUED = "recovery_codes_issued"
    """A new set (`count`); the one before is dead."""
    RECOVERY_CODE_USED = "recovery_code_used"
    """A recovery code was accepted and spent, at login or as a proof."""
    RECOVERY_CODES_LOW = "recovery_codes_low"
    """Three or fewer are left (`remaining`)."""
    RECOVERY_CODES_BLOCKED = "recovery_codes_blocked"
    """Too many wrong codes in a row: the set is dead."""
    RECOVERY_CODES_REVOKED = "recovery_codes_revoked"
    """The operator ended the set (`count` codes were left), as after a restored backup. Sessions ended with it."""
    RECOVERY_CODES_ACKNOWLEDGED = "recovery_codes_acknowledged"
    """The user said that the codes are saved."""
    ATTEMPT_COUNTED = "attempt_counted"
    """A code that takes slow work was counted before it was looked at. Only in the audit trail; its outcome follows."""
    ATTACK_SUSPECTED = "attack_suspected"
    """Many wrong codes from unknown browsers: someone may know the password. Once in 30 days for each factor."""
    CODE_ACCEPTED = "code_accepted"
    """A TOTP code, at login or as a proof."""
    CODE_REJECTED = "code_rejected"
    """A wrong code of either kind (`method`)."""
    CODE_REUSED = "code_reused"
    """A code that was right once and is spent."""
    CODE_MALFORMED = "code_malformed"
    """Something that cannot be a code. Not counted."""
    THROTTLED = "throttled"
    """A code during a wait (`retry_at`): neither looked at nor counted."""
    REFUSED = "refused"
    """Anything else that was asked for in vain (`reason` is the error's code)."""
    RECORD_REFUSED = "record_refused"
    """The stored record could not be trusted (`reason` is the error's code): worth an alarm."""
    OUTCOME_UNKNOWN = "outcome_unknown"
    """The store failed in the middle of a change, which may have happened (`reason` is the exception's type)."""
    STORE_CONTENTION = "store_contention"
    """Others kept changing the record; nothing happened."""
    STORE_FAILED = "store_failed"
    """The store raised before anything was written (`reason` is the exception's type)."""
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  # no password, but that one was changed
    """The host said so: waits ended, browsers are no longer known, and the generation is new."""
    SESSIONS_ENDED = "sessions_ended"
    """The generation is new, which ends every other session."""
    DISABLED = "disabled"
    """The second factor is off; secret, codes and counters are erased."""
    FORGOTTEN = "forgotten"
    """The record and the audit trail of a deleted account are erased, so this event is not in the trail."""
    UNKNOWN = "unknown"
    """Read from an audit trail: an event whose kind only a newer version of twofa knows. `detail["kind"]` names it."""

    @property
    def owasp(self) -> str:
        """The event's name in the OWASP Logging Vocabulary Cheat Sheet."""
        return _OWASP[self]


_OWASP = {
    EventKind.SETUP_BEGUN: "user_updated",
    EventKind.SETUP_REJECTED: "authn_login_fail",
    EventKind.SETUP_EXPIRED: "authn_token_expired",
    EventKind.SETUP_CANCELLED: "user_updated",
    EventKind.AUTHENTICATOR_CONFIRMED: "authn_token_created",
    EventKind.AUTHENTICATOR_RESET: "authn_token_revoked",
    EventKind.AUTHENTICATOR_IMPORTED: "authn_token_created",
    EventKind.AUTHENTICATOR_EXPORTED: "sensitive_read",
    EventKind.AUTHENTICATOR_BLOCKED: "authn_login_lock",
    EventKind.RECOVERY_CODES_ISSUED: "authn_token_created",
    EventKind.RECOVERY_CODE_USED: "authn_login_success",
    EventKind.RECOVERY_CODES_LOW: "user_updated",
    EventKind.RECOVERY_CODES_BLOCKED: "authn_login_lock",
    EventKind.RECOVERY_CODES_REVOKED: "authn_token_revoked",
    EventKind.CODE_ACCEPTED: "authn_login_success",
    EventKind.CODE_REJECTED: "authn_login_fail",
    EventKind.CODE_REUSED: "authn_token_reuse",
    EventKind.CODE_MALFORMED: "input_validation_fail",
    EventKind.THROTTLED: "excess_rate_limit_exceeded",
    EventKind.REFUSED: "sequence_fail",
    EventKind.RECORD_REFUSED: "crypt_decrypt_fail",
    EventKind.RECOVERY_CODES_ACKNOWLEDGED: "user_updated",
    EventKind.ATTEMPT_COUNTED: "authn_login_fail",
    EventKind.ATTACK_SUSPECTED: "authn_login_fail_max",
    EventKind.OUTCOME_UNKNOWN: "sys_crash",
    EventKind.STORE_CONTENTION: "excess_rate_limit_exceeded",
    EventKind.STORE_FAILED: "sys_crash",
    EventKind.PASSWORD_CHANGED: "authn_password_change",
    EventKind.SESSIONS_ENDED: "session_expired",
    EventKind.DISABLED: "authn_token_revoked",
    EventKind.FORGOTTEN: "user_deleted",
    EventKind.UNKNOWN: "user_updated",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one user's second factor (ASVS 5.0 16.2.1: when, where, who, what).

    Raises `ValueError` for text that is not the value of an `EventKind`, and `TypeError` for anything else as a kind.
    """

    kind: EventKind
    """What happened."""
    user_id: str
    """Whose second factor it is."""
    at: datetime
    """Aware UTC, whole seconds."""
    source: str | None = field(default=None, kw_only=True)
    """What the host said of the request's origin: opaque, at most 256 characters, hostile until proven otherwise."""
    detail: Mapping[str, Plain] = field(default_factory=dict[str, Plain], kw_only=True, hash=False)
    """Plain values that explain the kind: `reason`, `remaining`, `method`, `proof`, `by`, `retry_at` (Unix seconds)…"""

    def __post_init__(self) -> None:
        if type(self.kind) is not EventKind:
            object.__setattr__(self, "kind", _kind_named(self.kind))
        # A copy that nobody can change: the same event goes to the store, the log and the listener.
        object.__setattr__(self, "detail", MappingProxyType(dict(self.detail)))

    def to_dict(self) -> dict[str, Any]:
        """Return every field, for JSON: `kind` as text, `at` as `2027-01-15T12:00:00Z`, `detail` as an object."""
        return {**plain_fields(self), "kind": str(self.kind), "detail": dict(self.detail)}

    def __reduce__(self) -> tuple[object, ...]:
        # What `detail` is wrapped in cannot be pickled. An event may wait in a queue while the library is upgraded, so
        # this form stays readable for ever.
        return read_event, (str(self.kind), self.user_id, self.at, self.source, dict(self.detail))


def read_event(kind: str, user_id: str, at: datetime, source: str | None, detail: Mapping[str, Plain]) -> Event:
    """Return an event as it was written down, perhaps by a newer version of the library.

    While servers are upgraded one by one, the older ones meet events of kinds that they do not know. To raise would
    hold up a queue for all users, and to skip them would lose them. So they come as `EventKind.UNKNOWN`, with the name
    of the kind in the detail.
    """
    try:
        known = EventKind(kind)
    except ValueError:
        known, detail = EventKind.UNKNOWN, {**detail, "kind": kind}
    return Event(known, user_id, at, source=source, detail=detail)


_revive = read_event
"""The name under which pickles of the first version ask for it."""


def _kind_named(kind: object) -> EventKind:
    if not isinstance(kind, str):
        raise TypeError(f"the kind of an event is an EventKind, not {type(kind).__name__}")
    try:
        return EventKind(kind)
    except ValueError:
        raise ValueError(f"there is no kind of event {kind[:80]!r}: EventKind has them all") from None
