"""P11, nothing leaks: whatever goes wrong in a session, no code, token, handle or state is in what can be seen of it."""

from __future__ import annotations

import asyncio
import inspect
import logging
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hosts import Store, StoreDown
from leaks import frames, shown
from support import ACCOUNT, FAST, Phone, World

from twofa import AsyncTwoFactor, TwoFactor
from twofa import _entropy as entropy
from twofa.errors import (
    CodeRequired,
    CodeReused,
    InvalidCode,
    MalformedCode,
    NoSetup,
    NotEnrolled,
    ProofRequired,
    RecordDamaged,
    SignInRequired,
    Throttled,
)
from twofa.session import AsyncSession, Session
from twofa.stores import Stored, ThreadedStore
from twofa.stores.protocol import Change

if TYPE_CHECKING:
    from collections.abc import Callable

JUNK = "CANARY-97531"
POLICY = replace(FAST, digits=8)
"""Codes of eight digits, so that none is found in a number by chance."""


class Scene:
    """A session with everything in it that is secret, on either face."""

    def __init__(self, kind: str) -> None:
        self.store = Store()
        self.world = World("blocking", store=self.store, policy=POLICY)
        self.phone, codes = self.world.enrol("alice")
        self.world.face.acknowledge_recovery_codes("alice")
        self.codes = list(codes)
        self.held: dict[str, str] = {}
        options: dict[str, Any] = {"keys": self.world.keys, "issuer": "Example", "policy": POLICY}
        options["clock"] = self.world.clock
        self.face: Any = (
            TwoFactor(self.store, **options)
            if kind == "blocking"
            else AsyncTwoFactor(ThreadedStore(self.store), **options)
        )
        self.cookie = ""
        self.rotate: Callable[[], object] | None = None
        self.secrets = [*codes, self.phone.secret, JUNK]

    def me(self) -> Any:
        """Open the session."""
        return Called(run(self.face.session(self.held, rotate=self.rotate)))

    def owe(self) -> Any:
        """Give the password."""
        me = self.me()
        with pytest.raises(CodeRequired):
            me.password_accepted("alice")
        return me

    def sign_in(self) -> Any:
        """Give the password and a code, and begin to replace the app."""
        me = self.owe()
        me.verify(self.keep(self.phone.code()))
        self.world.clock.advance(30)
        setup = me.begin_setup(ACCOUNT)
        me.verify(self.keep(self.phone.code()))
        self.world.clock.advance(30)
        self.cookie = me.browser_cookie()["value"]
        self.secrets += [setup.handle, setup.uri, Phone(setup.uri, self.world.clock).secret, self.cookie]
        return me

    def keep(self, secret: str) -> str:
        """Note a secret."""
        self.secrets.append(secret)
        return secret

    def found(self, seen: str) -> list[str]:
        """Return the secrets that can be seen, what the session held at any time among them."""
        return [secret for secret in {*self.secrets, *self.held.values()} if secret and secret in seen]


class Called:
    """A session whose coroutines are waited for."""

    def __init__(self, me: Any) -> None:
        self.me = me

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.me, name)
        return (lambda *args, **named: run(found(*args, **named))) if inspect.ismethod(found) else found


def run(value: Any) -> Any:
    return asyncio.run(value) if asyncio.iscoroutine(value) else value


def throttled(scene: Scene) -> Any:
    me = scene.owe()
    for _ in range(5):
        with pytest.raises(InvalidCode):
            me.verify(scene.keep(scene.phone.wrong_code()))
    return me.verify(scene.keep(scene.phone.code()))


def reused(scene: Scene) -> Any:
    scene.owe().verify(scene.keep(scene.phone.code()))
    return scene.owe().verify(scene.phone.code())


def spent(scene: Scene) -> Any:
    me = scene.sign_in()
    me.begin_setup(ACCOUNT)
    return me.disable()


def ended(scene: Scene) -> Any:
    me = scene.sign_in()
    scene.world.face.end_sessions("alice")
    return me.reset_recovery_codes(scene.keep(scene.phone.code()))


def down(scene: Scene, act: Callable[[Any], Any]) -> Any:
    me = scene.sign_in()
    scene.store.down = True
    return act(me)


def damaged(scene: Scene) -> Any:
    me = scene.sign_in()
    stored = scene.store.load("alice")
    assert stored
    scene.store.swap("alice", Change(stored.version, Stored("damaged", stored.document[:-4] + "AAAA")))
    return me.confirm_setup(scene.keep(scene.phone.code()))


def cannot_rotate(scene: Scene) -> Any:
    scene.owe()

    def rotate() -> None:
        raise StoreDown

    scene.rotate = rotate
    return scene.me().verify(scene.keep(scene.phone.code()))


def not_enrolled(scene: Scene) -> Any:
    me = scene.me()
    me.password_accepted("bob")
    return me.verify(scene.keep(scene.phone.code()))


