"""Engines across a fork: a child process does without the connections that its parent has opened.

A connection that both use mixes up their statements and their answers. SQLAlchemy's advice is to call
`engine.dispose(close=False)` in the child, before anything else; here that is done for every engine that a store has.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from sqlalchemy import Engine, Pool

_engines: WeakSet[Engine] = WeakSet()
_inherited: list[Pool] = []
"""Kept for as long as the child lives: what a driver does when its connection is collected would reach the parent's."""


def part_at_fork(engine: Engine) -> None:
    """From now on, let each forked child of this process begin with an empty pool."""
    _engines.add(engine)


def _leave_connections_to_the_parent() -> None:
    for engine in list(_engines):
        _inherited.append(engine.pool)
        engine.dispose(close=False)


if sys.platform != "win32":  # pragma: no branch  # Windows has no fork
    os.register_at_fork(after_in_child=_leave_connections_to_the_parent)
