"""What is remembered of a user, and how it is written down inside the seal.

All times are whole Unix seconds. The types carry the secret: they hide themselves in `repr`, and are no tuples, since
error trackers write down what is in a tuple whatever its `repr` hides.
"""

import binascii
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

from twofa._record.throttle import CLOCK_SKEW, Failures
from twofa.errors import RecordDamaged, UnsupportedRecord
from twofa.otp import TOTP, Algorithm

if TYPE_CHECKING:
    from collections.abc import Callable

    from twofa.results import StateName

SCHEMA = 1
"""The form that this version writes. It reads every older one, and refuses a newer one."""

LONGEST_SETUP = 600
"""Seconds that a set-up waits at most: no policy allows more."""

TOKEN_LIFETIME = 600
"""Seconds that a verification serves as a proof."""

_REMEMBERED_VERSIONS = 4
"""One is enough unless a reply is lost while others write: each of those moves it one place on."""

NO_FAILURES = Failures()


class Part:
    """Part of what is remembered: compared by content, and changed by making another."""

    __slots__: ClassVar[tuple[str, ...]] = ()

    def changed(self, **fields: object) -> Self:
        """Return another with these fields, and the rest as it is."""
        other = object.__new__(type(self))
        for name in self.__slots__:
            setattr(other, name, fields[name] if name in fields else getattr(self, name))
        return other

    def content(self) -> tuple[object, ...]:
        """Return the fields' values, in the order in which they are written down."""
        return tuple([getattr(self, name) for name in self.__slots__])

    def __eq__(self, other: object) -> bool:
        return self.content() == other.content() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.content())

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<hidden>)"


class Key(Part):
    """An authenticator's secret with the parameters that it was made with."""

    __slots__ = ("secret", "algorithm", "digits", "period")  # noqa: RUF023  # the order in which they are written down

    def __init__(self, secret: str, algorithm: Algorithm, digits: int, period: int) -> None:
        self.secret = secret
        """In base64, as it is written down."""
        self.algorithm: Algorithm = algorithm
        self.digits, self.period = digits, period

    def totp(self) -> TOTP:
        """Return the calculator for this key."""
        return TOTP(binascii.a2b_base64(self.secret), algorithm=self.algorithm, digits=self.digits, period=self.period)

    @classmethod
    def of(cls, totp: TOTP) -> "Key":
        """Return what to remember of a calculator."""
        secret = binascii.b2a_base64(totp.secret, newline=False).decode()
        return cls(secret, totp.algorithm, totp.digits, totp.period)


class Pending(Part):
    """A set-up that waits to be confirmed."""

    __slots__ = ("key", "handle", "expires_at", "wrong_codes")  # noqa: RUF023

    def __init__(self, key: Key | None, handle: str, expires_at: int, wrong_codes: int = 0) -> None:
        self.key = key
        """`None` once it has expired: the secret is erased, but its holder still hears why."""
        self.handle, self.expires_at, self.wrong_codes = handle, expires_at, wrong_codes


class Authenticator(Part):
    """A confirmed authenticator app."""

    __slots__ = ("key", "confirmed_at", "last_step", "last_used_at", "failures")  # noqa: RUF023

    def __init__(
        self, key: Key, confirmed_at: int, last_step: int, last_used_at: int, failures: Failures = NO_FAILURES
    ) -> None:
        self.key, self.confirmed_at = key, confirmed_at
        self.last_step = last_step
        """The last time step that was accepted; only later ones are."""
        self.last_used_at, self.failures = last_used_at, failures


class RecoverySet(Part):
    """A set of recovery codes."""

    __slots__ = ("scheme", "length", "slots", "hashes", "issued_at", "spent", "failures")  # noqa: RUF023

    def __init__(
        self,
        scheme: str,
        length: int,
        slots: str,
        hashes: str,
        issued_at: int,
        spent: tuple[tuple[int, int], ...] = (),
        failures: Failures = NO_FAILURES,
    ) -> None:
        self.scheme = scheme
        """As `Scheme.of` names it; taken apart only when a code is hashed."""
        self.length = length
        """Symbols of a code."""
        self.slots = slots
        """The codes' public first symbols; empty once the set is blocked."""
        self.hashes = hashes
        """Each code's salt and hash, packed."""
        self.issued_at = issued_at
        self.spent = spent
        """Place and time of use of each code that was spent: its hash stays, so that a second try is recognised."""
        self.failures = failures

    @property
    def remaining(self) -> int:
        """Codes that can still be used."""
        return len(self.slots) - len(self.spent)

    def blocked(self) -> "RecoverySet":
        """Return the set with nothing left to guess."""
        return self.changed(slots="", hashes="", spent=())


class State(Part):
    """All that is remembered of one user. The empty state is that of someone who was never seen."""

    __slots__ = ("generation", "pending", "authenticator", "recovery", "token")  # noqa: RUF023

    def __init__(
        self,
        generation: str | None = None,
        pending: Pending | None = None,
        authenticator: Authenticator | None = None,
        recovery: RecoverySet | None = None,
        token: tuple[str, int] | None = None,
    ) -> None:
        self.generation = generation
        """A random id, new with every change that should end other sessions."""
        self.pending, self.authenticator, self.recovery = pending, authenticator, recovery
        self.token = token
        """Token and time of the last verification, until it has served as a proof."""

    @property
    def protected(self) -> bool:
        """Whether a login needs the second factor. Every confirm issues a set, and only `disable` takes it away."""
        return self.recovery is not None

    @property
    def name(self) -> "StateName":
        """The state's name in `machine.TABLE`. A set-up that expired still counts: its holder is to hear of it."""
        if self.protected:
            return "active" if self.authenticator else "reenrol"
        return "pending" if self.pending else "none"

    def at(self, now: int) -> "State":
        """Return the state with what has expired by `now` erased, or was made in the future: a clock has moved back."""
        state = self
        waiting, token = state.pending, state.token
        if waiting and waiting.key and not now < waiting.expires_at <= now + LONGEST_SETUP + CLOCK_SKEW:
            state = state.changed(pending=waiting.changed(key=None))
        if token and not token[1] - CLOCK_SKEW <= now < token[1] + TOKEN_LIFETIME:
            state = state.changed(token=None)
        return state

    def __repr__(self) -> str:
        return f"State({self.name})"


class Record(Part):
    """A state as it was or will be stored."""

    __slots__ = ("state", "versions")

    def __init__(self, state: State | None = None, versions: tuple[str, ...] = ()) -> None:
        self.state = State() if state is None else state
        self.versions = versions
        """This record's version and those before it: a writer whose reply was lost can recognise its own write."""

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

    return json.JSONEncoder(separators=(",", ":"), default=Part.content).encode, json.loads


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