PATHS: dict[str, tuple[type[BaseException], Callable[[Scene], Any]]] = {
    "nobody": (SignInRequired, lambda scene: scene.me().verify(scene.keep(scene.phone.code()))),
    "half": (CodeRequired, lambda scene: scene.owe().disable(scene.keep(scene.phone.code()))),
    "malformed": (MalformedCode, lambda scene: scene.owe().verify(JUNK)),
    "wrong": (InvalidCode, lambda scene: scene.owe().verify(scene.keep(scene.phone.wrong_code()))),
    "wrong recovery code": (InvalidCode, lambda scene: scene.owe().verify(scene.keep("Z" + scene.codes[0][1:]))),
    "throttled": (Throttled, throttled),
    "reused": (CodeReused, reused),
    "not enrolled": (NotEnrolled, not_enrolled),
    "no setup": (NoSetup, lambda scene: scene.owe().verify(scene.codes[0]) and scene.me().confirm_setup(JUNK)),
    "verification spent": (ProofRequired, spent),
    "proof malformed": (MalformedCode, lambda scene: scene.sign_in().disable(JUNK)),
    "proof wrong": (InvalidCode, lambda scene: scene.sign_in().begin_setup(ACCOUNT, scene.phone.wrong_code())),
    "ended": (SignInRequired, ended),
    "a code of another type": (TypeError, lambda scene: scene.sign_in().disable([JUNK])),
    "a label that no app shows": (ValueError, lambda scene: scene.sign_in().begin_setup("a:b", scene.codes[0])),
    "a user of another type": (TypeError, lambda scene: scene.me().password_accepted(42, cookies={"a": JUNK})),
    "trust for too long": (ValueError, lambda scene: scene.sign_in().browser_cookie(trust_days=1000)),
    "store down at verify": (StoreDown, lambda scene: down(scene, lambda me: me.verify(scene.codes[0]))),
    "store down at confirm": (StoreDown, lambda scene: down(scene, lambda me: me.confirm_setup("123456"))),
    "store down at the setup": (StoreDown, lambda scene: down(scene, lambda me: me.setup())),
    "store down at sign out": (StoreDown, lambda scene: down(scene, lambda me: me.sign_out(everywhere=True))),
    "damaged record": (RecordDamaged, damaged),
    "no new id": (StoreDown, cannot_rotate),
    "bearer": (SignInRequired, lambda scene: Called(run(scene.face.bearer(JUNK))).require()),
    "ticket": (SignInRequired, lambda scene: run(scene.face.verify_ticket(JUNK, scene.codes[0]))),
    "ticket, wrong code": (
        MalformedCode,
        lambda scene: run(scene.face.verify_ticket(scene.keep(run(scene.face.login_ticket("alice"))), JUNK)),
    ),
}


@pytest.mark.parametrize("kind", ["blocking", "awaiting"])
@pytest.mark.parametrize("name", PATHS)
def test_no_refusal_shows_a_secret(name: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the messages, nor the local variables of any frame, nor the log."""
    caplog.set_level(logging.DEBUG)
    expected, path = PATHS[name]
    scene = Scene(kind)
    with pytest.raises(expected) as refusal:
        path(scene)

    library = [entry for entry in refusal.traceback if "/twofa/" in str(entry.path)]
    assert library
    assert frames(refusal.value)
    assert [] == scene.found(shown_by_the_library(refusal.value) + caplog.text)


def shown_by_the_library(error: BaseException) -> str:
    """Return what a tracker shows, without the frames of the tests, which have to hold what they type."""
    trace = error.__traceback__
    while trace is not None and "/tests/" in trace.tb_frame.f_code.co_filename:
        trace = trace.tb_next
    return shown(error.with_traceback(trace))


@pytest.mark.parametrize("kind", ["blocking", "awaiting"])
def test_chance_that_fails_shows_no_secret(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the operating system's generator fails at sealing the state, the error carries nothing of it."""
    scene = Scene(kind)
    me = scene.sign_in()
    code = scene.keep(scene.phone.code())
    drawn = entropy.random_bytes

    def failing(length: int) -> bytes:
        if length == 24:
            raise OSError("no entropy")
        return drawn(length)

    monkeypatch.setattr(entropy, "random_bytes", failing)
    with pytest.raises(OSError, match="no entropy") as refusal:
        me.verify(code)

    assert [] == scene.found(shown_by_the_library(refusal.value))


@pytest.mark.parametrize("kind", ["blocking", "awaiting"])
def test_a_session_can_be_logged_and_not_pickled(kind: str) -> None:
    """Its `repr` names the user and nothing else, and it ends with its request."""
    scene = Scene(kind)
    me = scene.sign_in().me
    name = Session.__name__ if kind == "blocking" else AsyncSession.__name__
    assert f"<{name}: SessionState('alice', signed_in=True)>" == repr(me)
    assert f"<{name}: nobody>" == repr(run(scene.face.session({}, rotate=None)))
    assert [] == scene.found(repr(me) + repr(me._slot) + repr(me._identity) + repr(me._claim))
    with pytest.raises(TypeError, match="belongs to one request"):
        pickle.dumps(me)
