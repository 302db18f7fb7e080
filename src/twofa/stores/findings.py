"""Mistakes that more than one store looks for, when `python -m twofa check` asks it to."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twofa.stores.protocol import Finding

MOST_APART = 30
"""Seconds between two clocks. A time step has as many: an app's code is refused when this machine is further off."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def in_memory() -> Finding:
    """Return what there is to say of a store in memory."""
    message = "the store is in the memory of one process and gone with it: nobody's second factor survives a restart"
    return Finding(severity="critical", code="in_memory", message=message)


def of_file(path: str) -> list[Finding]:
    """Return what is wrong with an SQLite file and those beside it."""
    readable = [
        file
        for file in (Path(path), Path(f"{path}-wal"), Path(f"{path}-shm"))
        if os.name == "posix" and file.exists() and file.stat().st_mode & _OTHERS
    ]
    if not readable:
        return []
    message = (
        "other users of this machine can read the audit trail, which is not sealed: "
        f"chmod 600 {' '.join(str(file.absolute()) for file in readable)}"
    )
    return [Finding(severity="warning", code="readable_by_others", message=message)]


def of_clock(now: float, database: float, whose: str) -> list[Finding]:
    """Compare the application's time with the database's, both in Unix seconds."""
    apart = now - database
    if abs(apart) <= MOST_APART:
        return []
    message = (
        f"this machine's clock is {abs(apart):.0f} seconds {'ahead of' if apart > 0 else 'behind'} {whose}: one is "
        "wrong, and if it is this machine's, codes are refused. Let both keep time by NTP"
    )
    return [Finding(severity="critical", code="clock_differs", message=message)]
