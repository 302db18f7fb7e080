"""The queue of calls on one user: in the order of arrival, never for long, and safe wherever a call may end."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from support import ACCOUNT, FAST, KEY, USER, Awaited, Clock

from twofa import AsyncTwoFactor, Change, KeyRing, TwoFactor
from twofa._engine.queue import AsyncPosition, Position, Queue
from twofa.stores import MemoryStore, ThreadedStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from twofa import Setup


def test_those_in_the_queue_go_one_after_the_other() -> None:
    """The first does not wait; each other one goes on when the one in front has left, in the order of arrival."""
    queue = Queue(60)
    positions = [Position(queue, USER) for _ in range(4)]
    assert [False, True, True, True] == [position.join() for position in positions]
    assert queue.is_busy(USER)
    gone: list[int] = []

    def go(number: int) -> None:
        positions[number].wait()
        gone.append(number)
        positions[number].leave()

    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(go, number) for number in (3, 2, 1)]
        positions[0].leave()
        for each in waiting:
            each.result(60)
    assert [1, 2, 3] == gone
    assert not queue.is_busy(USER)


def test_lines_of_different_users_have_nothing_to_do_with_each_other() -> None:
    """Who is alone with a user is the first in line."""
    queue = Queue(60)
    assert [False, False] == [Position(queue, user_id).join() for user_id in ("alice", "bob")]


def test_a_call_joins_once_and_leaves_once() -> None:
    """A call knows whether it stands in the queue, and one that never joined has nothing to leave."""
    queue = Queue(60)
    first, second = Position(queue, USER), Position(queue, USER)
    second.leave()
    second.wake()
    assert not first.joined
    assert [False, True] == [first.join(), second.join()]
    assert first.joined
    assert second.joined
    second.leave()
    assert not second.joined
    second.leave()
    first.leave()
    assert not queue.is_busy(USER)


def test_nobody_waits_longer_than_the_patience() -> None:
    """A call whose predecessor hangs in its database learns so, and leaves the others in their order."""
    queue = Queue(0.001)
    hanging, patient, last = (Position(queue, USER) for _ in range(3))
    for position in (hanging, patient, last):
        position.join()
    assert not patient.wait()
    patient.leave()
    hanging.leave()
    assert last.wait()
    last.leave()
    assert not queue.is_busy(USER)


def test_a_child_does_not_wait_for_the_threads_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fork the lines are empty, and a lock that a thread of the parent held is another one."""
    queue = Queue(60)
    Position(queue, USER).join()
    monkeypatch.setattr("os.getpid", lambda: -1)
    with queue._lock:
        assert Position(queue, USER).join() is False


def test_a_position_that_is_gone_after_a_fork_is_left_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that was under way while its process forked ends in the child as it does in the parent."""
    queue = Queue(60)
    position = Position(queue, USER)
    position.join()
    queue._start()
    position.leave()
    assert not queue.is_busy(USER)


def test_coroutines_stand_in_line_too() -> None:
    """Tasks go in the order of arrival, also those of event loops in other threads, and a cancelled one makes way."""
    queue = Queue(60)
    gone: list[str] = []

    async def go(name: str, joined: threading.Event | None = None) -> None:
        position = AsyncPosition(queue, USER)
        try:
            if position.join():
                if joined:
                    joined.set()
                await position.wait()
            gone.append(name)
        finally:
            position.leave()

    async def scene() -> None:
        first, joined = AsyncPosition(queue, USER), threading.Event()
        assert first.join() is False
        assert first.joined
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
    assert not queue.is_busy(USER)


def test_a_position_wakes_nobody_whose_loop_is_closed() -> None:
    """A loop that was closed under its call does not keep the others from leaving."""
    queue = Queue(60)
    first = Position(queue, USER)
    first.join()

    async def abandon() -> AsyncPosition:
        position = AsyncPosition(queue, USER)
        assert position.join()
        return position

    abandoned = asyncio.run(abandon())
    first.leave()
    abandoned.leave()
    assert not queue.is_busy(USER)


def test_a_position_may_be_left_in_the_middle_of_the_queues_own_code() -> None:
    """A garbage collection or a signal that ends another call while this thread holds the lock cannot deadlock."""
    queue = Queue(60)
    first, second, third = (Position(queue, USER) for _ in range(3))
    for position in (first, second, third):
        position.join()
    with queue._lock:  # as if this thread were in the middle of carrying out a request
        first.leave()
        second.leave()
        assert queue.is_busy(USER)
    third.wake()  # which a later request does as well

    third.leave()
    assert not queue.is_busy(USER)


def test_an_abandoned_coroutine_leaves_the_queue_when_it_is_collected() -> None:
    """A call whose event loop is gone makes way as soon as the garbage collector finds it, whoever runs that."""
    queue = Queue(60)

    async def call() -> None:
        position = AsyncPosition(queue, USER)
        position.join()
        try:
            await asyncio.sleep(60)
        finally:
            position.leave()

    async def begin() -> object:
        coroutine = call()
        coroutine.send(None)
        return coroutine

    abandoned = asyncio.run(begin())
    assert queue.is_busy(USER)
    with queue._lock:
        del abandoned
        gc.collect()
    Position(queue, "another user").join()

    assert not queue.is_busy(USER)


def test_under_another_event_loop_nobody_waits() -> None:
    """Without asyncio there is no line, and the calls go on as before."""
    position = AsyncPosition(Queue(60), USER)
    assert position.join() is False
    with pytest.raises(StopIteration):
        position.wait().send(None)
    position.leave()
    assert not position.joined


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
    awaited._store, awaited._conflicts = inner, awaited._face._conflicts
    return awaited


def comes_to_stand_behind(first: Position, begin: Callable[[], Setup]) -> Setup:
    """Hold a call to its position behind the first: it is not done until that one leaves."""
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(begin)
        line = first._queue._lines.get(USER, ())
        while not call.done() and len(line) < 2:
            line = first._queue._lines.get(USER, ())
        assert not call.done()
        first.leave()
        return call.result(60)


def test_a_call_that_arrives_at_a_line_stands_behind_it(face) -> None:
    """Whoever comes while others were overtaken does not overtake them again."""
    first = Position(face._conflicts, USER)
    first.join()
    assert comes_to_stand_behind(first, lambda: face.begin_setup(USER, account_name=ACCOUNT)).handle
    assert not face._conflicts.is_busy(USER)


def test_a_call_that_is_overtaken_stands_behind_those_that_were_before(face) -> None:
    """A swap that is lost while another call is in line leads to the end of the line."""
    first = Position(face._conflicts, USER)
    face._store.meanwhile = first.join
    assert comes_to_stand_behind(first, lambda: face.begin_setup(USER, account_name=ACCOUNT)).handle
    assert not face._conflicts.is_busy(USER)


def test_a_no_that_lied_is_recognised_before_anyone_waits(face) -> None:
    """A swap that happened, and whose reply was lost, ends its call at once, although others are in line."""
    first = Position(face._conflicts, USER)
    face._store.meanwhile, face._store.lies = first.join, True
    assert face.begin_setup(USER, account_name=ACCOUNT).handle
    first.leave()
    assert not face._conflicts.is_busy(USER)


def test_a_face_without_contention_has_no_lines(face) -> None:
    """A call that is overtaken by nobody that waits goes on at once, and leaves nothing behind."""
    face._store.meanwhile = lambda: None
    assert face.begin_setup(USER, account_name=ACCOUNT).handle
    assert {} == face._conflicts._lines
