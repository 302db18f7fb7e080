"""How a record is written inside the seal: JSON with a schema number.

Each value of `state` is a JSON array of its fields, in their order, and `null` where there is none. That is a third of
the size of objects with names, and a record must stay below 8,192 bytes. A new field goes to the end of its class,
under a new schema number, with a function here that reads the older form: whatever was ever written stays readable
(P12).
"""

from __future__ import annotations

import json
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from twofa._record.state import (
    Authenticator,
    EnrolledTOTP,
    FreshVerification,
    Pending,
    Record,
    RecoverySet,
    State,
)
from twofa._record.throttle import NO_FAILURES, NO_LANE, Failures, Lane
from twofa.errors import RecordDamaged, UnsupportedRecord

if TYPE_CHECKING:
    from collections.abc import Callable

_encode = json.JSONEncoder(separators=(",", ":")).encode
_decode = json.JSONDecoder().decode

SCHEMA = 2
"""The form that this version writes. It reads every older one, and refuses a newer one."""

_REMEMBERED_VERSIONS = 4
"""One is enough unless a reply is lost while others write: each of their writes moves it one place further back."""

_LOOSEST_BLOCK_AFTER = 100
"""Schema 1 did not keep the limit under which failures were counted: this is the loosest that a policy allows."""


def dump(record: Record) -> bytes:
    """Return the document to seal."""
    versions = " ".join(record.versions[:_REMEMBERED_VERSIONS])
    return _encode({"schema": SCHEMA, "state": _written_state(record.state), "versions": versions}).encode()


def load(document: bytes) -> Record:
    """Read what `dump` wrote, in this version or an older one.

    Raises `UnsupportedRecord` for a schema that this version does not know, `RecordDamaged` for anything else.
    """
    record = _read(document)
    del document
    if isinstance(record, Record):
        return record
    raise record


def _read(document: bytes) -> Record | RecordDamaged | UnsupportedRecord:
    # Returned, not raised: a frame that an exception leaves must not hold the document.
    try:
        fields = _decode(document.decode())
        schema = fields["schema"]
        read_state = _READERS.get(schema) if type(schema) is int else None
        if read_state is not None:
            return Record(state=read_state(*fields["state"]), versions=tuple(fields["versions"].split()))
    except (ValueError, TypeError, KeyError, AttributeError):
        return RecordDamaged()
    if type(schema) is int and schema > SCHEMA:
        return UnsupportedRecord(
            f"the stored record has schema {schema}, and this version of twofa reads up to {SCHEMA}: "
            "upgrade this instance"
        )
    return UnsupportedRecord("the stored record has a schema that no version of twofa wrote: restore a backup")


# --- written -------------------------------------------------------------------------------------------------------


def _written_state(state: State) -> list[object]:
    return [
        state.generation,
        state.pending and _written_pending(state.pending),
        state.authenticator and _written_authenticator(state.authenticator),
        state.recovery and _written_recovery(state.recovery),
        state.verification and [state.verification.token, state.verification.at],
    ]


def _written_totp(totp: EnrolledTOTP) -> list[object]:
    return [totp.secret, totp.algorithm, totp.digits, totp.period]


def _written_pending(pending: Pending) -> list[object]:
    return [pending.totp and _written_totp(pending.totp), pending.handle, pending.expires_at, pending.wrong_codes]


def _written_authenticator(held: Authenticator) -> list[object]:
    totp, failures = _written_totp(held.totp), _written_failures(held.failures)
    return [totp, held.confirmed_at, held.last_step, held.last_used_at, failures]


def _written_recovery(held: RecoverySet) -> list[object]:
    return [
        held.scheme,
        held.length,
        held.slots,
        held.hashes,
        held.issued_at,
        held.spent,
        _written_failures(held.failures),
        held.acknowledged,
        held.reading,
    ]


def _written_failures(failures: Failures) -> list[object] | None:
    """Return the counts, or `None` for those of somebody who never failed: most people have none."""
    if failures == NO_FAILURES:
        return None
    return [
        failures.consecutive,
        _written_lane(failures.known),
        _written_lane(failures.strangers),
        failures.block_after,
        failures.since_grant,
        failures.grants,
        failures.suspected_at,
    ]


def _written_lane(lane: Lane) -> list[object] | None:
    return None if lane == NO_LANE else [lane.in_a_row, lane.last, _differences(lane.recent)]


def _differences(times: tuple[int, ...]) -> list[int]:
    """Return the first time, and how much later each further one is: half the size of a hundred Unix times."""
    return [later - earlier for earlier, later in zip((0, *times), times, strict=False)]


# --- read: schema 2 ------------------------------------------------------------------------------------------------


