"""Sixty-four clients at once: part of `make bench-stores`.

`BENCH_SECONDS` sets how long each line runs, `BENCH_PROCESSES` over how many processes the clients are spread,
`BENCH_DIR` where the databases are.

Each client signs in as a user of its own; then all begin a set-up for one user, which always writes, so that each write
makes all others try again. (Sign-ins of one user hardly contend: of those who are overtaken the library refuses all by
one SELECT.) Beside them run bare loops of guarded UPDATEs, by as many clients in as many processes, on 64 records and
on one.
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from accounts import PHONE, Account
from bare import BarePostgreSQL, BareSQLite
from measure import disk, print_lines, setting
from servers import open_store, postgresql

from twofa.errors import StoreContention
from twofa.stores import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twofa import Store, TwoFactor

CLIENTS = 64
LONGEST_ANSWER = 5.0

Scene: TypeAlias = Literal["own user", "one user", "bare, own record", "bare, one record"]
WHAT: dict[Scene, str] = {
    "own user": "64 clients sign in, 64 users",
    "bare, own record": "the bare loop, 64 records",
    "one user": "64 clients begin a set-up, one user",
    "bare, one record": "the bare loop, one record",
}


class Task(NamedTuple):
    """What one process does."""

    place: str
    """The file of a database in SQLite, or the URL of one in PostgreSQL."""
    scene: Scene
    clients: range
    seconds: float


class Count(NamedTuple):
    """What became of the calls of one client, or of all."""

    outcomes: Counter[str]
    """How often each happened: `done`, or the name of an exception."""
    slowest: float
    """Seconds."""


class Shared:
    """What the processes have in common: the instant of the start, and what was counted."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.start = context.Barrier(CLIENTS)
        self.counts: multiprocessing.Queue[Count] = context.Queue()


def store_at(place: str, clients: int, stack: ExitStack) -> Store:
    """Return the store of one process, to be closed with `stack`."""
    if place.startswith("postgresql"):
        return open_store(place, stack, pool_size=clients)
    return stack.enter_context(SQLiteStore(place))


def open_bare(place: str, user_id: str, stack: ExitStack) -> Callable[[], bool]:
    """Return the loop's body of one bare client, on a connection to be closed with `stack`."""
    if not place.startswith("postgresql"):
        sqlite = BareSQLite(Path(f"{place}.bare"), "FULL", user_id)
        stack.callback(sqlite.close)
        return sqlite.update
    server = BarePostgreSQL(place.replace("+psycopg", ""), user_id)
    stack.callback(server.close)
    return server.update


def client(
    task: Task, number: int, store: Store | None, face: TwoFactor | None, stack: ExitStack
) -> Callable[[], object]:
    """Return what one client does over and over."""
    user_id = f"user-{number}" if "own" in task.scene else "user-0"
    if store is None:
        return open_bare(task.place, user_id, stack)
    if face is not None:
        return lambda: face.begin_setup("new-user", account_name="alice@example.com")
    account = Account(store, user_id)
    return lambda: account.sign_in(account.now + 30, PHONE.code(account.now + 30))


def repeat(call: Callable[[], object], seconds: float) -> Count:
    """Call until the time is over, and count what comes of it."""
    outcomes: Counter[str] = Counter()
    slowest, now = 0.0, time.monotonic()
    deadline = now + seconds
    while now < deadline:
        try:
            outcome = "done" if call() is not False else "lost"
        except Exception as problem:  # whatever it is, it is counted
            outcome = type(problem).__name__
        before, now = now, time.monotonic()
        slowest = max(slowest, now - before)
        outcomes[outcome] += 1
    return Count(outcomes, slowest)


def work(task: Task, shared: Shared) -> None:
    """Be one process: a thread for each of its clients."""
    with ExitStack() as stack:
        store = None if task.scene.startswith("bare") else store_at(task.place, len(task.clients), stack)
        # One face for all of its clients, as an application has it.
        face = Account(store, "user-0").two_factor if store is not None and task.scene == "one user" else None
        calls = [client(task, number, store, face, stack) for number in task.clients]

        def run(call: Callable[[], object]) -> None:
            shared.start.wait()
            shared.counts.put(repeat(call, task.seconds))

        threads = [threading.Thread(target=run, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def all_at_once(place: str, scene: Scene, processes: int, seconds: float) -> Count:
    """Let all clients loose, and return the sum of what they count."""
    shared = Shared()
    share = CLIENTS // processes
    tasks = [Task(place, scene, range(first, first + share), seconds) for first in range(0, CLIENTS, share)]
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(task, shared), daemon=True) for task in tasks]
    for worker in workers:
        worker.start()
    counts = [shared.counts.get(timeout=seconds + 300) for _ in range(CLIENTS)]
    for worker in workers:
        worker.join()
    return Count(sum((each.outcomes for each in counts), Counter()), max(each.slowest for each in counts))


def lines(where: str, place: str, processes: int, seconds: float) -> Iterator[tuple[str, bool]]:
    """Yield the lines of one database, and whether each keeps to its bar."""
    with ExitStack() as stack:
        store = store_at(place, 1, stack)
        for number in range(CLIENTS):
            Account(store, f"user-{number}").enrol()
    for scene, what in WHAT.items():
        outcomes, slowest = all_at_once(place, scene, processes, seconds)
        contended = outcomes[StoreContention.__name__]
        lost = outcomes["lost"]
        failed = outcomes.total() - outcomes["done"] - contended - lost
        kept = not failed and (slowest <= LONGEST_ANSWER or scene.startswith(("bare", "own")))
        kept = kept and not (scene == "own user" and contended)
        named = "".join(f" {name}" for name in sorted(set(outcomes) - {"done", "lost", StoreContention.__name__}))
        yield (
            f"| {where} | {what} | {outcomes['done'] / seconds:,.0f} | {lost / seconds:,.0f} "
            f"| {slowest:.2f} | {contended} | {failed}{named}{'' if kept else '  <-- over'} |",
            kept,
        )


def main() -> None:
    """Print the table, and fail if a bar is missed; `sqlite` or `postgresql` as an argument measures only that."""
    seconds, processes = setting("BENCH_SECONDS", 60), int(setting("BENCH_PROCESSES", 4))
    if CLIENTS % processes:
        raise SystemExit(f"BENCH_PROCESSES must divide {CLIENTS}")
    wanted = sys.argv[1:] or ["sqlite", "postgresql"]

    def every() -> Iterator[tuple[str, bool]]:
        with disk() as folder:
            if "sqlite" in wanted:
                yield from lines("SQLite, one process", str(folder / "one.db"), 1, seconds)
                yield from lines(f"SQLite, {processes} processes", str(folder / "several.db"), processes, seconds)
            if "postgresql" in wanted:
                with postgresql(folder) as server:
                    database = server.new_database()
                    BarePostgreSQL.make_tables(server.url(database))
                    place = server.url(database, driver="psycopg")
                    with ExitStack() as stack:
                        open_store(place, stack).create_tables()
                    yield from lines(f"PostgreSQL, {processes} processes", place, processes, seconds)

    head = "| store | clients | done a second | lost a second | slowest, s | `StoreContention` | failed |"
    print_lines(head, every())


if __name__ == "__main__":
    main()
