"""The benchmarks run (but for contention.py, which takes long to start): what they find is for people to read, on a quiet machine, and does not matter here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"
TINY = {
    "BENCH_BURSTS": "1",
    "BENCH_REPETITIONS": "20",
    "BENCH_SQLITE_USERS": "10,20",
    "BENCH_EVENTS": "3000",
    "BENCH_REDIS_USERS": "10,20",
    "BENCH_SECONDS": "0.2",
}


@pytest.mark.parametrize(
    ("name", "lines"), [("logins", 8), ("growth", 2), ("pruning", 2), ("redis_store", 15), ("flood", 9)]
)
def test_a_benchmark_prints_its_table(name: str, lines: int, tmp_path: Path) -> None:
    """Run in small on SQLite, or on Valkey, it prints each of its lines, fails for nothing but a missed bar, and tidies up."""
    environment = {**os.environ, **TINY, "BENCH_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}

    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{name}.py"), "sqlite"],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.stderr == "" or done.stderr.startswith("a bar was missed")
    assert 2 + lines == len(done.stdout.splitlines())
    assert [] == list(tmp_path.iterdir())
