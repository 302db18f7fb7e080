"""What a login costs in a small database and in a large one: part of `make bench-stores`.

`BENCH_SQLITE_USERS` and `BENCH_POSTGRESQL_USERS` set the sizes, separated by commas; `BENCH_REPETITIONS` how many
calls each median is taken from; `BENCH_DIR` where the databases are: ten million users take about 30 GB.

Each user has the record and the trail of an enrolment. Those who sign in have records of their own; for all others one
sealed record is kept over and over, which is what it costs a database to keep theirs.
"""

from __future__ import annotations

import os
import random
import sqlite3
import sys
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import psycopg
from accounts import PHONE, Account, synthetic_record
from measure import NOW, disk, medians, print_lines, setting
from servers import open_store, postgresql

from twofa.stores import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from twofa import Store

BAR = 1.5
BATCH = 10_000
RECORD = "INSERT INTO twofa_record (user_id, version, document) VALUES (?, ?, ?)"
EVENT = "INSERT INTO twofa_event (user_id, at, kind, source, detail) VALUES (?, ?, ?, ?, ?)"
TRAIL = (
    (NOW, "setup_begun", "192.0.2.1", '{"replaces":false}'),
    (NOW, "authenticator_confirmed", "192.0.2.1", '{"replaced":false}'),
    (NOW, "recovery_codes_issued", "192.0.2.1", '{"count":10}'),
)


class Population:
    """So many users, of whom some are to sign in."""

    def __init__(self, size: int, logins: int) -> None:
        self.size = size
        chosen = random.Random(size).sample(range(size), min(size, logins))  # the same in every run
        self._real = {number: synthetic_record(user(number)) for number in chosen}
        self._other = synthetic_record(user(0)).document
        self._order = [chosen[turn % len(chosen)] for turn in range(logins)]

    def who_sign_in(self) -> list[int]:
        """Return the numbers of those whose records are real."""
        return list(self._real)

    def batches(self) -> Iterator[range]:
        """Yield all users' numbers, some at a time."""
        for first in range(0, self.size, BATCH):
            yield range(first, min(first + BATCH, self.size))

    def records(self, numbers: range) -> Iterator[tuple[str, str, str]]:
        """Yield rows of the table of records."""
        for number in numbers:
            version, document = self._real.get(number) or (f"{number:032x}", self._other)
            yield user(number), version, document

    def events(self, numbers: range) -> Iterator[tuple[object, ...]]:
        """Yield rows of the table of events."""
        for number in numbers:
            for event in TRAIL:
                yield (user(number), *event)

    def login(self, store: Store) -> Callable[[], None]:
        """Return a call by which the next of those who are to sign in does so."""
        accounts = {number: Account(store, user(number)) for number in self._real}
        turn = iter(self._order)

        def login() -> None:
            account = accounts[next(turn)]
            account.sign_in(account.now + 30, PHONE.code(account.now + 30))

        return login


def user(number: int) -> str:
    """Return a user's id."""
    return f"user-{number:09}"


def fill_sqlite(path: Path, people: Population) -> float:
    """Make a file with these users, as fast as the disk takes it; return its bytes for each."""
    SQLiteStore(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-65536"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        for numbers in people.batches():
            connection.executemany(RECORD, people.records(numbers))
            connection.executemany(EVENT, people.events(numbers))
        connection.execute("COMMIT")
    return path.stat().st_size / people.size


def fill_postgresql(url: str, people: Population) -> float:
    """Fill a database with these users; return its bytes for each."""
    with psycopg.connect(url, autocommit=True) as connection:
        size = "SELECT pg_database_size(current_database())"
        (before,) = connection.execute(size).fetchone() or (0,)
        for numbers in people.batches():
            with connection.transaction(), connection.cursor() as cursor:
                with cursor.copy("COPY twofa_record (user_id, version, document) FROM STDIN") as copy:
                    for record in people.records(numbers):
                        copy.write_row(record)
                with cursor.copy("COPY twofa_event (user_id, at, kind, source, detail) FROM STDIN") as copy:
                    for event in people.events(numbers):
                        copy.write_row(event)
        # So that nothing of this is left to be done while something is measured.
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
        (after,) = connection.execute(size).fetchone() or (0,)
    return float(after - before) / people.size


def sqlite_lines(folder: Path, sizes: Sequence[int], logins: int) -> Iterator[tuple[str, bool]]:
    """Yield the lines of `SQLiteStore`."""
    people = [Population(size, logins) for size in sizes]
    each = [fill_sqlite(folder / f"{crowd.size}.db", crowd) for crowd in people]
    with ExitStack() as stack:
        stores = [stack.enter_context(SQLiteStore(folder / f"{size}.db")) for size in sizes]
        yield from lines("`SQLiteStore`", people, each, stores, logins)


def postgresql_lines(folder: Path, sizes: Sequence[int], logins: int) -> Iterator[tuple[str, bool]]:
    """Yield the lines of `SQLAlchemyStore` on PostgreSQL: one server, a database for each size."""
    people = [Population(size, logins) for size in sizes]
    with postgresql(folder) as server, ExitStack() as stack:
        each: list[float] = []
        stores: list[Store] = []
        for crowd in people:
            database = server.new_database()
            store = open_store(server.url(database, driver="psycopg"), stack)
            store.create_tables()
            each.append(fill_postgresql(server.url(database), crowd))
            stores.append(store)
        yield from lines("PostgreSQL", people, each, stores, logins)


def lines(
    where: str, people: Sequence[Population], each: Sequence[float], stores: Sequence[Store], logins: int
) -> Iterator[tuple[str, bool]]:
    """Let the databases take turns, login by login, and yield a line for each size."""
    os.sync()
    calls = {str(crowd.size): crowd.login(store) for crowd, store in zip(people, stores, strict=True)}
    found = list(medians(calls, logins).values())
    for crowd, size, median in zip(people, each, found, strict=True):
        grown = median / found[0]
        kept = grown <= BAR
        yield (
            f"| {where} | {crowd.size:,} | {size:,.0f} | {median / 1000:,.0f} | {grown:.2f} ×"
            f"{'' if kept else '  <-- over'} |",
            kept,
        )


def main() -> None:
    """Print the table, and fail if a bar is missed; `sqlite` or `postgresql` as an argument measures only that."""
    logins = int(setting("BENCH_REPETITIONS", 2000))
    wanted = sys.argv[1:] or ["sqlite", "postgresql"]

    def every() -> Iterator[tuple[str, bool]]:
        if "sqlite" in wanted:
            with disk() as folder:
                yield from sqlite_lines(folder, sizes("BENCH_SQLITE_USERS", "1000,100000,10000000"), logins)
        if "postgresql" in wanted:
            with disk() as folder:
                yield from postgresql_lines(
                    folder, sizes("BENCH_POSTGRESQL_USERS", "1000,10000,100000,1000000"), logins
                )

    print_lines(f"| store | users | bytes a user | a login, µs | at most {BAR} × the first |", every())


def sizes(name: str, default: str) -> list[int]:
    """Return numbers of users from the environment, the smallest first."""
    return sorted(int(size) for size in os.environ.get(name, default).split(","))


if __name__ == "__main__":
    main()
