"""What a login costs through a store, against the bare statements that it needs: part of `make bench-stores`.

`BENCH_REPETITIONS` sets how many calls each median is taken from, `BENCH_DIR` where the databases are.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Literal, Protocol

from accounts import Account
from bare import BarePostgreSQL, BareSQLite
from measure import Row, disk, medians, print_rows, setting, three_digests
from servers import open_engine, postgresql

from twofa.stores import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from twofa import Store


class Yardstick(Protocol):
    """The bare statements in some driver."""

    def select(self) -> object: ...

    def login(self) -> object: ...


def measured(store: Store, yardstick: Yardstick, repetitions: int) -> dict[str, float]:
    """Return the medians of everything that is compared, in nanoseconds."""
    account, waiting = Account(store, "user-42").enrol(), Account(store, "user-43").enrol()
    waiting.begin_to_wait()
    right_codes, wrong_codes = account.right_codes(repetitions), account.wrong_codes(repetitions)
    calls: dict[str, Callable[[], object]] = {
        "right": lambda: account.sign_in(*next(right_codes)),
        "bare": yardstick.login,
        "digests": three_digests,
        "wrong": lambda: account.fail(*next(wrong_codes)),
        "waiting": lambda: waiting.fail(waiting.now, "000000"),
        "select": yardstick.select,
    }
    return medians(calls, repetitions)


def rows(where: str, statements: str, found: dict[str, float], bar: float | None) -> Iterator[Row]:
    """Yield the lines that every store has; `bar` is that of a login."""
    taken = f"{found['right'] / 1000:.0f} µs against {found['bare'] / 1000:.0f} µs"
    yield Row(f"login through {where} ({taken})", bar, statements, found["right"] / found["bare"])
    yield Row(f"a wrong code through {where}", 1.15, "a right one", found["wrong"] / found["right"])
    yield Row(f"a code during a wait through {where}", None, "the bare SELECT", found["waiting"] / found["select"])


def sqlite_rows(folder: Path, synchronous: Literal["FULL", "NORMAL"], repetitions: int) -> Iterator[Row]:
    """Yield the lines of `SQLiteStore`."""
    where = f"`SQLiteStore`, `synchronous={synchronous}`"
    with (
        SQLiteStore(folder / f"store-{synchronous}.db", synchronous=synchronous) as store,
        closing(BareSQLite(folder / f"bare-{synchronous}.db", synchronous)) as yardstick,
    ):
        found = measured(store, yardstick, repetitions)
    # With NORMAL nothing waits for the disk, so there the bar is on what comes on top, as below.
    yield from rows(where, "its bare statements in `sqlite3`", found, 2.5 if synchronous == "FULL" else None)
    over = (found["right"] - found["bare"]) / found["digests"]
    added = f"{(found['right'] - found['bare']) / 1000:.0f} µs; three `hmac.digest`: {found['digests'] / 1000:.0f} µs"
    yield Row(f"what is added to them, {where} ({added})", 15, "three `hmac.digest`", over)


def postgresql_rows(folder: Path, repetitions: int) -> Iterator[Row]:
    """Yield the lines of `SQLAlchemyStore` on PostgreSQL."""
    from twofa.stores.sqlalchemy import SQLAlchemyStore  # not needed to measure SQLite

    with postgresql(folder) as server, ExitStack() as stack:
        database = server.new_database()
        engine = open_engine(server.url(database, driver="psycopg"), stack)
        store = SQLAlchemyStore(engine)
        store.create_tables()
        BarePostgreSQL.make_tables(server.url(database))
        yardstick = stack.enter_context(closing(BarePostgreSQL(server.url(database))))
        found = measured(store, yardstick, repetitions)
        trips = round_trips(engine, Account(store, "user-44").enrol())
    yield Row("a login through `SQLAlchemyStore` on PostgreSQL", 2, "a round trip to the server", trips)
    yield from rows("`SQLAlchemyStore` on PostgreSQL", "its bare statements in psycopg", found, 2.3)


def round_trips(engine: Engine, account: Account) -> int:
    """Return how often a login waits for the server, by what libpq says it sends: each wait has its Sync or Query."""
    pooled = engine.raw_connection()
    connection: Any = pooled.driver_connection
    pooled.close()  # to the pool, which has only this one
    (code,) = account.right_codes(1)
    with tempfile.TemporaryFile("w+") as trace:
        connection.pgconn.trace(trace.fileno())
        account.sign_in(*code)
        connection.pgconn.untrace()
        trace.seek(0)
        messages = [line.rstrip().split("\t")[1:4] for line in trace]
    return sum(sender == "F" and name in {"Sync", "Query"} for sender, _, name in messages)


def main() -> None:
    """Print the table, and fail if a bar is missed; `sqlite` or `postgresql` as an argument measures only that."""
    repetitions = int(setting("BENCH_REPETITIONS", 2000))
    wanted = sys.argv[1:] or ["sqlite", "postgresql"]

    def every() -> Iterator[Row]:
        with disk() as folder:
            if "sqlite" in wanted:
                yield from sqlite_rows(folder, "FULL", repetitions)
                yield from sqlite_rows(folder, "NORMAL", repetitions)
            if "postgresql" in wanted:
                yield from postgresql_rows(folder, repetitions)

    print_rows(every())


if __name__ == "__main__":
    main()
