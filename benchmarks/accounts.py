"""Enrolled users for the benchmarks, without the slow hashes of their recovery codes.

A record is what the library itself would keep after a few logins, to the byte in size: only the hashes in it are random
bytes. To hash the codes of ten million users for real would take weeks.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from measure import NOW, SECRET

from twofa import TOTP, Change, KeyRing, Policy, TwoFactor
from twofa._engine.attempt import close_record
from twofa._record.recovery import ALPHABET, Scheme, pack
from twofa._record.state import Authenticator, EnrolledTOTP, FreshVerification, RecoverySet, State
from twofa.errors import InvalidCode, Throttled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twofa import Store, Stored

KEYS = KeyRing("QmVuY2htYXJrcyBzZWFsIHdpdGggdGhpcyBvbmUga2U")
"""One for all processes of a benchmark."""
PHONE = TOTP(SECRET)
_STEP = 30
_LONG_AGO = 31 * 86_400
"""Seconds after which a wrong code is forgotten altogether."""


def synthetic_record(user_id: str, keys: KeyRing = KEYS) -> Stored:
    """Return a sealed record of an enrolled user whose app holds the benchmark's secret."""
    policy = Policy()
    salts = tuple(os.urandom(16) for _ in range(policy.recovery_codes))
    hashes = [os.urandom(32) for _ in salts]
    state = State(
        generation=os.urandom(16).hex(),
        authenticator=Authenticator(
            totp=EnrolledTOTP.of(PHONE), confirmed_at=NOW, last_step=NOW // _STEP, last_used_at=NOW
        ),
        recovery=RecoverySet(
            scheme=str(Scheme.of(policy)),
            length=policy.recovery_code_length,
            slots=ALPHABET[: len(salts)],
            hashes=pack(salts, hashes),
            issued_at=NOW,
            acknowledged=True,
        ),
        verification=FreshVerification(token=os.urandom(16).hex(), at=NOW),
    )
    return close_record(keys.for_user(user_id), state, tuple(os.urandom(16).hex() for _ in range(3)))


class Account:
    """One enrolled user in a store, who lives at a time of their own."""

    def __init__(self, store: Store, user_id: str, keys: KeyRing = KEYS) -> None:
        self.user_id, self.store, self.now = user_id, store, NOW
        self.two_factor = TwoFactor(store, keys=keys, issuer="Example", clock=lambda: self.now)

    def enrol(self) -> Account:
        """Put the record into the store."""
        if not self.store.swap(self.user_id, Change(None, synthetic_record(self.user_id))):
            raise RuntimeError(f"{self.user_id} is enrolled already")
        return self

    def right_codes(self, how_many: int) -> Iterator[tuple[int, str]]:
        """Yield times and the codes that are right then, to take turns with `wrong_codes`: they clear the failures."""
        times = range(self.now + _LONG_AGO, self.now + 2 * how_many * _LONG_AGO, 2 * _LONG_AGO)
        return iter([(at, PHONE.code(at)) for at in times])

    def wrong_codes(self, how_many: int) -> Iterator[tuple[int, str]]:
        """Yield times and codes that are wrong then, so far apart that no failure is remembered at the next."""
        times = range(self.now + 2 * _LONG_AGO, self.now + (2 * how_many + 1) * _LONG_AGO, 2 * _LONG_AGO)
        return iter([(at, wrong_code(at)) for at in times])

    def sign_in(self, at: int, code: str) -> None:
        """Verify a code that is right."""
        self.now = at
        self.two_factor.verify(self.user_id, code)

    def fail(self, at: int, code: str) -> None:
        """Verify a code that is wrong, or come during a wait."""
        self.now = at
        try:
            self.two_factor.verify(self.user_id, code)
        except (InvalidCode, Throttled):
            return
        raise AssertionError("a wrong code was accepted")

    def begin_to_wait(self) -> None:
        """Fail until no code is looked at any more."""
        while not self.two_factor.status(self.user_id).retry_at:
            self.fail(self.now, wrong_code(self.now))


def wrong_code(at: int) -> str:
    """Return a code that is wrong at this time."""
    return next(code for code in ("000000", "111111", "222222", "333333") if PHONE.match(code, at) is None)
