"""`ThreadedStore` beyond the laws, and what importing `twofa.stores` costs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trio

import twofa.stores
from twofa.stores import Change, MemoryStore, SQLiteStore, Stored, ThreadedStore, Trail
from twofa.stores.protocol import UnexpectedAnswer
from twofa.testing.race_conformance import THREADS
from twofa.testing.samples import USER, event, numbers, stored, version

if TYPE_CHECKING:
    from collections.abc import Callable


class Plain:
    """A store with the two methods only, and the threads that they ran in."""

    def __init__(self) -> None:
        self._inner = MemoryStore()
        self.threads: list[int] = []

    def load(self, user_id: str) -> Stored | None:
        self.threads.append(threading.get_ident())
        return self._inner.load(user_id)

    def swap(self, user_id: str, change: Change) -> bool:
        self.threads.append(threading.get_ident())
        return self._inner.swap(user_id, change)

    def __repr__(self) -> str:
        return "Plain()"


class Slow(MemoryStore):
    """A store whose swaps stop until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go, self.done = threading.Event(), threading.Event(), threading.Event()

    def swap(self, user_id: str, change: Change) -> bool:
        self.begun.set()
        assert self.go.wait(60)
        swapped = super().swap(user_id, change)
        self.done.set()
        return swapped


def test_no_call_runs_on_the_event_loop():
    """By default both methods run in other threads than the loop's."""
    plain = Plain()

    async def work() -> tuple[bool, Stored | None]:
        store = ThreadedStore(plain)
        return await store.swap(USER, Change(None, stored(1))), await store.load(USER)

    assert (True, stored(1)) == asyncio.run(work())
    assert 2 == len(plain.threads)
    assert threading.get_ident() not in plain.threads


def test_every_call_goes_through_run_blocking():
    """A host's own `run_blocking` is given every call, with its arguments."""
    calls: list[tuple[str, tuple[object, ...]]] = []

    async def run_blocking(function: Callable[..., Any], *args: object) -> Any:
        calls.append((function.__name__, args))
        return function(*args)

    async def work() -> list[object]:
        store = ThreadedStore(MemoryStore(), run_blocking=run_blocking)
        return [
            await store.swap(USER, change),
            await store.load(USER),
            await store.events(USER),
            await store.user_ids("a", 7),
        ]

    change = Change(None, stored(1), (event(1),))
    assert [True, stored(1), (event(1),), (USER,)] == asyncio.run(work())
    assert [("swap", (USER, change)), ("_load", (USER,)), ("events", (USER,)), ("user_ids", ("a", 7))] == calls


def test_a_run_blocking_that_returns_nothing_is_told_of():
    """Its missing `return` would read as "no second factor": the error says whose fault it is."""

    async def forgetful(function: Callable[..., Any], *arguments: object) -> None:
        function(*arguments)

    with pytest.raises(UnexpectedAnswer, match="run_blocking must return what the function that it was given returned"):
        asyncio.run(ThreadedStore(MemoryStore(), run_blocking=forgetful).load(USER))


def test_it_works_under_trio(tmp_path):
    """With trio's own `run_blocking` no asyncio is needed."""

    async def work() -> list[object]:
        with SQLiteStore(tmp_path / "app.db") as blocking:
            store = ThreadedStore(blocking, run_blocking=trio.to_thread.run_sync)
            return [
                await store.swap(USER, Change(None, stored(1), (event(1),))),
                await store.load(USER),
                await store.events(USER),
                await store.user_ids(),
            ]

    assert [True, stored(1), (event(1),), (USER,)] == trio.run(work)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda store: store.events(USER),
            r"Plain\(\) lacks this optional ability of a store: it has no method events",
        ),
        (
            lambda store: store.events_after(),
            r"Plain\(\) lacks this optional ability of a store: it has no method events_after",
        ),
        (
            lambda store: store.prune_events(None),
            r"Plain\(\) lacks this optional ability of a store: it has no method prune_events",
        ),
        (
            lambda store: store.user_ids(),
            r"Plain\(\) lacks this optional ability of a store: it has no method user_ids",
        ),
    ],
    ids=["events", "events_after", "prune_events", "user_ids"],
)
def test_an_ability_that_the_store_lacks_is_named(call, message):
    """Asking for a trail or a list that the wrapped store does not keep is a TypeError that names the store."""
    with pytest.raises(TypeError, match=message):
        asyncio.run(call(ThreadedStore(Plain())))


