"""What a store owes whose data other processes share."""

from __future__ import annotations

import inspect
import multiprocessing
import os
import signal
from typing import TYPE_CHECKING, Any

from twofa.stores.protocol import Change, Stored
from twofa.testing.async_conformance import AsyncStoreConformance
from twofa.testing.event_loop import Blocking, EventLoop, settled
from twofa.testing.explaining import check_record, check_winner
from twofa.testing.hooks import dispose
from twofa.testing.racing import PATIENCE
from twofa.testing.samples import stored, version
from twofa.testing.store_conformance import StoreConformance
from twofa.testing.user_ids import OTHER, USER

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
            won = check_winner([won[round_] for won, _ in reports], "create one record in several processes")
            check_record(stored(won), store, f"user-{round_}", "that process was told that it created the record")
        spent = [each for _, versions in reports for each in versions]
        count = int(store.load(USER).document)
        assert PROCESSES * ROUNDS == count, (
            f"{PROCESSES} processes raised a count {ROUNDS} times each, and it stands at {count}: updates were lost"
        )
        assert len(spent) == len(set(spent)), "two processes were both told that they replaced the same version"

    def test_a_swap_survives_the_death_of_its_process(self, store: Any) -> None:
        """What a process was told is written is there after that process is killed at once."""
        spawn = multiprocessing.get_context("spawn")
        receiver, sender = spawn.Pipe(duplex=False)
        worker = spawn.Process(target=swap_and_die, args=(self.ask(self.make_opener, store), sender), daemon=True)
        worker.start()
        sender.close()
        with receiver:
            said = receiver.recv()
        worker.join(PATIENCE)
        assert [True, True, True, True] == said, f"four swaps, one after the other, returned {said}"
        why = "the process that wrote it was killed after swap() had returned: it must be durable by then"
        check_record(stored(2), store, USER, why)
        check_record(None, store, OTHER, why)


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


def opened(opener: Callable[[], Any], loop: EventLoop) -> Any:
    """Return a store of either kind, called like a blocking one."""
    store = loop.run(settled(opener))
    return Blocking(store, loop) if inspect.iscoroutinefunction(store.load) else store


def compete(opener: Callable[[], Any], number: int, start: Barrier, results: Connection) -> None:
    """Be one of the processes."""
    loop = EventLoop()
    store = opened(opener, loop)
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


def swap_and_die(opener: Callable[[], Any], results: Connection, die: Callable[[], object] | None = None) -> None:
    """Create, replace and delete records, say what was returned, and end without any tidying up."""
    store = opened(opener, EventLoop())
    changes = (
        (USER, Change(None, stored(1))),
        (USER, Change(version(1), stored(2))),
        (OTHER, Change(None, stored(3))),
        (OTHER, Change(version(3), None)),
    )
    results.send([store.swap(user_id, change) for user_id, change in changes])
    (die or kill_oneself)()


def kill_oneself() -> None:
    """End this process without another instruction."""
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
