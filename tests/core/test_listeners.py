"""What the host's own code hears, its listener and its logging, and that nothing it does changes an outcome."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from support import ACCOUNT, FAST, KEY, USER, World

from twofa import (
    AsyncTwoFactor,
    Event,
    EventKind,
    KeyRing,
    Stored,
    Vouched,
)
from twofa.errors import TwoFactorError
from twofa.stores import MemoryStore, ThreadedStore

if TYPE_CHECKING:
    from collections.abc import Iterator


CAROL = Vouched(by="support:carol", reason="identity checked, ticket 4711")


# --- the listener --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["blocking", "awaiting"])
def test_a_listener_never_changes_the_outcome(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its exceptions are logged with their cause; what succeeded succeeds, what was refused is refused."""

    def broken(_event: Event) -> None:
        raise RuntimeError("the mail server is down")

    world = World(kind)
    world.face = world.new_face(on_event=broken)
    phone, codes = world.enrol()

    assert 10 == len(codes)
    assert "totp" == world.login(phone).method
    with pytest.raises(TwoFactorError) as refusal:
        world.face.verify(USER, phone.wrong_code())
    assert "invalid_code" == refusal.value.code
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert 6 == len(failures)
    assert all("the mail server is down" in str(record.exc_info) for record in failures)


@pytest.mark.parametrize("kind", ["blocking", "awaiting"])
def test_without_a_listener_events_are_only_logged(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """A host that listens to nothing still finds everything in its log."""
    world = World(kind)
    world.face = world.new_face(on_event=None)
    with caplog.at_level(logging.INFO, "twofa"):
        world.enrol()

    assert [
        "setup_begun",
        "authenticator_confirmed",
        "recovery_codes_issued",
        "recovery_codes_acknowledged",
    ] == [record.__dict__["twofa_event"].kind for record in caplog.records]


def test_a_coroutine_function_may_listen() -> None:
    """On the async face the listener is awaited."""
    heard = []

    async def listener(event: Event) -> None:
        heard.append(str(event.kind))

    world = World("awaiting")
    world.face = world.new_face(on_event=listener)
    world.begin()

    assert ["setup_begun"] == heard


# --- nothing that the host's code does changes an outcome ------------------------------------------------------------


class Broken(logging.Handler):
    """A handler whose database is gone."""

    def emit(self, _record: logging.LogRecord) -> None:
        raise RuntimeError("the log server is down")


@pytest.fixture
def broken_log() -> Iterator[None]:
    """A logger that raises, as a handler or a filter of the host's may."""
    logger, handler = logging.getLogger("twofa"), Broken()
    logger.addHandler(handler)
    logger.addFilter(handler.emit)
    level = logger.level
    logger.setLevel(logging.INFO)
    yield
    logger.setLevel(level)
    logger.removeFilter(handler.emit)
    logger.removeHandler(handler)


@pytest.mark.usefixtures("broken_log")
def test_a_log_that_raises_changes_no_outcome(world: World) -> None:
    """A right code is accepted, the codes are shown, and the listener hears of it all the same."""
    phone, codes = world.enrol()

    assert 10 == len(codes)
    assert "totp" == world.login(phone).method
    assert ["setup_begun", "authenticator_confirmed", "recovery_codes_issued", "code_accepted"] == world.kinds()


@pytest.mark.usefixtures("broken_log")
def test_a_log_that_raises_about_a_listener_changes_no_outcome(world: World) -> None:
    """Neither does one that fails when a listener's failure is to be logged."""

    def broken(_event: Event) -> None:
        raise RuntimeError("the mail server is down")

    world.face = world.new_face(on_event=broken)

    assert "totp" == world.login(world.enrol()[0]).method


def test_a_listener_that_is_cancelled_changes_no_outcome(caplog: pytest.LogCaptureFixture) -> None:
    """On the async face a listener may await what was cancelled; the call was not."""

    async def listener(_event: Event) -> None:
        task = asyncio.ensure_future(asyncio.sleep(60))
        task.cancel()
        await task

    world = World("awaiting")
    world.face = world.new_face(on_event=listener)

    assert "totp" == world.login(world.enrol()[0]).method
    assert "the listener failed" in caplog.text


def test_a_call_that_is_cancelled_in_its_listener_ends() -> None:
    """What the listener was told has happened, and whoever cancelled the call gets its way."""
    begun = asyncio.Event()

    async def listener(_event: Event) -> None:
        begun.set()
        await asyncio.sleep(60)

    async def scene() -> None:
        options: Any = {"keys": KeyRing(KEY), "issuer": "Example", "policy": FAST, "on_event": listener}
        face = AsyncTwoFactor(ThreadedStore(MemoryStore()), **options)
        task = asyncio.ensure_future(face.begin_setup(USER, account_name=ACCOUNT))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert "pending" == (await face.status(USER)).state

    asyncio.run(scene())


async def _listen(_event: Event) -> None:
    """A coroutine function."""


class Listener:
    """An object that is called like a coroutine function."""

    async def __call__(self, event: Event) -> None:
        await _listen(event)


@pytest.mark.parametrize("listener", [_listen, partial(_listen), Listener()])
def test_the_blocking_face_refuses_a_listener_that_nobody_would_await(listener: Any) -> None:
    """In whatever guise a coroutine function comes."""
    with pytest.raises(TypeError, match="needs AsyncTwoFactor"):
        World("blocking").new_face(on_event=listener)


def test_a_coroutine_that_a_listener_returns_is_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be told from a function beforehand is logged as the listener's failure."""
    world = World("blocking")
    world.face = world.new_face(on_event=lambda event: world.events.append(event) or _listen(event))

    assert "totp" == world.login(world.enrol()[0]).method
    assert "only AsyncTwoFactor awaits" in caplog.text


def test_a_listener_may_call_for_the_same_user(world: World) -> None:
    """A call leaves every queue before it tells anybody, so a listener waits for nobody."""
    seen: list[str] = []

    def listener(event: Event) -> None:
        if event.kind is EventKind.RECOVERY_CODE_USED and not seen:
            seen.append(str(event.kind))
            blocking = World("blocking", store=world.store)
            blocking.clock = world.clock
            blocking.new_face().redeem_recovery_code(USER, codes[1])

    world.face = world.new_face(on_event=listener)
    _, codes = world.enrol()

    assert 9 == world.face.redeem_recovery_code(USER, codes[0]).recovery_codes_remaining
    assert 8 == world.face.status(USER).recovery_codes_remaining


# --- a call that is cut short ----------------------------------------------------------------------------------------


def test_an_interrupted_call_leaves_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is left to be told its outcome, so the log says that it was interrupted."""
    world = World("blocking")
    store: Any = world.store

    def interrupted(_user_id: str) -> Stored | None:
        raise KeyboardInterrupt

    store.load = interrupted
    with pytest.raises(KeyboardInterrupt):
        world.face.verify(USER, "123456", source="192.0.2.1")

    [line] = caplog.records
    assert "verify of user='user-42' source='192.0.2.1' was interrupted" in line.getMessage()
    assert [] == world.events
