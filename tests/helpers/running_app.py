"""The running application beside which an operator works, on each store and with each face."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import strength
from operated_app import close, make_store
from operator_console import Operator
from postgresql import on_postgresql, server
from support import FAST, KEY, OTHER_KEY

from twofa import KeyRing, RecoveryCodes, TwoFactor
from twofa.testing import Clock, Phone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KINDS = [
    "sqlite, blocking",
    "sqlite, async",
    pytest.param("postgresql, blocking", marks=on_postgresql),
    pytest.param("postgresql, async", marks=on_postgresql),
]


KILLED = KINDS if strength.PROOF else [KINDS[0], KINDS[3]]
"""Where long commands are killed, and run beside logins: every day on each store and with each face once."""


@dataclass
class Application:
    """The running application, beside which its operator works. Its clock runs ahead as its users sign in."""

    store: Any
    operator: Operator
    clock: Clock = field(default_factory=lambda: Clock(int(time.time())))

    def two_factor(self, *keys: str, namespace: str = "") -> TwoFactor:
        """Return the application's object, in this process."""
        ring = KeyRing(*keys or [KEY])
        return TwoFactor(self.store, keys=ring, issuer="Example", policy=FAST, clock=self.clock, namespace=namespace)

    def move_in(self, *user_ids: str, key: str = OTHER_KEY) -> None:
        """Enrol many users quickly."""
        two_factor = self.two_factor(key)
        for user_id in user_ids:
            two_factor.import_authenticator(user_id, bytes(range(20)), by="ops", reason="moved")

    def enrol(self, user_id: str, *keys: str, namespace: str = "") -> tuple[Phone, RecoveryCodes]:
        """Enrol a user."""
        two_factor = self.two_factor(*keys, namespace=namespace)
        setup = two_factor.begin_setup(user_id, account_name="alice@example.com")
        phone = Phone(setup.uri, self.clock)
        codes = two_factor.confirm_setup(user_id, phone.code(), handle=setup.handle)
        self.clock.advance(phone.period)
        return phone, codes


@contextmanager
def make_application(engine: str, tmp_path: Path, *, awaits: bool = False) -> Iterator[Application]:
    where = str(tmp_path / "app.db")
    if engine == "postgresql":
        where = server().url(server().new_database(), driver="psycopg")
    with ExitStack() as stack:
        store = make_store(where, awaits=False)
        if engine == "postgresql":
            stack.callback(close)
            store.create_tables()
        else:
            stack.enter_context(store)
        yield Application(store, Operator(where, f"{KEY},{OTHER_KEY}", awaits=awaits))