def test_an_error_of_the_store_comes_through(tmp_path):
    """What the wrapped store raises is raised, unchanged."""
    blocking = SQLiteStore(tmp_path / "app.db")
    blocking.close()
    with pytest.raises(ValueError, match="is closed: make a new one"):
        asyncio.run(ThreadedStore(blocking).load(USER))


def test_the_repr_shows_the_wrapped_store():
    """The repr says which store is behind it."""
    assert "ThreadedStore(MemoryStore())" == repr(ThreadedStore(MemoryStore()))


def test_a_swap_that_is_cancelled_while_it_writes_happens():
    """The task ends at once, the thread goes on, and the record and its event are there together."""
    slow = Slow()

    async def work() -> None:
        swap = asyncio.create_task(ThreadedStore(slow).swap(USER, Change(None, stored(1), (event(1),))))
        await asyncio.to_thread(slow.begun.wait, 60)
        swap.cancel()
        with pytest.raises(asyncio.CancelledError):
            await swap
        assert slow.load(USER) is None
        slow.go.set()

    asyncio.run(work())  # which waits for its threads
    assert slow.done.is_set()
    assert stored(1) == slow.load(USER)
    assert [1] == numbers(slow)


@pytest.mark.parametrize("turns", range(6))
def test_a_cancelled_swap_leaves_old_or_new(tmp_path, turns):
    """Cancelled after any number of turns of the loop, the swap happened as a whole or not at all."""
    with SQLiteStore(tmp_path / "app.db") as blocking:
        blocking.swap(USER, Change(None, stored(1), (event(1),)))

        async def work() -> bool | None:
            swap = asyncio.create_task(ThreadedStore(blocking).swap(USER, Change(version(1), stored(2), (event(2),))))
            for _ in range(turns):
                await asyncio.sleep(0)
            swap.cancel()
            return (await asyncio.gather(swap, return_exceptions=True))[0] is True

        told = asyncio.run(work())
        kept = (blocking.load(USER), numbers(blocking))
        assert kept in ([(stored(2), [1, 2])] if told else [(stored(1), [1]), (stored(2), [1, 2])])
        assert blocking.swap(USER, Change(kept[0].version, stored(3)))


def test_of_many_tasks_one_wins(tmp_path):
    """Of swaps that are gathered in one loop, half of them through a second handle, exactly one wins each round."""
    path = tmp_path / "app.db"
    with SQLiteStore(path) as first, SQLiteStore(path) as second:
        handles = [ThreadedStore(first), ThreadedStore(second)]
        assert first.swap(USER, Change(None, stored(0)))

        async def work(held: int, base: int) -> list[int]:
            changes = [Change(version(held), stored(base + n), (event(base + n),)) for n in range(THREADS)]
            swaps = [handles[number % 2].swap(USER, change) for number, change in enumerate(changes)]
            return [base + number for number, won in enumerate(await asyncio.gather(*swaps)) if won]

        expected: list[int] = []
        for base in range(THREADS, 6 * THREADS, THREADS):
            (won,) = asyncio.run(work(expected[-1] if expected else 0, base))
            expected.append(won)
        assert stored(expected[-1]) == first.load(USER)
        assert expected == numbers(first)


# --- the package ---------------------------------------------------------------------------------------------------


def test_every_name_of_the_package_is_there():
    """What the package promises can be had, and nothing else."""
    assert sorted(twofa.stores.__all__) == twofa.stores.__all__
    assert [] == [name for name in twofa.stores.__all__ if not isinstance(getattr(twofa.stores, name), type)]
    with pytest.raises(AttributeError, match=r"module 'twofa\.stores' has no attribute 'OracleStore'"):
        twofa.stores.OracleStore  # noqa: B018  # what is tested


@pytest.mark.parametrize(
    ("statement", "loaded"),
    [
        ("import twofa, twofa.stores", set()),
        ("from twofa.stores import Store, AsyncStore, Stored, Change, Trail, Listing", set()),
        ("from twofa.stores import MemoryStore", set()),
        ("from twofa.stores import ThreadedStore", {"asyncio"}),
        ("from twofa.stores import SQLiteStore", {"sqlite3"}),
    ],
)
def test_a_store_costs_nothing_until_it_is_asked_for(statement, loaded):
    """Only the store that needs it loads a database driver or an event loop."""
    program = f"import sys; {statement}; print(*{{'sqlite3', 'asyncio'}} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert loaded == set(shown.split())


def test_memory_lists_and_tells_in_its_repr_what_it_is():
    """A memory store shows nothing of what it holds."""
    store = MemoryStore()
    store.swap(USER, Change(None, stored(1, "secret")))
    assert isinstance(store, Trail)
    assert "MemoryStore()" == repr(store)
