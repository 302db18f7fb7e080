"""How many users a second `python -m twofa reseal` and a migration script get through on SQLite, start included.

Commands and yardsticks take turns. Without recovery codes the yardstick is a read and a write of each record, in a
transaction of its own, in bare `sqlite3`; with codes it is as many bare hashes over the cores. Memory is the peak of
the command's process.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from accounts import KEYS, synthetic_record
from measure import SECRET, disk, print_lines, setting
from run import bare_hash

from twofa import KeyRing, TwoFactor
from twofa.migration import Enrolment, main
from twofa.stores import SQLiteStore

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator

OLD, NEW = "QmVuY2htYXJrcyBzZWFsIHdpdGggdGhpcyBvbmUga2U", "QW5vdGhlciBrZXkgdGhhdCBvbmx5IGJlbmNobWFya3M"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
USERS, USERS_WITH_CODES = int(setting("BENCH_MOVING_USERS", 20_000)), int(setting("BENCH_MOVING_CODES_OF", 24))
CODES = 10
ROUNDS = int(setting("BENCH_ROUNDS", 3))
SIZES = [int(size) for size in os.environ.get("BENCH_MOVING_SIZES", "1000,10000,100000").split(",")]


# --- what the commands work on: `--app moving:two_factor` ------------------------------------------------------------


def two_factor() -> TwoFactor:
    """Return the application of the commands below; it notes at its end how much memory its process took."""
    atexit.register(_note_memory)
    return TwoFactor(SQLiteStore(os.environ["BENCH_FILE"]), keys=KeyRing.from_env("TWOFA_KEYS"), issuer="Example")


def _note_memory() -> None:
    # Not what `getrusage` says: that counts the process which started this one, too.
    [peak] = re.findall(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    Path(f"{os.environ['BENCH_FILE']}.peak").write_text(peak)


def elsewhere(arguments: Namespace) -> Iterator[Enrolment]:
    """Yield users of another library, which costs nothing here."""
    del arguments
    codes = int(os.environ["BENCH_CODES"])
    for number in range(int(os.environ["BENCH_USERS"])):
        printed = tuple(f"{number:05}-{code:05}" for code in range(codes))
        yield Enrolment(user_id=f"user-{number:07}@example.com", secret=SECRET, recovery_codes=printed)


# --- commands and yardsticks -----------------------------------------------------------------------------------------


class Run(NamedTuple):
    """A command, run to its end."""

    seconds: float
    processor: float
    """Seconds of processor time."""
    summed: dict[str, int]


def run(path: Path, *command: str, keys: str = OLD, users: int = 0, codes: int = 0) -> Run:
    """Run a command, from the start of its process."""
    variables = {"BENCH_FILE": path, "BENCH_USERS": users, "BENCH_CODES": codes, "TWOFA_KEYS": keys}
    modules = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {name: str(value) for name, value in variables.items()} | {"PYTHONPATH": modules}
    started, before = time.perf_counter(), os.times()
    done = subprocess.run(
        [sys.executable, *command, "--app", "moving:two_factor", "--json"],
        check=True, stdout=subprocess.PIPE, env={**os.environ, **environment},
    )  # fmt: skip
    after, seconds = os.times(), time.perf_counter() - started
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(seconds, processor, json.loads(done.stdout.splitlines()[-1]))


def fill(path: Path, users: int) -> None:
    """Put enrolled users into a file, under the old key."""
    with SQLiteStore(path):
        pass
    rows = ((user, *synthetic_record(user, KEYS)) for user in (f"user-{n:07}@example.com" for n in range(users)))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany("INSERT INTO twofa_record VALUES (?, ?, ?)", rows)


def bare(path: Path, users: int) -> float:
    """Return the seconds of a read and a write of each record, one transaction each, without the library."""
    started = time.perf_counter()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        execute = connection.execute
        execute("PRAGMA synchronous=FULL")
        for (user,) in execute("SELECT user_id FROM twofa_record LIMIT ?", (users,)).fetchall():
            _, document = execute("SELECT version, document FROM twofa_record WHERE user_id = ?", (user,)).fetchone()
            execute("BEGIN IMMEDIATE")
            # SQLite does not write what has not changed.
            values = (os.urandom(16).hex(), document, user)
            execute("UPDATE twofa_record SET version = ?, document = ? WHERE user_id = ?", values)
            execute("COMMIT")
    return time.perf_counter() - started


def bare_hashes(how_many: int) -> float:
    """Return the seconds of so many hashes over the cores."""
    with ThreadPoolExecutor(CORES) as pool:
        started = time.perf_counter()
        for future in [pool.submit(bare_hash) for _ in range(how_many)]:
            future.result()
        return time.perf_counter() - started


# --- lines of the table ----------------------------------------------------------------------------------------------


def reseal_line(folder: Path) -> tuple[str, bool]:
    """Reseal all users, to one key and back."""
    path = folder / "reseal.db"
    fill(path, USERS)
    keys = [f"{NEW},{OLD}", f"{OLD},{NEW}"]

    def ours(number: int) -> Run:
        done = run(path, "-m", "twofa", "reseal", keys=keys[number % 2])
        if done.summed != {"users": USERS, "resealed": USERS, "failed": 0}:
            raise RuntimeError(f"not everyone was resealed: {done.summed}")
        return done

    return _line("`reseal`", USERS, ours, lambda: bare(path, USERS))


def import_line(folder: Path) -> tuple[str, bool]:
    """Import all users without recovery codes, each time into a new file."""

    def ours(number: int) -> Run:
        path = folder / f"import-{number}.db"
        SQLiteStore(path).close()
        done = run(path, str(Path(__file__)), "--by", "ops", users=USERS)
        if done.summed["moved"] != USERS:
            raise RuntimeError(f"not everyone was moved: {done.summed}")
        return done

    return _line("import, no recovery codes", USERS, ours, lambda: bare(folder / "import-0.db", USERS))


def import_with_codes_line(folder: Path) -> tuple[str, bool]:
    """Import users with ten recovery codes each. To start the process is left out of this one: it is not the hashes."""
    started = [run(folder / "empty.db", str(Path(__file__)), "--by", "ops").seconds for _ in range(ROUNDS)]
    ratios, speeds = [], []
    for number in range(ROUNDS):
        path = folder / f"codes-{number}.db"
        SQLiteStore(path).close()
        theirs = bare_hashes(USERS_WITH_CODES * CODES)
        seconds = run(path, str(Path(__file__)), "--by", "ops", users=USERS_WITH_CODES, codes=CODES).seconds
        ratios.append((seconds - median(started)) / theirs)
        speeds.append(USERS_WITH_CODES / seconds)
    ratio = median(ratios)
    text = f"import, {CODES} recovery codes | {median(speeds):,.1f} | | at most 1.1 × the bare hashes | {ratio:.2f} × |"
    return f"| {text}", ratio <= 1.1


def memory_line(folder: Path) -> tuple[str, bool]:
    """Reseal files of different sizes."""
    peaks = []
    for size in SIZES:
        path = folder / f"memory-{size}.db"
        fill(path, size)
        run(path, "-m", "twofa", "reseal", keys=f"{NEW},{OLD}")
        peaks.append(int(Path(f"{path}.peak").read_text()) / 1024)
        path.unlink()
    sizes, measured = (" / ".join(f"{value:,.0f}" for value in values) for values in (SIZES, peaks))
    growth = peaks[-1] / peaks[0]
    return f"| memory of `reseal`, {sizes} users | | | at most 1.1 × the first | {measured} MiB |", growth <= 1.1


def _line(what: str, users: int, ours: Callable[[int], Run], theirs: Callable[[], float]) -> tuple[str, bool]:
    pairs = [(ours(number), theirs()) for number in range(ROUNDS)]
    speed, of_processor = (users / median(getattr(one, kind) for one, _ in pairs) for kind in ("seconds", "processor"))
    ratio = median(one.seconds / bare for one, bare in pairs)
    speeds = f"{speed:,.0f} | {of_processor:,.0f}"
    return f"| {what} | {speeds} | at least 2,000 a second | {ratio:.2f} × the bare statements |", speed >= 2000


def print_table() -> None:
    """Print it, and fail if a bar is missed."""
    with disk() as folder:
        lines = (line(folder) for line in (reseal_line, import_line, import_with_codes_line, memory_line))
        print_lines("| what | users a second | a second of processor time | bar | measured |", lines)


if __name__ == "__main__":
    if len(sys.argv) > 1:  # as a migration script, which the lines above start
        sys.exit(main("elsewhere", elsewhere))
    print_table()
