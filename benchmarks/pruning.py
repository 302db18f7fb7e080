"""Sign-ins while millions of old events are pruned from an SQLite file: part of `make bench-stores`.

`BENCH_EVENTS` sets how many events are old, `BENCH_DIR` where the database is: four million take about 600 MB.

One client signs in from a thread of the process that prunes, another one from a process of its own, twenty times a
second each. No sign-in may fail, and none may take longer than a second.
"""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
import sys
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from accounts import PHONE, Account
from measure import NOW, disk, print_lines, setting

from twofa.errors import OutcomeUnknown
from twofa.stores import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Event
    from pathlib import Path

BATCH = 10_000
USERS = 1_000_000
"""Over how many users the events are spread, at random."""
PAUSE = 0.05
"""Seconds between two sign-ins of one client."""
LONGEST = 1.0
"""Seconds that a sign-in may take."""
DAY = 86_400
EVENT = "INSERT INTO twofa_event (user_id, at, kind, source, detail) VALUES (?, ?, ?, ?, ?)"


class Count(NamedTuple):
    """What became of the sign-ins of one client."""

    done: int
    failed: int
    slowest: float
    """Seconds."""


def fill(path: Path, events: int) -> None:
    """Make a file with so many events that are between 100 and 200 days old."""
    SQLiteStore(path).close()
    draw = random.Random(events)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-262144"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        for first in range(0, events, BATCH):
            connection.executemany(
                EVENT,
                (
                    (
                        f"user-{draw.randrange(USERS):09}",
                        NOW - 200 * DAY + 100 * DAY * number // events,
                        "code_accepted",
                        "192.0.2.1",
                        '{"step_offset":0}',
                    )
                    for number in range(first, min(first + BATCH, events))
                ),
            )
        connection.execute("COMMIT")


def sign_in_until(path: Path, user_id: str, done: threading.Event | Event) -> Count:
    """Sign in again and again, as one user, until it is over."""
    signed_in, failed, slowest = 0, 0, 0.0
    with SQLiteStore(path) as store:
        account = Account(store, user_id).enrol()
        while not done.is_set():
            at, start = account.now + 30, time.perf_counter()
            try:
                account.sign_in(at, PHONE.code(at))
            except (sqlite3.OperationalError, OutcomeUnknown):
                failed += 1
            else:
                signed_in += 1
            slowest = max(slowest, time.perf_counter() - start)
            time.sleep(PAUSE)
    return Count(signed_in, failed, slowest)


def elsewhere(path: Path, done: Event, results: Connection) -> None:
    """Be the client in another process."""
    results.send(sign_in_until(path, "user-elsewhere", done))


def lines(folder: Path, events: int) -> Iterator[tuple[str, bool]]:
    """Prune while two clients sign in; yield a line for each of them."""
    path = folder / "app.db"
    fill(path, events)
    spawn = multiprocessing.get_context("spawn")
    done, here = spawn.Event(), threading.Event()
    receiver, sender = spawn.Pipe(duplex=False)
    other = spawn.Process(target=elsewhere, args=(path, done, sender))
    other.start()
    found: list[Count] = []
    client = threading.Thread(target=lambda: found.append(sign_in_until(path, "user-here", here)))
    client.start()
    time.sleep(2)
    with SQLiteStore(path) as store:
        start = time.perf_counter()
        pruned = store.prune_events(datetime.fromtimestamp(NOW - 100 * DAY, UTC))
        taken = time.perf_counter() - start
    done.set()
    here.set()
    client.join()
    counts = {"the process that prunes": found[0], "another process": receiver.recv()}
    other.join()
    for where, count in counts.items():
        kept = count.failed == 0 and count.slowest <= LONGEST
        yield (
            f"| {pruned:,} | {taken:,.1f} | {where} | {count.done:,} | {count.failed:,} | {count.slowest:,.2f} |"
            f"{'' if kept else '  <-- over'}",
            kept,
        )


def main() -> None:
    """Print the table, and fail if a sign-in failed or took too long."""
    events = int(setting("BENCH_EVENTS", 4_000_000))
    if sys.argv[1:] not in ([], ["sqlite"]):
        raise SystemExit("only SQLite is measured here")
    with disk() as folder:
        print_lines("| events pruned | in, s | sign-ins from | done | failed | slowest, s |", lines(folder, events))


if __name__ == "__main__":
    main()
