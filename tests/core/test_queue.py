"""Fairness: who was overtaken on a user stands in line with the others of its process, and nobody for long."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from support import ACCOUNT, FAST, KEY, USER, Awaited, Clock

from twofa import AsyncTwoFactor, Change, KeyRing, TwoFactor
from twofa._engine import queue as turns
from twofa._engine.queue import AsyncPlace, Place, Turns
from twofa.stores import MemoryStore, ThreadedStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from twofa import Setup


def test_those_in_line_go_one_after_the_other() -> None:
    """The first does not wait; each other one goes on when the one in front has left, in the order of arrival."""
    line = Turns()
    places = [Place(line, USER) for _ in range(4)]
    assert [False, True, True, True] == [place.join() for place in places]
    assert line.contended(USER)
    gone: list[int] = []

    def go(number: int) -> None:
        places[number].wait()
        gone.append(number)
        places[number].leave()

    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(go, number) for number in (3, 2, 1)]
        places[0].leave()
        for each in waiting:
            each.result(60)
    assert [1, 2, 3] == gone
    assert not line.contended(USER)


def test_lines_of_different_users_have_nothing_to_do_with_each_other() -> None:
    """Who is alone with a user is the first in line."""
    line = Turns()
    assert [False, False] == [Place(line, user_id).join() for user_id in ("alice", "bob")]


def test_a_call_joins_once_and_leaves_once() -> None:
    """A call that is overtaken again keeps its place, and one that never joined has none to leave."""
    line = Turns()
    first, second = Place(line, USER), Place(line, USER)
    second.leave()
    second.wait()
    second.wake()
    assert [False, False, True, False] == [first.join(), first.join(), second.join(), second.join()]
    second.leave()
    second.leave()
    first.leave()
    assert not line.contended(USER)


def test_nobody_waits_longer_than_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call whose predecessor hangs in its database goes on, and leaves the others in their order."""
    monkeypatch.setattr(turns, "PATIENCE", 0)
    line = Turns()
    hanging, patient, last = (Place(line, USER) for _ in range(3))
    for place in (hanging, patient, last):
        place.join()
    patient.wait()
    patient.leave()
    hanging.leave()
    last.wait()
    last.leave()
    assert not line.contended(USER)


def test_a_child_does_not_wait_for_the_threads_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fork the lines are empty, and a lock that a thread of the parent held is another one."""
    line = Turns()
    Place(line, USER).join()
    monkeypatch.setattr("os.getpid", lambda: -1)
    with line._lock:
        assert Place(line, USER).join() is False


def test_a_place_that_is_gone_after_a_fork_is_left_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that was under way while its process forked ends in the child as it does in the parent."""
    line = Turns()
    place = Place(line, USER)
    place.join()
    line._start()
    place.leave()
    assert not line.contended(USER)


def test_coroutines_stand_in_line_too() -> None:
    """Tasks go in the order of arrival, also those of event loops in other threads, and a cancelled one makes way."""
    line = Turns()
    gone: list[str] = []

    async def go(name: str, joined: threading.Event | None = None) -> None:
        place = AsyncPlace(line, USER)
        try:
            if place.join():
                if joined:
                    joined.set()
                await place.wait()
            gone.append(name)
        finally:
            place.leave()

    async def scene() -> None:
        first, joined = AsyncPlace(line, USER), threading.Event()
        assert first.join() is False
        assert first.join() is False
        other = asyncio.get_running_loop().run_in_executor(None, lambda: asyncio.run(go("other loop", joined)))
        await asyncio.to_thread(joined.wait, 60)
        tasks = [asyncio.ensure_future(go(name)) for name in ("cancelled", "last")]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.sleep(0)
        first.leave()
        await other
        await tasks[1]

    asyncio.run(scene())
    assert ["other loop", "last"] == gone
    assert not line.contended(USER)


def test_a_place_wakes_nobody_whose_loop_is_closed() -> None:
    """A loop that was closed under its call does not keep the others from leaving."""
    line = Turns()
    first = Place(line, USER)
    first.join()

    async def abandon() -> AsyncPlace:
        place = AsyncPlace(line, USER)
        assert place.join()
        return place

    abandoned = asyncio.run(abandon())
    first.leave()
    abandoned.leave()
    assert not line.contended(USER)


def test_under_another_event_loop_nobody_waits() -> None:
    """Without asyncio there is no line, and the calls go on as before."""
    place = AsyncPlace(Turns(), USER)
    assert place.join() is False
    with pytest.raises(StopIteration):
        place.wait().send(None)
    place.wake()
    place.leave()


class Interrupting(MemoryStore):
    """Lets something happen in the middle of the next swap, which then says no: truly, or falsely."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], object] | None = None
        self.lies = False

    def swap(self, user_id: str, change: Change) -> bool:
        if self.meanwhile is None:
            return super().swap(user_id, change)
        self.meanwhile()
        self.meanwhile = None
        assert not self.lies or super().swap(user_id, change)
        return False


@pytest.fixture(params=["blocking", "async"])
def face(request: pytest.FixtureRequest) -> Any:
    """A face of each kind, called like a blocking one."""
    options = {"keys": KeyRing(KEY), "issuer": "Example", "policy": FAST, "clock": Clock()}
    if request.param == "blocking":
        return TwoFactor(Interrupting(), **options)
    inner = Interrupting()
    awaited: Any = Awaited(AsyncTwoFactor(ThreadedStore(inner), **options))
    awaited._store, awaited._turns = inner, awaited._face._turns
    return awaited


def comes_to_stand_behind(first: Place, begin: Callable[[], Setup]) -> Setup:
    """Hold a call to its place behind the first: it is not done until that one leaves."""
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(begin)
        line = first._turns._lines.get(USER, ())
        while not call.done() and len(line) < 2:
            line = first._turns._lines.get(USER, ())
        assert not call.done()
        first.leave()
        return call.result(60)


def test_a_call_that_arrives_at_a_line_stands_behind_it(face) -> None:
    """Whoever comes while others were overtaken does not overtake them again."""
    first = Place(face._turns, USER)
    first.join()
    assert comes_to_stand_behind(first, lambda: face.begin_setup(USER, account_name=ACCOUNT)).handle
    assert not face._turns.contended(USER)


def test_a_call_that_is_overtaken_stands_behind_those_that_were_before(face) -> None:
    """A swap that is lost while another call is in line leads to the end of the line."""
    first = Place(face._turns, USER)
    face._store.meanwhile = first.join
    assert comes_to_stand_behind(first, lambda: face.begin_setup(USER, account_name=ACCOUNT)).handle
    assert not face._turns.contended(USER)


def test_a_no_that_lied_is_recognised_before_anyone_waits(face) -> None:
    """A swap that happened, and whose reply was lost, ends its call at once, although others are in line."""
    first = Place(face._turns, USER)
    face._store.meanwhile, face._store.lies = first.join, True
    assert face.begin_setup(USER, account_name=ACCOUNT).handle
    first.leave()
    assert not face._turns.contended(USER)


def test_a_face_without_contention_has_no_lines(face) -> None:
    """A call that is overtaken by nobody that waits goes on at once, and leaves nothing behind."""
    face._store.meanwhile = lambda: None
    assert face.begin_setup(USER, account_name=ACCOUNT).handle
    assert {} == face._turns._lines
