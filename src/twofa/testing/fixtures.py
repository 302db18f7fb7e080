"""Fixtures for the tests of an application: an enrolled user in one line, at a time that the test sets.

Nothing here is registered by being installed. Say `pytest_plugins = ["twofa.testing.fixtures"]` in the `conftest.py` at
the top of your tests, or import what you need into another one. Override `twofa_store` to run on a store of your own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from twofa.asynchronous import AsyncTwoFactor
from twofa.blocking import TwoFactor
from twofa.keys import KeyRing
from twofa.stores.memory import MemoryStore
from twofa.stores.threaded import ThreadedStore
from twofa.testing.cheap_policy import FOR_TESTS_ONLY
from twofa.testing.clock import Clock
from twofa.testing.phone import Phone

if TYPE_CHECKING:
    from collections.abc import Callable

    from twofa.events import Event
    from twofa.results import RecoveryCodes
    from twofa.stores.protocol import Store


class Enrolled(NamedTuple):
    """What a user holds in their hands."""

    phone: Phone
    """The app that has scanned the QR code."""
    codes: RecoveryCodes
    """The recovery codes that were shown."""


@pytest.fixture
def twofa_clock() -> Clock:
    """The time, which stands still until the test moves it."""
    return Clock()


@pytest.fixture
def twofa_store() -> Store:
    """Where the records are: in memory."""
    return MemoryStore()


@pytest.fixture
def twofa_events() -> list[Event]:
    """The events that happened, in order."""
    return []


@pytest.fixture
def twofa_keys() -> KeyRing:
    """The keys that seal the records: new ones for each test."""
    return KeyRing(KeyRing.generate_key())


@pytest.fixture
def two_factor(twofa_store: Store, twofa_keys: KeyRing, twofa_clock: Clock, twofa_events: list[Event]) -> TwoFactor:
    """The blocking face, with the policy that is cheap."""
    return TwoFactor(
        twofa_store,
        keys=twofa_keys,
        issuer="Example",
        policy=FOR_TESTS_ONLY,
        clock=twofa_clock,
        on_event=twofa_events.append,
    )


@pytest.fixture
def async_two_factor(
    twofa_store: Store, twofa_keys: KeyRing, twofa_clock: Clock, twofa_events: list[Event]
) -> AsyncTwoFactor:
    """The asynchronous face on the same records: whom `enrol` enrols can sign in here."""
    return AsyncTwoFactor(
        ThreadedStore(twofa_store),
        keys=twofa_keys,
        issuer="Example",
        policy=FOR_TESTS_ONLY,
        clock=twofa_clock,
        on_event=twofa_events.append,
    )


@pytest.fixture
def enrol(two_factor: TwoFactor, twofa_clock: Clock) -> Callable[..., Enrolled]:
    """A function that enrols a user and returns the phone and the recovery codes.

    The clock moves on to the next time step, since the code that confirmed the set-up is spent.
    """

    def enrol(user_id: str, account_name: str = "alice@example.com") -> Enrolled:
        setup = two_factor.begin_setup(user_id, account_name=account_name)
        phone = Phone(setup.uri, twofa_clock)
        codes = two_factor.confirm_setup(user_id, phone.code(), handle=setup.handle)
        twofa_clock.advance(phone.period)
        return Enrolled(phone, codes)

    return enrol
