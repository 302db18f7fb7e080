"""Opening a session: how its id changes, what a host may pass, and what the documentation of each name says."""

from __future__ import annotations

import asyncio
import inspect
import pydoc
from typing import Any

import pytest
from interleave import PausingStore, at_once
from support import FAST, KEY, World

from twofa import AsyncTwoFactor, KeyRing, TwoFactor, errors
from twofa import session as layer
from twofa.errors import SignInRequired
from twofa.session import AsyncBearer, AsyncSession, Bearer, Session
from twofa.session.identity import UNSAID
from twofa.stores import MemoryStore, ThreadedStore

MADE: list[type] = [Session, Bearer, AsyncSession, AsyncBearer]


class WithCycleKey(dict[str, Any]):
    """A session that can change its id by itself, as Django's can."""

    def __init__(self) -> None:
        super().__init__()
        self.ids = 0

    def cycle_key(self) -> None:
        self.ids += 1


class WithAsyncCycleKey(WithCycleKey):
    """One that has a coroutine for it, too."""

    async def acycle_key(self) -> None:
        await asyncio.sleep(0)
        self.ids += 10


# --- how the id changes ---------------------------------------------------------------------------------------------


def test_the_way_to_a_new_id_has_to_be_said(world: World) -> None:
    """Leaving it out over a session that has no way of its own is refused, with what to write instead."""
    for held in ({}, {"twofa": "anything"}):
        with pytest.raises(TypeError, match="say how a dict gets a new id: rotate=None if the cookie itself"):
            world.face.session(held)


@pytest.mark.parametrize("wrong", [True, "cycle_key", 5])
def test_the_way_to_a_new_id_is_a_function(world: World, wrong: Any) -> None:
    """Anything else is refused before anybody signs in."""
    with pytest.raises(TypeError, match="rotate must be a function without arguments, or None"):
        world.face.session({}, rotate=wrong)


def test_a_way_of_the_session_itself_is_found() -> None:
    """Django's `cycle_key` on the blocking face, and on the async one its coroutine before that."""
    world = World("blocking")
    held = WithCycleKey()
    world.face.session(held).password_accepted("alice")
    assert 1 == held.ids

    async def sign_in(held: WithCycleKey) -> None:
        face = AsyncTwoFactor(ThreadedStore(world.store), keys=KeyRing(KEY), issuer="Example", policy=FAST)
        me = await face.session(held)
        await me.password_accepted("alice")
        await me.sign_out()

    plain, awaiting = WithCycleKey(), WithAsyncCycleKey()
    asyncio.run(sign_in(plain))
    asyncio.run(sign_in(awaiting))
    assert [2, 20] == [plain.ids, awaiting.ids]


def test_what_the_host_says_comes_first() -> None:
    """Its own function is called, and `None` calls nothing, whatever the session can do."""
    world = World("blocking")
    held, called = WithCycleKey(), []
    world.face.session(held, rotate=lambda: called.append("rotated")).password_accepted("alice")
    world.face.session(held, rotate=None).password_accepted("alice")
    assert (["rotated"], 0) == (called, held.ids)


def test_the_id_changes_while_nobody_is_signed_in() -> None:
    """At the password the old state is gone by then and the new one is not there yet; at the code it is still half."""
    world = World("blocking")
    phone, _ = world.enrol("alice")
    held: dict[str, str] = {"cart": "3 pears"}
    seen: list[tuple[Any, ...]] = []

    def look() -> None:
        me = world.face.session(held, rotate=None)
        seen.append((me.user_id, me.awaiting, bool(held)))

    world.face.session(held, rotate=look).password_accepted("bob")
    with pytest.raises(errors.CodeRequired):
        world.face.session(held, rotate=look).password_accepted("alice")
    world.face.session(held, rotate=look).verify(phone.code())
    world.face.session(held, rotate=look).verify(phone.code(1))
    world.face.session(held, rotate=look).sign_out()

    nobody, half = (None, None, True), (None, "alice", True)
    assert [nobody, nobody, half, ("alice", None, True), nobody] == seen
    assert {} == held


def test_whoever_left_is_nobody_for_the_rest_of_the_request(world: World) -> None:
    """After signing out, and after a password that came to nothing, the same object says so, not only the next one."""

    def fail() -> None:
        raise OSError("the id cannot be changed")

    for leave in (
        lambda me: me.sign_out(),
        lambda me: me.password_accepted("bob"),
        lambda me: me.sign_out(everywhere=True),
    ):
        held: dict[str, str] = {}
        done(world.face.session(held, rotate=None).password_accepted("alice"))
        me = world.face.session(held, rotate=fail)
        assert "alice" == me.user_id
        with pytest.raises(OSError, match="the id cannot be changed"):
            done(leave(me))
        assert (None, None) == (me.user_id, me.awaiting)
        with pytest.raises(SignInRequired) as refusal:
            me.require()
        assert "signed_out" == refusal.value.reason


