"""What this process may use: the processors and the memory of its container, not of the machine around it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_UNLIMITED = 1 << 62
"""Bytes; what is larger stands for "no limit", as the kernel writes it for version 1 of control groups."""


def cpus(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the processors that may be used: those of the affinity mask, within the control group's quota."""
    visible = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(visible, _quota(root)))


def memory(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes of memory that the control group allows; a very large number without a limit."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # version 2 of control groups, and version 1
        with suppress(OSError, ValueError):
            return min(int((root / name).read_text()), _UNLIMITED)
    return _UNLIMITED


def _quota(root: Path) -> int:
    with suppress(OSError, ValueError):
        quota, period = map(int, (root / "cpu.max").read_text().split())
        return -(-quota // period)
    with suppress(OSError, ValueError):
        quota = int((root / "cpu" / "cpu.cfs_quota_us").read_text())
        period = int((root / "cpu" / "cpu.cfs_period_us").read_text())
        if quota > 0:
            return -(-quota // period)
    return os.cpu_count() or 1
