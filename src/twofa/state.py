"""What is remembered of a user, and how it is written down inside the seal.

All times are whole Unix seconds. The types hide themselves in `repr`: they carry the secret.
"""

import binascii
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from twofa.errors import RecordDamaged, UnsupportedRecord
from twofa.otp import TOTP, Algorithm
from twofa.throttle import Failures

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA = 1
"""The form that this version writes. It reads every older one, and refuses a newer one."""

TOKEN_LIFETIME = 600
"""Seconds that a verification serves as a proof."""

_REMEMBERED_VERSIONS = 4
"""One is enough unless a reply is lost while others write: each of those moves it one place on."""

StateName: TypeAlias = Literal["none", "pending", "active", "reenrol"]


class Key(NamedTuple):
    """An authenticator's secret with the parameters that it was made with."""

    secret: str
    """In base64, as it is written down."""
    algorithm: Algorithm
    digits: int
    period: int

    def totp(self) -> TOTP:
        """Return the calculator for this key."""
        return TOTP(binascii.a2b_base64(self.secret), algorithm=self.algorithm, digits=self.digits, period=self.period)

    @classmethod
    def of(cls, totp: TOTP) -> "Key":
        """Return what to remember of a calculator."""
        secret = binascii.b2a_base64(totp.secret, newline=False).decode()
        return cls(secret, totp.algorithm, totp.digits, totp.period)

    def __repr__(self) -> str:
        return "Key(<hidden>)"


class Pending(NamedTuple):
    """A set-up that waits to be confirmed."""

    key: Key | None
    """`None` once it has expired: the secret is erased, but its holder still hears why."""
    handle: str
    expires_at: int
    wrong_codes: int = 0

    def __repr__(self) -> str:
        return "Pending(<hidden>)"


class Authenticator(NamedTuple):
    """A confirmed authenticator app."""

    key: Key
    confirmed_at: int
    last_step: int
    """The last time step that was accepted; only later ones are."""
    last_used_at: int
    failures: Failures = Failures()

    def __repr__(self) -> str:
        return "Authenticator(<hidden>)"


class RecoverySet(NamedTuple):
    """A set of recovery codes."""

    scheme: str
    """As `Scheme.of` names it; taken apart only when a code is hashed."""
    length: int
    """Symbols of a code."""
    slots: str
    """The codes' public first symbols; empty once the set is blocked."""
    hashes: str
    """Each code's salt and hash, packed."""
    issued_at: int
    spent: tuple[tuple[int, int], ...] = ()
    """Place and time of use of each code that was spent: its hash stays, so that a second try is recognised."""
    failures: Failures = Failures()

    @property
    def remaining(self) -> int:
        """Codes that can still be used."""
        return len(self.slots) - len(self.spent)

    def blocked(self) -> "RecoverySet":
        """Return the set with nothing left to guess."""
        return self._replace(slots="", hashes="", spent=())

    def __repr__(self) -> str:
        return "RecoverySet(<hidden>)"


class State(NamedTuple):
    """All that is remembered of one user. The empty state is that of someone who was never seen."""

    generation: str | None = None
    """A random id, new with every change that should end other sessions."""
    pending: Pending | None = None
    authenticator: Authenticator | None = None
    recovery: RecoverySet | None = None
    token: tuple[str, int] | None = None
    """Token and time of the last verification, until it has served as a proof."""

    @property
    def protected(self) -> bool:
        """Whether a login needs the second factor. Every confirm issues a set, and only `disable` takes it away."""
        return self.recovery is not None

    @property
    def name(self) -> StateName:
        """The state's name in `machine.TABLE`. A set-up that expired still counts: its holder is to hear of it."""
        if self.protected:
            return "active" if self.authenticator else "reenrol"
        return "pending" if self.pending else "none"

    def at(self, now: int) -> "State":
        """Return the state with what has expired by `now` erased."""
        state = self
        if state.pending and state.pending.key and state.pending.expires_at <= now:
            state = state._replace(pending=state.pending._replace(key=None))
        if state.token and state.token[1] + TOKEN_LIFETIME <= now:
            state = state._replace(token=None)
        return state

    def __repr__(self) -> str:
        return f"State({self.name})"


class Record(NamedTuple):
    """A state as it was or will be stored."""

    state: State = State()
    versions: tuple[str, ...] = ()
    """This record's version and those before it, so that a writer whose reply was lost can recognise its own write."""

    def __repr__(self) -> str:
        return f"Record({self.state!r})"


def dump(record: Record) -> bytes:
    """Return the document to seal: the types above as JSON arrays, in the order of their fields."""
    versions = " ".join(record.versions[:_REMEMBERED_VERSIONS])
    encode, _ = _json()
    return encode({"schema": SCHEMA, "state": record.state, "versions": versions}).encode()


def load(document: bytes) -> Record:
    """Read what `dump` wrote, or an older version's.

    Raises `UnsupportedRecord` for a schema that this version does not know, `RecordDamaged` for anything else.
    """
    record = _read(document)
    del document
    if isinstance(record, Record):
        return record
    raise record


@cache
def _json() -> "tuple[Callable[[object], str], Callable[[str], Any]]":
    # Imported at the first record, for the same reason as in `values`: a start costs 2 ms less.
    import json

    return json.JSONEncoder(separators=(",", ":")).encode, json.loads


def _read(document: bytes) -> Record | RecordDamaged | UnsupportedRecord:
    # Returned, not raised: a frame that an exception leaves must not hold the document.
    _, decode = _json()
    try:
        fields = decode(document.decode())
        schema = fields["schema"]
        if type(schema) is int and schema == SCHEMA:
            return Record(_read_state(*fields["state"]), tuple(fields["versions"].split()))
    except (ValueError, TypeError, KeyError, AttributeError):
        return RecordDamaged()
    if type(schema) is int and schema > SCHEMA:
        return UnsupportedRecord(
            f"the stored record has schema {schema}, and this version of twofa reads up to {SCHEMA}: "
            "upgrade this instance"
        )
    return UnsupportedRecord("the stored record has a schema that no version of twofa wrote: restore a backup")


def _read_state(generation: str | None, pending: Any, device: Any, held: Any, token: Any) -> State:
    return State(
        generation,
        pending and _read_pending(*pending),
        device and _read_authenticator(*device),
        held and _read_recovery(*held),
        token and _read_token(*token),
    )


def _read_token(token: str, at: int) -> tuple[str, int]:
    return token, at


def _read_pending(key: Any, handle: str, expires_at: int, wrong_codes: int) -> Pending:
    return Pending(key and Key(*key), handle, expires_at, wrong_codes)


def _read_authenticator(key: Any, confirmed_at: int, last_step: int, last_used_at: int, failures: Any) -> Authenticator:
    return Authenticator(Key(*key), confirmed_at, last_step, last_used_at, _read_failures(*failures))


def _read_recovery(
    scheme: str, length: int, slots: str, hashes: str, issued_at: int, spent: Any, failures: Any
) -> RecoverySet:
    used = tuple((place, at) for place, at in spent)
    return RecoverySet(scheme, length, slots, hashes, issued_at, used, _read_failures(*failures))


def _read_failures(in_a_row: int, last: int, recent: Any) -> Failures:
    return Failures(in_a_row, last, tuple(recent))