def done(value: Any) -> Any:
    """Return what a method of either face returns."""
    return asyncio.run(value) if asyncio.iscoroutine(value) else value


# --- one object, used by two tasks at once ----------------------------------------------------------------------------


def test_signing_out_wins_over_a_code_on_its_way() -> None:
    """A task that shares the object, and finishes later, does not sign in again."""
    world = World("blocking")
    phone, _ = world.enrol("alice")
    held: dict[str, str] = {}
    store = PausingStore(world.store)
    face = AsyncTwoFactor(
        store, keys=world.keys, issuer="Example", policy=FAST, clock=world.clock, run_blocking=at_once
    )

    async def owe() -> AsyncSession:
        me = await face.session(held, rotate=None)
        with pytest.raises(errors.CodeRequired):
            await me.password_accepted("alice")
        return me

    me = finish(owe())
    verifying = me.verify(phone.code())
    for _ in range(3):
        verifying.send(None)
    finish(me.sign_out())
    with pytest.raises(SignInRequired):
        finish(verifying)

    assert {} == held
    assert me.user_id is None


def test_signing_out_in_another_request_wins_over_a_code_on_its_way() -> None:
    """Of two requests on one session the one that signs out ends the other's, whose code then signs nobody in."""
    world = World("blocking")
    phone, _ = world.enrol("alice")
    held: dict[str, str] = {}
    with pytest.raises(errors.CodeRequired):
        world.face.session(held, rotate=None).password_accepted("alice")
    verifying, leaving = (world.face.session(held, rotate=None) for _ in range(2))

    leaving.sign_out()
    with pytest.raises(SignInRequired):
        verifying.verify(phone.code())

    assert ({}, None) == (held, verifying.user_id)


def test_of_two_passwords_on_one_session_the_first_to_be_done_signs_in() -> None:
    """Who signed in while another request was still reading its user's account stays signed in."""
    world = World("blocking")
    held: dict[str, str] = {}
    face = AsyncTwoFactor(PausingStore(world.store), keys=world.keys, issuer="Example", policy=FAST)
    late, early = (finish(face.session(held, rotate=None)) for _ in range(2))

    signing_in = late.password_accepted("alice")
    signing_in.send(None)
    finish(early.password_accepted("bob"))
    with pytest.raises(SignInRequired):
        finish(signing_in)

    assert "bob" == finish(face.session(held, rotate=None)).user_id


def finish(coroutine: Any) -> Any:
    """Drive a coroutine that only pauses to its end."""
    while True:
        try:
            coroutine.send(None)
        except StopIteration as ended:
            return ended.value


# --- what readers are told ------------------------------------------------------------------------------------------


def test_a_default_reads_as_what_it_means() -> None:
    """In `help`, an argument that was left out has a word, and not an address in memory."""
    assert "UNSAID" == repr(UNSAID)
    for face in (TwoFactor, AsyncTwoFactor):
        assert "UNSAID" in str(inspect.signature(face.session))


@pytest.mark.parametrize("kind", MADE, ids=lambda kind: kind.__name__)
def test_every_name_is_explained(kind: type) -> None:
    """Each public attribute and method has a docstring that `help` shows, and so has each name of the module."""
    names = [name for name in dir(kind) if not name.startswith("_")]
    assert {"user_id", "require", "verify", "sign_out", "browser_cookie", "has_setup"} <= set(names)
    text = pydoc.render_doc(kind, renderer=pydoc.plaintext)
    for name in names:
        assert inspect.getdoc(getattr(kind, name)), name
        assert name in text
    for name in layer.__all__:
        assert name == name.upper() or inspect.getdoc(getattr(layer, name)), name


def test_both_faces_offer_the_same() -> None:
    """The same names with the same arguments; what thinks is the same code, and the methods are coroutines on one."""
    for blocking, awaiting in ((Session, AsyncSession), (Bearer, AsyncBearer)):
        names = {name for name in dir(blocking) if not name.startswith("_")}
        assert names == {name for name in dir(awaiting) if not name.startswith("_")}
        for name in names:
            one, other = getattr(blocking, name), getattr(awaiting, name)
            if isinstance(one, property):
                assert isinstance(other, property)
                continue
            assert inspect.signature(one) == inspect.signature(other), name
            shared = one is other
            assert shared or inspect.iscoroutinefunction(other), name
            assert not inspect.iscoroutinefunction(one), name


@pytest.mark.parametrize("name", ["session", "bearer"])
def test_a_store_for_the_session_is_asked_only_through_the_face(name: str) -> None:
    """Opening nobody's session asks nothing of a store, which may be down."""

    class Down(MemoryStore):
        def load(self, user_id: str) -> Any:
            raise OSError(user_id)

    face = TwoFactor(Down(), keys=KeyRing(KEY), issuer="Example")
    me = face.session({}, rotate=None) if name == "session" else face.bearer(None)
    assert (None, None) == (me.user_id, me.awaiting)
    me.sign_out()
