"""A hundred parallel requests of one user, and what another user notices of them: a table in docs/performance.md.

`BENCH_BURSTS` sets how many floods of each kind are measured. From the moment when a flood is sent until its last
request is answered, another user signs in over and over, by recovery code in one half of the floods and by TOTP in the
other. How long that takes is compared with how long it takes alone. That no more than a few hashes go before another
user's is proven without a clock by tests/core/test_flood.py.
"""

from __future__ import annotations

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from measure import NOW, print_lines, setting

from twofa import TOTP, ByCode, ByRecoveryCode, ByVerification, KeyRing, Policy, TwoFactor
from twofa.errors import TwoFactorError
from twofa.stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twofa import RecoveryCodes, Setup, Verification

REQUESTS = 100
USER, OTHER = "user-42", "user-43"
MOST_HASHES = 5
"""Another user's recovery code waits for fewer than these."""
MOST_FACTOR = 2
"""Another user's sign-in by TOTP takes less than so many times as long."""

KINDS = (
    "right codes of the app",
    "wrong codes of the app",
    "right recovery codes",
    "wrong recovery codes",
    "confirmations of a set-up",
    "new sets, by verification",
    "new sets, by a code of the app",
    "new sets, by a recovery code",
)
ALL = "all of these"


class Site:
    """An application with two enrolled users."""

    def __init__(self, policy: Policy) -> None:
        self.now = NOW
        self.store = MemoryStore()
        self.face = TwoFactor(
            self.store, keys=KeyRing(KeyRing.generate_key()), issuer="Example", policy=policy, clock=lambda: self.now
        )
        self.phone, self.codes = self.enrol(USER)
        self.other_phone, self.other_codes = self.enrol(OTHER)
        token = self.face.verify(USER, self.phone.code(self.now)).token
        self.now += 30
        proof = ByCode(self.phone.code(self.now))
        setup = self.face.begin_setup(USER, account_name="alice@example.com", proof=proof)
        self.now += 30
        self._requests = self._every_request(token, setup)
        self._kept = dict(self.store._records)

    def enrol(self, user_id: str) -> tuple[TOTP, RecoveryCodes]:
        """Return the user's app and recovery codes."""
        setup = self.face.begin_setup(user_id, account_name="alice@example.com")
        phone = TOTP.from_uri(setup.uri)
        codes = self.face.confirm_setup(user_id, phone.code(self.now), handle=setup.handle)
        self.face.acknowledge_recovery_codes(user_id)
        self.now += 30
        return phone, codes

    def _every_request(self, token: str, setup: Setup) -> list[Callable[[], object]]:
        face, codes = self.face, self.codes
        code, new_code = self.phone.code(self.now), TOTP.from_uri(setup.uri).code(self.now)
        shown = {self.phone.code(self.now + 30 * steps) for steps in range(-1, 2)}
        wrong = next(code for number in range(9) if (code := str(number) * 6) not in shown)
        wrong_recovery_code = codes[0][:-1] + ("0" if codes[0][-1] != "0" else "1")
        return [
            lambda: face.verify(USER, code),
            lambda: face.verify(USER, wrong),
            lambda: face.redeem_recovery_code(USER, codes[0]),
            lambda: face.redeem_recovery_code(USER, wrong_recovery_code),
            lambda: face.confirm_setup(USER, new_code, handle=setup.handle),
            lambda: face.reset_recovery_codes(USER, proof=ByVerification(token)),
            lambda: face.reset_recovery_codes(USER, proof=ByCode(code)),
            lambda: face.reset_recovery_codes(USER, proof=ByRecoveryCode(codes[1])),
        ]

    def requests(self, kind: str) -> list[Callable[[], object]]:
        """Return what a flood of a kind consists of, over and over."""
        return self._requests if kind == ALL else [self._requests[KINDS.index(kind)]]

    def sign_in_by_totp(self) -> Verification:
        """Sign in as the other user, with a code of the app."""
        return self.face.verify(OTHER, self.other_phone.code(self.now))

    def sign_in_by_recovery_code(self) -> Verification:
        """Sign in as the other user, with a recovery code."""
        return self.face.redeem_recovery_code(OTHER, self.other_codes[0])

    def rewind(self, *user_ids: str) -> None:
        """Put the users' records back to where they were, so that the same codes are right again."""
        self.store._records.update((user_id, self._kept[user_id]) for user_id in user_ids)


class Crowd:
    """The threads that send a flood."""

    def __init__(self, requests: list[Callable[[], object]]) -> None:
        self._requests = requests
        self._start = threading.Barrier(REQUESTS + 1)
        self._pool = ThreadPoolExecutor(REQUESTS)
        self._sent = [self._pool.submit(self._send, number) for number in range(REQUESTS)]

    def _send(self, number: int) -> None:
        self._start.wait()
        with suppress(TwoFactorError):
            self._requests[number % len(self._requests)]()

    def let_loose(self) -> None:
        """Send all requests at once."""
        self._start.wait()

    @property
    def answered(self) -> bool:
        """Whether all have been answered."""
        return all(sent.done() for sent in self._sent)

    def disperse(self) -> None:
        """Wait for all answers."""
        self._pool.shutdown()


class Times(NamedTuple):
    """Seconds."""

    alone: float
    median: float
    slowest: float


def seconds_of(site: Site, call: Callable[[], object]) -> float:
    """Return how long one sign-in of the other user takes."""
    site.rewind(OTHER)
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(site: Site, kind: str, call: Callable[[], object], bursts: int) -> Times:
    """Return how long a sign-in takes alone, and in floods of a kind."""
    alone: list[float] = []
    within: list[float] = []
    for _ in range(bursts):
        site.rewind(USER)
        crowd = Crowd(site.requests(kind))
        alone += [seconds_of(site, call) for _ in range(5)]
        crowd.let_loose()
        within.append(seconds_of(site, call))
        while not crowd.answered:
            within.append(seconds_of(site, call))
        crowd.disperse()
    return Times(statistics.median(alone), statistics.median(within), max(within))


def lines(bursts: int) -> Iterator[tuple[str, bool]]:
    """Yield a line for each kind of flood, and whether it keeps to the bars."""
    site = Site(Policy())
    for kind in (*KINDS, ALL):
        recovery = measure(site, kind, site.sign_in_by_recovery_code, bursts)
        totp = measure(site, kind, site.sign_in_by_totp, bursts)
        hashes, factor = recovery.median / recovery.alone - 1, totp.median / totp.alone
        kept = hashes < MOST_HASHES and factor < MOST_FACTOR
        slow = " / ".join(f"{seconds * 1000:.0f}" for seconds in recovery)
        quick = " / ".join(f"{seconds * 1000:.2f}" for seconds in totp)
        over = "" if kept else "  <-- over"
        yield f"| {kind} | {slow} | {hashes:.1f} | {quick} | {factor:.1f} ×{over} |", kept


def main() -> None:
    """Print the table, and fail if a bar is missed."""
    head = (
        "| a flood of | recovery code, ms: alone / median / slowest | hashes more "
        "| TOTP, ms: alone / median / slowest | factor |"
    )
    print_lines(head, lines(int(setting("BENCH_BURSTS", 5))))


if __name__ == "__main__":
    main()
