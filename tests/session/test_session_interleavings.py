"""Two requests on one session at once, in every order in which their steps can fall.

Each request opens the session, calls one method, and answers. Whatever the order, the browser and the accounts end as
they could also have ended with the two requests one after the other, or with only one of them: the other may be told to
sign in again, since what it was about has changed under it. Never does anybody end up with more than that.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from interleave import Pause, PausingStore, at_once, attempt_async, every_order, first_come
from strength import PROOF, rounds
from support import ACCOUNT, FAST, World

from twofa import AsyncTwoFactor, Change, RecoveryCodes, Setup, Status, TwoFactor, TwoFactorError, Verification
from twofa.stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Action = Callable[[Any], Any]
    Choose = Callable[[int], int]

SAMPLE = rounds(3, 30)
"""Orders of each pair that are tried, where `make proof` does not try all of them."""
USERS = ("alice", "bob")


class Ending(NamedTuple):
    """How two requests ended."""

    answers: tuple[str, ...]
    browser: tuple[str | None, str | None]
    """Who is signed in, and who owes a code."""
    accounts: tuple[object, ...]
    """Where the users' accounts stand."""


class Scene:
    """A session to start from, and what its user may do in it."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        world = self.world = World("blocking")
        self.phone, codes = world.enrol("alice")
        world.face.acknowledge_recovery_codes("alice")
        self.held: dict[str, str] = {}
        user_id = "bob" if stage == "setting up" else "alice"
        me = world.face.session(self.held, rotate=None)
        try:
            me.password_accepted(user_id)
        except TwoFactorError:
            if stage != "owing":
                me.verify(self.phone.code())
                world.clock.advance(30)
        if stage in {"setting up", "replacing"}:
            self.setup = me.begin_setup(ACCOUNT)
            self.code = world.phone(self.setup).code()
        if stage == "replacing":
            me.verify(self.phone.code())
            world.clock.advance(30)
        self.stored = {user: world.store.load(user) for user in ("alice", "bob")}
        self.codes = list(codes)

    def actions(self, stage: str) -> dict[str, Action]:
        """Return what either request may do."""
        phone, codes = self.phone, self.codes
        actions: dict[str, Action] = {
            "sign out": lambda me: me.sign_out(),
            "password of alice": lambda me: me.password_accepted("alice"),
            "password of carol": lambda me: me.password_accepted("carol"),
            "verify": lambda me: me.verify(phone.code()),
            "verify by recovery code": lambda me: me.verify(codes[0]),
            "verify wrong": lambda me: me.verify(phone.wrong_code()),
        }
        if stage != "owing":
            actions |= {
                "end other sessions": lambda me: me.end_other_sessions(),
                "sign out everywhere": lambda me: me.sign_out(everywhere=True),
                "begin": lambda me: me.begin_setup(ACCOUNT),
                "disable": lambda me: me.disable(),
                "new codes": lambda me: me.reset_recovery_codes(),
                "new codes by code": lambda me: me.reset_recovery_codes(phone.code()),
                "acknowledge": lambda me: me.acknowledge_recovery_codes(),
            }
        if stage in {"setting up", "replacing"}:
            actions |= {
                "look at the setup": lambda me: me.setup(),
                "cancel": lambda me: me.cancel_setup(),
                "confirm": lambda me: me.confirm_setup(self.code),
            }
        if stage in {"signed in", "replacing"}:
            actions["new app"] = lambda me: me.reset_authenticator(ACCOUNT)
        return actions

    def options(self) -> dict[str, Any]:
        return {"keys": self.world.keys, "issuer": "Example", "policy": FAST, "clock": self.world.clock}

    def play(self, keep: str, actions: list[Action], choose: Choose) -> Ending:
        """Carry out two requests as chosen; return what each got, and where that leaves the browser and the account."""
        store = MemoryStore()
        for user, stored in self.stored.items():
            if stored is not None:
                assert store.swap(user, Change(None, stored))
        face = AsyncTwoFactor(PausingStore(store, slow_reply=False), run_blocking=at_once, **self.options())
        jar = KEEPING[keep](dict(self.held))
        outcomes = drive([request(face, jar, action) for action in actions], choose)
        later = TwoFactor(store, **self.options())
        me = later.session(jar.held, rotate=None)
        return Ending(
            tuple(map(meaning, outcomes)), (me.user_id, me.awaiting), tuple(map(account, map(later.status, USERS)))
        )


class Shared:
    """The session is one object that both requests see, as in a process that keeps sessions in memory."""

    def __init__(self, held: dict[str, str]) -> None:
        self.held = held

    def open(self) -> dict[str, str]:
        return self.held

    def save(self, held: dict[str, str], before: dict[str, str]) -> None:
        """There is nothing to do."""


class Cookie(Shared):
    """The session is a cookie: each request has what the browser sent, and its answer replaces that if it changed."""

    def open(self) -> dict[str, str]:
        return dict(self.held)

    def save(self, held: dict[str, str], before: dict[str, str]) -> None:
        if held != before:
            self.held = held


KEEPING: dict[str, Callable[[dict[str, str]], Shared]] = {"shared": Shared, "cookie": Cookie}


async def request(face: AsyncTwoFactor, jar: Shared, action: Action) -> Any:
    """Open the session, do one thing, and answer."""
    await Pause()
    held = jar.open()
    before = dict(held)
    me = await face.session(held, rotate=None)
    outcome = await attempt_async(wait_for(action, me))
    jar.save(held, before)
    return outcome


async def wait_for(action: Action, me: Any) -> Any:
    return await action(me)


def drive(calls: list[Any], choose: Callable[[int], int]) -> list[Any]:
    running: dict[int, Any] = dict(enumerate(calls))
    outcomes: dict[int, Any] = {}

    def step(number: int) -> None:
        try:
            running[number].send(None)
        except StopIteration as ended:
            outcomes[number] = ended.value
            del running[number]

    for number in list(running):
        step(number)
    while running:
        waiting = sorted(running)
        step(waiting[choose(len(waiting))] if len(waiting) > 1 else waiting[0])
    return [outcomes[number] for number in sorted(outcomes)]


def meaning(outcome: Any) -> str:
    """Return what an answer says."""
    if isinstance(outcome, Verification | RecoveryCodes | Setup):
        return type(outcome).__name__
    return f"{type(outcome).__name__} {getattr(outcome, 'reason', '')}".strip()


def account(status: Status) -> tuple[object, ...]:
    """Return what of an account does not depend on chance."""
    return status.state, status.required, status.recovery_codes_remaining, status.recovery_codes_acknowledged


STAGES = ["owing", "signed in", "setting up", "replacing"]


def pairs(stage: str) -> list[tuple[str, str]]:
    return list(combinations_with_replacement(Scene(stage).actions(stage), 2))


def orders(scene: Scene, keep: str, actions: list[Action]) -> Iterator[Ending]:
    """Play two requests in every order, or in a sample of all orders.

    The sample is enough for cookies, where requests do not see each other, and where there is no set-up: whoever is
    replacing an app may do all that somebody who is signed in may do.
    """
    if PROOF and keep == "shared" and scene.stage != "signed in":
        yield from every_order(lambda choose: scene.play(keep, actions, choose))
        return
    chance = Random(4)
    for _ in range(SAMPLE):
        yield scene.play(keep, actions, chance.randrange)


@pytest.mark.parametrize("keep", KEEPING)
@pytest.mark.parametrize("stage", STAGES)
def test_two_requests_at_once(stage: str, keep: str) -> None:
    """They end as one after the other, or as one of them alone; nobody is signed in who would not be then."""
    scene = Scene(stage)
    for names in pairs(stage):
        actions = [scene.actions(stage)[name] for name in names]
        alone = [scene.play(keep, [action], first_come) for action in actions]
        serial = [scene.play(keep, actions, choose) for choose in (first_come, lambda among: among - 1)]
        for ending in orders(scene, keep, actions):
            assert ending.browser in {each.browser for each in (*serial, *alone)} | {(None, None)}, (names, ending)
            assert ending.accounts in {each.accounts for each in (*serial, *alone)}, (names, ending)
            for number, answer in enumerate(ending.answers):
                possible = {each.answers[number] for each in serial} | {alone[number].answers[0]}
                assert answer in possible or answer not in GRANTED, (names, ending)
            assert granted(ending) or not all(map(granted, serial)), (names, ending)


GRANTED = {"Verification", "RecoveryCodes", "Setup", "NoneType"}
"""What an answer is that did what was asked for."""


def granted(ending: Ending) -> bool:
    """Return whether at least one of the two got what it asked for; for a password that may be the second step."""
    return not (GRANTED | {"CodeRequired code_owed"}).isdisjoint(ending.answers)


@pytest.mark.parametrize("keep", KEEPING)
def test_signing_out_wins(keep: str) -> None:
    """Whatever was under way, nobody is signed in after it, unless a cookie's late answer replaces the empty one."""
    for stage in STAGES:
        scene = Scene(stage)
        actions = scene.actions(stage)
        for name, action in actions.items():
            if name.startswith("password"):  # which signs in anew, before or after
                continue
            for ending in orders(scene, keep, [actions["sign out"], action]):
                if keep == "shared":
                    assert (None, None) == ending.browser, (stage, name)
            for ending in orders(scene, keep, [actions["sign out everywhere"], action]) if stage != "owing" else ():
                assert ending.browser[0] is None or "SignInRequired ended" in ending.answers, (stage, name, ending)
