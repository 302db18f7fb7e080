"""What a face was made with: keys, issuer, policy, clock, namespace. Checked once, before anyone signs in."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from twofa import _entropy
from twofa._engine import arguments
from twofa._engine.attempt import Attempt
from twofa._engine.decision import Call
from twofa._engine.hashing import threads_for
from twofa._hidden import Hidden, Unexpected
from twofa._record import browsers
from twofa._record.recovery import check_available
from twofa._record.tokens import NONCE_BYTES
from twofa.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from twofa._engine.operation import Operation
    from twofa.keys import KeyRing

    T = TypeVar("T")

_LAST_SECOND = 253_402_300_799 - 86_400
"""A day before the last second that a `datetime` can show, in the year 9999."""


class Settings:
    """A face without its store."""

    def __init__(
        self,
        keys: KeyRing | Unexpected,
        issuer: str,
        policy: Policy | None,
        clock: Callable[[], float],
        namespace: str,
    ) -> None:
        if isinstance(keys, Unexpected):
            raise TypeError(f"keys must be a KeyRing, such as KeyRing.from_env(name) reads, not {keys.kind}")
        policy = Policy() if policy is None else policy
        arguments.require(policy, Policy, "policy", "a Policy")
        if not callable(clock):
            raise TypeError("clock must be a function that returns Unix seconds, such as time.time")
        arguments.check_label("account", issuer)
        check_available(policy.hashing)
        self.keys, self.issuer, self.policy = keys, issuer, policy
        self.namespace = arguments.check_name(namespace, "namespace", shortest=0)
        self._clock = clock
        self._threads = threads_for(policy)

    def now(self) -> int:
        """Return the time in whole Unix seconds; raises `ValueError` where the clock gives none (P3: fail closed)."""
        seconds = self._clock()
        arguments.require(seconds, (int, float), "what clock returns", "Unix seconds, such as time.time returns")
        if not 0 <= seconds <= _LAST_SECOND:
            raise ValueError(f"the clock must return Unix seconds between 1970 and 9999, not {seconds!r}")
        return int(seconds)

    def call(self, operation: str, user_id: str, browser: Hidden[str] | None, source: str | None) -> Call:
        """Return what all operations have in common; raises `TypeError` or `ValueError` for unusable arguments."""
        arguments.check_user_id(user_id)
        now = self.now()
        known = browser and browsers.genuine(
            self.keys, browser.value, user_id=user_id, namespace=self.namespace, now=now
        )
        return Call(
            operation=operation,
            user_id=user_id,
            now=now,
            source=arguments.clean_source(source),
            policy=self.policy,
            threads=self._threads,
            browser=known.generation if known else None,
        )

    def browser_token(self, user_id: str, generation: str) -> str:
        """Return a token that makes a browser known to this user, as long as the generation lasts."""
        arguments.check_user_id(user_id)
        arguments.require(generation, str, "generation", "the generation of a Verification or RecoveryCodes")
        browser = browsers.KnownBrowser(generation=generation, issued_at=self.now())
        nonce = _entropy.random_bytes(NONCE_BYTES)
        return browsers.issue(self.keys, browser, user_id=user_id, namespace=self.namespace, nonce=nonce)

    def attempt(self, operation: Operation[T]) -> Attempt[T]:
        """Return the way of one call from its record to its answer."""
        return Attempt(operation, self.keys.for_user(operation.call.user_id, self.namespace))


def system_clock() -> float:
    """Return the system's Unix time."""
    return time.time()
