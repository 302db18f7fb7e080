"""What a store owes whose data other processes share."""

from __future__ import annotations

import inspect
import multiprocessing
from typing import TYPE_CHECKING, Any

from twofa.stores.protocol import Change, Stored
from twofa.testing.async_conformance import AsyncStoreConformance, Blocking, EventLoop, settled
from twofa.testing.racing import PATIENCE
from twofa.testing.samples import USER, stored, version
from twofa.testing.store_conformance import StoreConformance, dispose, only_winner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier

PROCESSES = 4
ROUNDS = 25


class ProcessConformance(StoreConformance):
    """The laws for a store whose data other processes share. They are started anew ("spawn"), not forked."""

    def make_opener(self, store: Any) -> Callable[[], Any]:  # for those who override it
        """Return a function that can be pickled, and opens the data of `store` in another process.

        `functools.partial(SQLiteStore, path)` is one; a lambda or a method of the test is none.
        """
        raise NotImplementedError("make_opener(store) must return a picklable function that opens the same data")

    def test_processes_share_the_data(self, store: Any) -> None:
        """Of processes that race, one creates each record, and a count that all of them raise loses no update."""
        store.swap(USER, Change(None, stored(0, "0")))
        reports = list(in_processes(self.ask(self.make_opener, store)))

        for round_ in range(ROUNDS):
            (won,) = only_winner([won[round_] for won, _ in reports])
            assert stored(won) == store.load(f"user-{round_}")
        spent = [each for _, versions in reports for each in versions]
        assert str(PROCESSES * ROUNDS) == store.load(USER).document
        assert len(spent) == len(set(spent)), "a version was spent twice"


class AsyncProcessConformance(AsyncStoreConformance, ProcessConformance):
    """The same for an asynchronous store: what `make_opener` returns opens one, and may be a coroutine function."""


def in_processes(opener: Callable[[], Any]) -> Iterator[tuple[list[bool], list[str]]]:
    """Let processes compete; yield of each which records it created, and which versions it spent."""
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(PROCESSES)
    pipes = [spawn.Pipe(duplex=False) for _ in range(PROCESSES)]
    workers = [
        spawn.Process(target=compete, args=(opener, number, start, sender), daemon=True)
        for number, (_, sender) in enumerate(pipes)
    ]
    for worker in workers:
        worker.start()
    for _, sender in pipes:
        sender.close()
    try:
        for receiver, _ in pipes:
            with receiver:
                yield receiver.recv()  # EOFError: that process has died, and has said why
    finally:
        for worker in workers:
            worker.join(PATIENCE)
            worker.close()


def compete(opener: Callable[[], Any], number: int, start: Barrier, results: Connection) -> None:
    """Be one of the processes."""
    loop = EventLoop()
    store: Any = loop.run(settled(opener))
    if inspect.iscoroutinefunction(store.load):
        store = Blocking(store, loop)
    try:
        created: list[bool] = []
        for round_ in range(ROUNDS):
            start.wait(PATIENCE)
            created.append(store.swap(f"user-{round_}", Change(None, stored(number))))
        results.send((created, spend(store, number)))
    finally:
        dispose(store)
        loop.close()


def spend(store: Any, number: int) -> list[str]:
    """Raise the count that all processes raise; return the versions that were spent on it."""
    spent: list[str] = []
    while len(spent) < ROUNDS:
        held: Stored = store.load(USER)
        count = int(held.document) + 1
        if store.swap(USER, Change(held.version, Stored(version(1000 * (number + 1) + count), str(count)))):
            spent.append(held.version)
    return spent
