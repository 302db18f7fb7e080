"""How the benchmarks measure, and how they print what they found.

Subject and yardstick take turns, one call each, within one run, and their medians are compared. Taking turns matters: a
call that is repeated in a tight loop runs from the processor's caches, which no login does.
"""

from __future__ import annotations

import hmac
import os
import statistics
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

NOW = 1_800_000_000
SECRET = bytes(range(20))
MESSAGE = (NOW // 30).to_bytes(8, "big")


def medians(calls: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Return each call's median time in nanoseconds; all take turns, one call each."""
    taken: dict[str, list[int]] = {name: [] for name in calls}
    for _ in range(repetitions):
        for name, function in calls.items():
            start = time.perf_counter_ns()
            function()
            taken[name].append(time.perf_counter_ns() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def ratio(subject: Callable[[], object], yardstick: Callable[[], object], repetitions: int) -> float:
    """Return how many times longer `subject` takes, by the medians of calls that take turns."""
    found = medians({"subject": subject, "yardstick": yardstick}, repetitions)
    return found["subject"] / found["yardstick"]


def three_digests() -> None:
    """The work that a window of three time steps cannot do without."""
    hmac.digest(SECRET, MESSAGE, "sha1")
    hmac.digest(SECRET, MESSAGE, "sha1")
    hmac.digest(SECRET, MESSAGE, "sha1")


class Row:
    """One line of a table: a ratio, and the bar that it must not go over, if there is one."""

    def __init__(self, what: str, bar: float | None, yardstick: str, ratio: float) -> None:
        self.what, self.bar, self.yardstick, self.ratio = what, bar, yardstick, ratio

    @property
    def missed(self) -> bool:
        """Whether the ratio is over the bar."""
        return self.bar is not None and self.ratio > self.bar

    def __str__(self) -> str:
        wanted = f"× {self.yardstick}" if self.bar is None else f"at most {self.bar:g} × {self.yardstick}"
        return f"| {self.what} | {wanted} | {self.ratio:.2f} ×{'  <-- over' if self.missed else ''} |"


def print_rows(rows: Iterable[Row]) -> None:
    """Print a table of ratios, and end the program with an error if a bar is missed."""
    print_lines("| what | bar | measured |", ((str(row), not row.missed) for row in rows))


def print_lines(head: str, lines: Iterable[tuple[str, bool]]) -> None:
    """Print a table as it is found, and end the program with an error if a line does not keep to its bar."""
    print(head, "|---" * (head.count("|") - 1) + "|", sep="\n", flush=True)
    missed = False
    for line, kept in lines:
        print(line, flush=True)
        missed = missed or not kept
    if missed:
        raise SystemExit("a bar was missed: on a busy machine run it again before you believe it")


def setting(name: str, default: float) -> float:
    """Return a number from the environment."""
    return float(os.environ.get(name, default))


@contextmanager
def disk() -> Iterator[Path]:
    """Make a folder for databases on a real disk, and remove it afterwards.

    It is under `BENCH_DIR`, or else under build/ of the project: /tmp is memory on many machines, where a synchronous
    write costs nothing.
    """
    parent = Path(os.environ.get("BENCH_DIR") or Path(__file__).parent.parent / "build")
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