def _read_state(generation: str | None, pending: Any, authenticator: Any, recovery: Any, verification: Any) -> State:
    return State(
        generation=generation,
        pending=pending and _read_pending(*pending),
        authenticator=authenticator and _read_authenticator(*authenticator),
        recovery=recovery and _read_recovery(*recovery),
        verification=verification and _read_verification(*verification),
    )


def _read_totp(secret: str, algorithm: Any, digits: int, period: int) -> EnrolledTOTP:
    return EnrolledTOTP(secret=secret, algorithm=algorithm, digits=digits, period=period)


def _read_pending(totp: Any, handle: str, expires_at: int, wrong_codes: int) -> Pending:
    return Pending(totp=totp and _read_totp(*totp), handle=handle, expires_at=expires_at, wrong_codes=wrong_codes)


def _read_authenticator(
    totp: Any, confirmed_at: int, last_step: int, last_used_at: int | None, failures: Any
) -> Authenticator:
    return Authenticator(
        totp=_read_totp(*totp),
        confirmed_at=confirmed_at,
        last_step=last_step,
        last_used_at=last_used_at,
        failures=NO_FAILURES if failures is None else _read_failures(*failures),
    )


def _read_recovery(
    scheme: str,
    length: int,
    slots: str,
    hashes: str,
    issued_at: int,
    spent: Any,
    failures: Any,
    acknowledged: bool,  # the fields come as an array
    reading: Any,
) -> RecoverySet:
    return RecoverySet(
        scheme=scheme,
        length=length,
        slots=slots,
        hashes=hashes,
        issued_at=issued_at,
        spent=tuple((index, at) for index, at in spent),
        failures=NO_FAILURES if failures is None else _read_failures(*failures),
        acknowledged=acknowledged,
        reading=reading,
    )


def _read_verification(token: str, at: int) -> FreshVerification:
    return FreshVerification(token=token, at=at)


def _read_failures(
    consecutive: int, known: Any, strangers: Any, block_after: int, since_grant: int, grants: Any, suspected_at: int
) -> Failures:
    return Failures(
        consecutive=consecutive,
        known=NO_LANE if known is None else _read_lane(*known),
        strangers=NO_LANE if strangers is None else _read_lane(*strangers),
        block_after=block_after,
        since_grant=since_grant,
        grants=tuple(grants),
        suspected_at=suspected_at,
    )


def _read_lane(in_a_row: int, last: int, differences: Any) -> Lane:
    return Lane(in_a_row=in_a_row, last=last, recent=tuple(accumulate(differences)))


# --- read: schema 1, which had no lanes and did not know whether codes were acknowledged ---------------------------


def _read_state_1(generation: str | None, pending: Any, authenticator: Any, recovery: Any, token: Any) -> State:
    return State(
        generation=generation,
        pending=pending and _read_pending(*pending),
        authenticator=authenticator and _read_authenticator_1(*authenticator),
        recovery=recovery and _read_recovery_1(*recovery),
        verification=token and _read_verification(*token),
    )


def _read_authenticator_1(
    totp: Any, confirmed_at: int, last_step: int, last_used_at: int, failures: Any
) -> Authenticator:
    return Authenticator(
        totp=_read_totp(*totp),
        confirmed_at=confirmed_at,
        last_step=last_step,
        last_used_at=last_used_at,
        failures=_read_failures_1(*failures),
    )


def _read_recovery_1(
    scheme: str, length: int, slots: str, hashes: str, issued_at: int, spent: Any, failures: Any
) -> RecoverySet:
    return RecoverySet(
        scheme=scheme,
        length=length,
        slots=slots,
        hashes=hashes,
        issued_at=issued_at,
        spent=tuple((index, at) for index, at in spent),
        failures=_read_failures_1(*failures),
        # Nobody was asked then. To tell all of them that their codes are not saved would be a false alarm.
        acknowledged=True,
    )


def _read_failures_1(in_a_row: int, last: int, recent: list[int]) -> Failures:
    # Nothing tells which of them came from the owner's browser.
    strangers = Lane(in_a_row=in_a_row, last=last, recent=_distinct(recent))
    limit = _LOOSEST_BLOCK_AFTER if in_a_row or recent else 0
    return Failures(consecutive=in_a_row, strangers=strangers, block_after=limit)


def _distinct(times: list[int]) -> tuple[int, ...]:
    distinct: list[int] = []
    for at in sorted(times):
        distinct.append(max(at, distinct[-1] + 1) if distinct else at)
    return tuple(distinct)


_READERS: dict[int, Callable[..., State]] = {1: _read_state_1, 2: _read_state}
