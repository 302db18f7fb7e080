"""What the tests share: a clock to set, a phone that is not our own arithmetic, and a world to try both faces in."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pyotp
import pytest

from twofa import AsyncTwoFactor, EventKind, KeyRing, Policy, Throttle, TwoFactor, Verification
from twofa.errors import InvalidCode
from twofa.stores import MemoryStore, ThreadedStore
from twofa.testing import FOR_TESTS_ONLY, Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from twofa import Change, Event, RecoveryCodes, Setup, Store, Stored

USER = "user-42"
ACCOUNT = "alice@example.com"
KEY = "T2ZmaWNpYWwgdGVzdCBrZXksIDMyIGJ5dGVzIGxvbmc"
OTHER_KEY = "QW5vdGhlciB0ZXN0IGtleSBvZiAzMiBieXRlcywgb2s"

FAST = FOR_TESTS_ONLY
"""Codes of 115 bits, which need no slow hash: for tests that are not about hashing."""


class Phone:
    """An authenticator app: scans a Key URI and shows codes, by pyotp's arithmetic and not ours."""

    def __init__(self, uri: str, clock: Clock) -> None:
        self._totp = cast("pyotp.TOTP", pyotp.parse_uri(uri))
        self._clock = clock
        self.period = self._totp.interval
        self.secret = self._totp.secret

    def code(self, steps: int = 0) -> str:
        """Return what it shows now, or would show that many time steps later."""
        return self._totp.at(self._clock.now + steps * self.period)

    def wrong_code(self) -> str:
        """Return a code that it shows in none of the five time steps around now."""
        shown = {self.code(steps) for steps in range(-2, 3)}
        digits = len(self.code())
        return next(code for code in (str(n) * digits for n in range(10)) if code not in shown)


class CountingStore(MemoryStore):
    """A memory store that counts what reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.loads = self.writes = 0

    def load(self, user_id: str) -> Stored | None:
        self.loads += 1
        return super().load(user_id)

    def swap(self, user_id: str, change: Change) -> bool:
        self.writes += 1
        return super().swap(user_id, change)


class Awaited:
    """An `AsyncTwoFactor` called like a `TwoFactor`, so that one suite judges both."""

    def __init__(self, face: AsyncTwoFactor, run: Callable[[Coroutine[Any, Any, Any]], Any] = asyncio.run) -> None:
        self._face, self._run = face, run

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._face, name)
        if not inspect.iscoroutinefunction(method):
            return cast("Callable[..., Any]", method)

        def call(*args: object, **named: object) -> Any:
            return self._run(method(*args, **named))

        return call


class InAKnownBrowser:
    """A face whose every attempt comes from a browser that the owner has used before."""

    def __init__(self, face: Any, browser: str) -> None:
        self._face, self._browser = face, browser

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._face, name)
        takes_a_browser = "browser" in inspect.signature(getattr(TwoFactor, name)).parameters
        return partial(method, browser=self._browser) if takes_a_browser else method


class World:
    """One application with one face, its store, clock and events."""

    def __init__(
        self, kind: str, *, policy: Policy = FAST, store: Store | None = None, keys: KeyRing | None = None
    ) -> None:
        self.kind = kind
        self.clock = Clock()
        self.store = store if store is not None else CountingStore()
        self.events: list[Event] = []
        self.keys = keys or KeyRing(KEY)
        self.face = self.new_face(policy)

    def new_face(self, policy: Policy = FAST, **options: Any) -> TwoFactor:
        """Return another instance of the application on the same records: a restart, or a change of policy."""
        options = {"keys": self.keys, "issuer": "Example", "policy": policy, "clock": self.clock, **options}
        options.setdefault("on_event", self.events.append)
        if self.kind == "blocking":
            return TwoFactor(self.store, **options)
        return cast("TwoFactor", Awaited(AsyncTwoFactor(ThreadedStore(self.store), **options)))

    def begin(self, user_id: str = USER, **options: Any) -> Setup:
        """Begin a set-up."""
        return self.face.begin_setup(user_id, account_name=ACCOUNT, **options)

    def phone(self, setup: Setup) -> Phone:
        """Scan a set-up's QR code."""
        return Phone(setup.uri, self.clock)

    def confirm(self, setup: Setup, user_id: str = USER) -> tuple[Phone, RecoveryCodes]:
        """Confirm a set-up, and wait for the next time step."""
        phone = self.phone(setup)
        codes = self.face.confirm_setup(user_id, phone.code(), handle=setup.handle)
        self.save_codes(user_id)
        self.clock.advance(phone.period)
        return phone, codes

    def save_codes(self, user_id: str = USER) -> None:
        """Say that the codes are saved. Every owner does, so no test counts it among what it looks at."""
        self.face.acknowledge_recovery_codes(user_id)
        if self.events and self.events[-1].kind is EventKind.RECOVERY_CODES_ACKNOWLEDGED:
            self.events.pop()

    def resume(self, setup: Setup, user_id: str = USER) -> Setup:
        """Look at a set-up again."""
        return self.face.resume_setup(user_id, handle=setup.handle, account_name=ACCOUNT)

    def browser(self, user_id: str = USER) -> str:
        """Return the token of a browser that the user has signed in with before."""
        return self.face.browser_token(user_id, generation=self.face.status(user_id).generation or "")

    def block_authenticator(self, phone: Phone, user_id: str = USER) -> None:
        """Enter wrong codes in a known browser until the authenticator is blocked, under a policy that needs three."""
        impatient = self.new_face(replace(FAST, throttle=Throttle(block_after=3)))
        browser = self.browser(user_id)
        for _ in range(3):
            with contextlib.suppress(InvalidCode):
                impatient.verify(user_id, phone.wrong_code(), browser=browser)

    def enrol(self, user_id: str = USER) -> tuple[Phone, RecoveryCodes]:
        """Set up and confirm."""
        return self.confirm(self.begin(user_id), user_id)

    def login(self, phone: Phone, user_id: str = USER) -> Verification:
        """Sign in with the app's code, and wait for the next time step."""
        verification = self.face.verify(user_id, phone.code())
        self.clock.advance(phone.period)
        return verification

    def kinds(self) -> list[str]:
        """Return the kinds of all events so far."""
        return [str(event.kind) for event in self.events]

    def record(self, user_id: str = USER) -> Stored | None:
        """Return the stored record itself."""
        return self.store.load(user_id)


def enter_wrong_codes(world: World, phone: Phone | None, times: int) -> list[InvalidCode]:
    """Enter wrong codes: of the app, or without one recovery codes. Return how each was refused."""
    check = world.face.verify if phone else world.face.redeem_recovery_code
    refusals: list[InvalidCode] = []
    for _ in range(times):
        with pytest.raises(InvalidCode) as refusal:
            check(USER, phone.wrong_code() if phone else "Z" * 24)
        refusals.append(refusal.value)
    return refusals
