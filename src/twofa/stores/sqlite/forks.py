"""No connection to an SQLite file is open while the process forks.

SQLite keeps its account of a file's locks in the memory of the process. A child that inherits a connection believes
that it holds locks which only the parent has; and once the parent is gone, whoever closes the file next deletes the log
that the child still writes to. Seen: swaps of a daemon, committed, that no other process could read, so that a spent
code was valid again (https://www.sqlite.org/howtocorrupt.html §2.6).

So each use of a connection goes through a gate. A fork closes the gate, waits until no connection is in use, and has
every store close those that it keeps; afterwards the gate is open again, on both sides.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import Protocol

PATIENCE = 30.0
"""Seconds that a fork waits for other threads to be done with their connections."""


class KeepsConnections(Protocol):
    """What takes part in a fork: the connections of one store."""

    def close_idle(self) -> None:
        """Close every connection that is not in use and can be opened again."""
        ...

    def adopt(self) -> None:
        """Start anew in a forked child, without using or closing what it inherited."""
        ...


class Gate:
    """Where every use of a connection goes through: `with gate: …`."""

    def __init__(self) -> None:
        self.open_in_child()

    def open_in_child(self) -> None:
        """Let everyone in, where no thread but this one exists, and none will give back what it has locked."""
        # The lock is taken itself, and not through the condition: between a method in Python that has taken a lock and
        # the `with` that would give it back, a signal handler can raise.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._closed = False
        self._inside: set[int] = set()

    def __enter__(self) -> None:
        with self._lock:
            self._changed.wait_for(lambda: not self._closed)
            self._inside.add(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside.discard(threading.get_ident())
            self._changed.notify_all()

    def close(self) -> None:
        """Let no one in, and wait for the other threads to come out."""
        # A signal handler may fork in the middle of a swap of its own thread, which cannot come out meanwhile.
        own = {threading.get_ident()}
        with self._lock:
            self._closed = True
            self._changed.wait_for(lambda: self._inside <= own, PATIENCE)

    def open(self) -> None:
        """Let everyone in."""
        with self._lock:
            self._closed = False
            self._changed.notify_all()


gate = Gate()
_stores: weakref.WeakSet[KeepsConnections] = weakref.WeakSet()


def take_part(connections: KeepsConnections) -> None:
    """Have the connections of a store closed before each fork, for as long as they are in use."""
    _stores.add(connections)


def before_fork() -> None:
    """Close what is open."""
    gate.close()
    for connections in list(_stores):
        connections.close_idle()


def after_fork_in_child() -> None:
    """Start anew."""
    gate.open_in_child()
    for connections in list(_stores):
        connections.adopt()


if sys.platform != "win32":  # pragma: no branch  # Windows has no fork
    os.register_at_fork(before=before_fork, after_in_parent=gate.open, after_in_child=after_fork_in_child)
