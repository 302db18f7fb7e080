"""P10: a hundred parallel requests of one user, of whatever kind, delay nobody else by more than a few hashes.

Nothing here is timed: hashes are held up, and those are counted that go before another user's. The hashes are real.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from flood import ALL, KINDS, MOST_HASHES, OTHER, REQUESTS, Site

from twofa import Argon2id, Policy
from twofa._engine import hashing, queue
from twofa._record.recovery import Scheme
from twofa.errors import TwoFactorError

if TYPE_CHECKING:
    from twofa._hidden import Hidden

POLICY = Policy(recovery_codes=6, hashing=Argon2id(memory_kib=12_288, iterations=3), hash_threads=2)
"""A set takes more hashes than anybody may have to wait for."""


class HeldUp:
    """The pool's hashes: they wait until `go` is set, and are noted in the order in which they begin."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.go.set()
        self._changed = threading.Condition()
        self._running = self._idle = 0
        self.watched: str | None = None
        self.submitted = threading.Event()
        self.before = -1
        """Hashes that were under way when the watched one was submitted, or began before it."""
        digest, submit, run, wait = Scheme.digest, hashing._Pool.submit, hashing.Job.run, queue.Position.wait

        def held_up(scheme: Scheme, salt: bytes, code: Hidden[str]) -> bytes:
            with self._changed:
                self._running += 1
                if code.value == self.watched:
                    self.watched = None
                elif self.submitted.is_set() and self.watched:
                    self.before += 1
            try:
                assert self.go.wait(60)
                return digest(scheme, salt, code)
            finally:
                with self._changed:
                    self._running -= 1

        def noted(pool: Any, urgency: int, function: Any, *arguments: Any) -> Any:
            if self.watched and arguments[-1].value == self.watched:
                with self._changed:
                    self.before = self._running
                    self.submitted.set()
            return submit(pool, urgency, function, *arguments)

        def hashed(job: hashing.Job) -> hashing.Done:
            self.count_idle(1)
            try:
                return run(job)
            finally:
                self.count_idle(-1)

        def idling(position: queue.Position) -> bool:
            if position._queue.patience != queue.SLOW_WORK_PATIENCE:
                return wait(position)
            self.count_idle(1)
            try:
                return wait(position)
            finally:
                self.count_idle(-1)

        monkeypatch.setattr(Scheme, "digest", held_up)
        monkeypatch.setattr(hashing._Pool, "submit", noted)
        monkeypatch.setattr(hashing.Job, "run", hashed)
        monkeypatch.setattr(queue.Position, "wait", idling)

    def count_idle(self, more: int) -> None:
        """Note that a call waits for hashes or for its turn, or has ended."""
        with self._changed:
            self._idle += more
            self._changed.notify_all()

    def settle(self, calls: int) -> None:
        """Wait until so many calls wait or have ended."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._idle >= calls, 60)


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> HeldUp:
    """Hashes that can be held up."""
    return HeldUp(monkeypatch)


@pytest.mark.parametrize("kind", [*KINDS, ALL])
def test_a_flood_delays_nobody_else(kind: str, held_up: HeldUp) -> None:
    """While its hashes are held up another user signs in by TOTP; a recovery code waits for fewer than five of them."""
    site = Site(POLICY)
    flood, code = site.requests(kind), site.other_codes[0]
    held_up.go.clear()

    def one(number: int) -> None:
        with contextlib.suppress(TwoFactorError):
            flood[number % len(flood)]()
        held_up.count_idle(1)

    with ThreadPoolExecutor(REQUESTS + 1) as crowd:
        try:
            sent = [crowd.submit(one, number) for number in range(REQUESTS)]
            held_up.settle(REQUESTS)
            assert OTHER == site.sign_in_by_totp().user_id
            held_up.watched = code.replace("-", "")
            redeemed = crowd.submit(site.sign_in_by_recovery_code)
            assert held_up.submitted.wait(60)
        finally:
            held_up.go.set()
        assert OTHER == redeemed.result(60).user_id
        for each in sent:
            each.result(60)
    assert 0 <= held_up.before < MOST_HASHES
