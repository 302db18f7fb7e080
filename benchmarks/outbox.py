"""What readers of the outbox cost those who sign in: part of `make bench-stores`.

`BENCH_SECONDS` sets how long each line runs, `BENCH_DIR` where the databases are.

Eight clients sign in without a pause, each as a user of its own: alone, then beside a process that reads the outbox
ten times a second, then beside that and a swap that hangs, because somebody holds a lock on its record. The three
take turns, a second each, so that a busy machine slows all of them down alike.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from accounts import PHONE, Account, synthetic_record
from measure import disk, print_lines, setting
from servers import mariadb, open_engine, open_store, postgresql
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from twofa import Change
from twofa.stores.sqlalchemy import SQLAlchemyStore

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from contextlib import AbstractContextManager
    from multiprocessing.synchronize import Event

CLIENTS = 8
SLOW = "slow"
"""Whose swap hangs."""
TURN = 1.0
"""Seconds."""
POLL = 0.1
"""Seconds between two looks of the reader."""
BAR = 0.9
"""Of the logins without a reader, so many must go through beside one."""


class Scene:
    """A database with users who sign in."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self._engine = open_engine(url, stack, CLIENTS + 4)
        self._store = SQLAlchemyStore(self._engine)
        self._store.create_tables()
        self._accounts = [Account(self._store, f"user-{number}").enrol() for number in range(CLIENTS)]
        self._store.swap(SLOW, Change(None, synthetic_record(SLOW)))
        spawn = multiprocessing.get_context("spawn")
        self._polls, end = spawn.Event(), spawn.Event()
        process = spawn.Process(target=poll, args=(url, self._polls, end))
        process.start()
        stack.callback(process.join)
        stack.callback(end.set)

    def logins(self, beside: Callable[[], AbstractContextManager[object]]) -> float:
        """Return how many logins a second go through in one turn, beside something else."""
        done = threading.Event()

        def sign_in(account: Account) -> int:
            count = 0
            while not done.is_set():
                account.sign_in(account.now + 30, PHONE.code(account.now + 30))
                count += 1
            return count

        with beside(), ThreadPoolExecutor(CLIENTS) as pool:
            begun = time.monotonic()
            clients = [pool.submit(sign_in, account) for account in self._accounts]
            time.sleep(TURN)
            done.set()
            counts = [client.result() for client in clients]
            return sum(counts) / (time.monotonic() - begun)

    @contextmanager
    def reader(self) -> Generator[None]:
        """Let another process poll the outbox meanwhile."""
        self._polls.set()
        try:
            yield
        finally:
            self._polls.clear()

    @contextmanager
    def hanging_swap(self) -> Generator[None]:
        """Let a swap with an event hang meanwhile, beside a reader."""
        event, held = self._store.events_after("", 1)[0].event, self._store.load(SLOW)
        change = Change(held and held.version, synthetic_record(SLOW), (event,))

        def swap() -> None:
            with suppress(DBAPIError):  # it may have waited for too long
                self._store.swap(SLOW, change)

        slow = SLOW if self._engine.dialect.name == "postgresql" else SLOW.encode()
        with ThreadPoolExecutor(1) as pool, self._engine.connect() as host:
            host.execute(text("UPDATE twofa_record SET document = document WHERE user_id = :slow"), {"slow": slow})
            hanging = pool.submit(swap)
            time.sleep(0.1)
            with self.reader():
                yield
            host.rollback()
            hanging.result()


def poll(url: str, polls: Event, end: Event) -> None:
    """Be a process that reads the outbox while it is told to, from its beginning on."""
    with ExitStack() as stack:
        store = open_store(url, stack)
        cursor = ""
        while not end.is_set():
            if polls.wait(0.1):
                for entry in store.events_after(cursor, 1000):
                    cursor = entry.cursor
                time.sleep(POLL)


def lines(where: str, url: str, turns: int, stack: ExitStack) -> Iterator[tuple[str, bool]]:
    """Yield the lines of one database, and whether each keeps to its bar."""
    scene = Scene(url, stack)
    beside: dict[str, Callable[[], AbstractContextManager[object]]] = {
        "alone": nullcontext,
        "beside a reader": scene.reader,
        "beside a reader and a swap that hangs": scene.hanging_swap,
    }
    counted: dict[str, list[float]] = {what: [] for what in beside}
    for _ in range(turns):
        for what, context in beside.items():
            counted[what].append(scene.logins(context))
    alone = statistics.median(counted["alone"])
    for what, counts in counted.items():
        share = statistics.median(counts) / alone
        kept = share >= BAR
        yield (
            f"| {where} | {what} | {statistics.median(counts):,.0f} | {share:.2f} |{'' if kept else '  <-- below'}",
            kept,
        )


def main() -> None:
    """Print the table, and fail if a bar is missed; `postgresql` or `mariadb` as an argument measures only that."""
    turns = max(1, int(setting("BENCH_SECONDS", 60) / 3))
    wanted = sys.argv[1:] or ["postgresql", "mariadb"]

    def every() -> Iterator[tuple[str, bool]]:
        for name, make, driver in (("postgresql", postgresql, "psycopg"), ("mariadb", mariadb, "pymysql")):
            if name in wanted:
                with disk() as folder, make(folder) as server, ExitStack() as stack:
                    url = server.url(server.new_database(), driver=driver)
                    where = {"postgresql": "PostgreSQL", "mariadb": "MariaDB"}[name]
                    yield from lines(where, url, turns, stack)

    print_lines(f"| database | eight clients sign in | logins a second | at least {BAR} of alone |", every())


if __name__ == "__main__":
    main()
