"""What one user and one login cost PostgreSQL, in bytes, log and processor time: the figures of docs/scale.md.

`BENCH_USERS` sets how many users there are, `BENCH_REPETITIONS` how many logins each figure is taken from, `BENCH_DIR`
where the database is. Plain tables and the partitioned ones of docs/scale.md are measured alike.
"""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from accounts import PHONE, Account
from growth import Population, fill_postgresql, user
from measure import NOW, disk, setting
from servers import open_engine, postgresql

from twofa import EventKind
from twofa.stores.sqlalchemy import SQLAlchemyStore

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

PAGE = Path(__file__).parent.parent / "docs" / "scale.md"
PARTITIONS = 16
EVENTS = 100_000
"""How many are erased."""


def partitioned_tables() -> list[str]:
    """Return the statements of docs/scale.md that make the tables, with every partition of the records."""
    (block,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    statements = [statement.split("--")[0] for statement in block.split("\n;\n")]
    one = next(statement for statement in statements if "twofa_record_0" in statement)
    more = [one.replace("_0", f"_{n}").replace("REMAINDER 0", f"REMAINDER {n}") for n in range(1, PARTITIONS)]
    return statements + more


class Database:
    """A database with users, on plain or on partitioned tables."""

    def __init__(self, server: Any, people: Population, stack: ExitStack, *, partitioned: bool) -> None:
        name = server.new_database()
        self.url = server.url(name)
        self._connection = stack.enter_context(psycopg.connect(self.url, autocommit=True))
        if partitioned:
            for statement in partitioned_tables():
                self._connection.execute(statement.encode())
        self.engine = open_engine(server.url(name, driver="psycopg"), stack)
        SQLAlchemyStore(self.engine).create_tables()
        fill_postgresql(self.url, people)

    def one(self, query: str) -> Any:
        """Return the one value that a query has."""
        row = self._connection.execute(query.encode()).fetchone()
        return row[0] if row else None

    def bytes_of(self, table: str) -> float:
        """Return the bytes of a row, with its part of the indexes."""
        return float(self.one(f"SELECT pg_total_relation_size('{table}')::float / count(*) FROM {table}"))

    def logins(self, who: Sequence[int], leave_out: Collection[EventKind] = ()) -> tuple[float, float, float]:
        """Return what a login takes: bytes of log right after a checkpoint, bytes soon after, µs of the server."""
        store = SQLAlchemyStore(self.engine, leave_out=leave_out)
        accounts = [Account(store, user(number)) for number in who]
        pid = self._pid()
        self._connection.execute("CHECKPOINT")
        before, used = self._log(), processor_time(pid)
        logs: list[int] = []
        # Each user once, so that hardly a page is changed twice, as with many more users. Then each once more, when
        # every page is in the log as a whole already.
        for _ in range(2):
            for account in accounts:
                account.sign_in(account.now + 30, PHONE.code(account.now + 30))
            logs.append(self._log())
        first, second = (logs[0] - before) / len(who), (logs[1] - logs[0]) / len(who)
        return first, second, (processor_time(pid) - used) / len(who) / 2 * 1e6

    def _pid(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())

    def _log(self) -> int:
        return int(self.one("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"))

    def add_events(self, at: int) -> None:
        """Add many events of one time."""
        self._connection.execute(
            "INSERT INTO twofa_event (user_id, at, kind, source, detail)"
            f" SELECT 'user-' || n, {at}, 'code_accepted', NULL, '{{}}' FROM generate_series(1, {EVENTS}) n".encode()
        )

    def drop(self, table: str) -> float:
        """Drop a table; return how long it took."""
        begun = time.monotonic()
        self._connection.execute(f"DROP TABLE {table}".encode())
        return time.monotonic() - begun


def processor_time(pid: int) -> float:
    """Return the seconds of processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> None:
    """Print the figures."""
    count = int(setting("BENCH_REPETITIONS", 5000))
    people = Population(int(setting("BENCH_USERS", 100_000)), 2 * count)
    some, others = people.who_sign_in()[:count], people.who_sign_in()[count:]
    with disk() as folder, postgresql(folder) as server, ExitStack() as stack:
        plain = Database(server, people, stack, partitioned=False)
        parted = Database(server, people, stack, partitioned=True)
        print(f"a record: {plain.bytes_of('twofa_record'):,.0f} bytes; an event: {plain.bytes_of('twofa_event'):,.0f}")
        lean = {EventKind.CODE_ACCEPTED}
        for what, (first, second, used) in {
            "with its event": plain.logins(some),
            "without": plain.logins(others, lean),
            "with its event, partitioned": parted.logins(some),
            "without, partitioned": parted.logins(others, lean),
        }.items():
            print(f"a login {what}: log {second:,.0f} bytes, {first:,.0f} after a checkpoint; server {used:,.0f} µs")
        old = NOW - 40 * 86_400
        plain.add_events(old)
        begun = time.monotonic()
        erased = SQLAlchemyStore(plain.engine).prune_events(datetime.fromtimestamp(old + 1, UTC))
        print(f"to erase {erased:,} events: {time.monotonic() - begun:.1f} s; to drop their partition: ", end="")
        parted.add_events(NOW)
        print(f"{parted.drop('twofa_event_2027_01'):.2f} s")


if __name__ == "__main__":
    main()
