"""Connections to one of the host's databases that none of the host's transactions is ever on.

Django has one connection for each thread, and `ATOMIC_REQUESTS` and `transaction.atomic()` open transactions there. If
a wrong code were counted on it, the rollback of the view that refuses the code would take the count back, and whoever
guesses had as many tries as they like. So the store makes connections of its own, by the same settings.
"""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import request_finished
from django.db import connections

from twofa.stores.sqlite import forks

if TYPE_CHECKING:
    from collections.abc import Generator

    from django.db.backends.base.base import BaseDatabaseWrapper

KNOWN = frozenset({"postgresql", "sqlite"})
"""The databases that the store knows the ways of."""

inherited: list[BaseDatabaseWrapper] = []
"""What a forked child got from its parent: neither used nor closed, since closing would reach the parent's server."""


class Connections:
    """Lends connections in autocommit, each to one caller at a time, and keeps them for the next one.

    They live as long as Django's own: by `CONN_MAX_AGE`, looked at when a request ends, and by `CONN_HEALTH_CHECKS`.
    With a pool of Django's (`OPTIONS["pool"]`) they go back there at once.
    """

    def __init__(self, using: str) -> None:
        self._using = using
        self._idle: list[BaseDatabaseWrapper] = []
        weakref.finalize(self, _close_all, self._idle)
        forks.take_part(self)
        request_finished.connect(self.close_old)

    @contextmanager
    def use(self) -> Generator[BaseDatabaseWrapper]:
        """Lend a connection that nobody else uses meanwhile."""
        with forks.gate:
            connection = _pop(self._idle) or self._make()
            try:
                connection.close_if_health_check_failed()
                connection.ensure_connection()
                if not connection.get_autocommit():  # the host's DATABASES says AUTOCOMMIT: False
                    connection.set_autocommit(True)
                yield connection
            except BaseException:
                # Whatever went wrong: the next caller starts afresh, also where the server has been restarted.
                connection.close()
                self.close_idle()
                raise
            if getattr(connection, "pool", None):
                connection.close()
            self._idle.append(connection)

    def _make(self) -> BaseDatabaseWrapper:
        connection = connections.create_connection(self._using)
        problem = unfit(connection)
        if problem is not None:
            raise ImproperlyConfigured(problem)
        connection.inc_thread_sharing()  # one thread after the other
        return connection

    def close_old(self, **_: object) -> None:
        """Close idle connections that are as old as the host lets its own become."""
        taken: list[BaseDatabaseWrapper] = []
        while (connection := _pop(self._idle)) is not None:
            taken.append(connection)
        for connection in taken:
            connection.close_if_unusable_or_obsolete()
            if connection.connection is not None:
                self._idle.append(connection)

    def close_idle(self) -> None:
        """Close every connection that is not in use."""
        _close_all(self._idle)

    def adopt(self) -> None:
        """Start anew in a forked child."""
        inherited.extend(self._idle)
        self._idle.clear()


def unfit(connection: BaseDatabaseWrapper) -> str | None:
    """Return why the store cannot use a database, by its settings alone; `None` if it can."""
    if connection.vendor not in KNOWN:
        return (
            f"DjangoStore knows PostgreSQL and SQLite, and the database {connection.alias!r} is {connection.vendor}: "
            "name another one by DjangoStore(using=…), or take SQLAlchemyStore, which also knows MariaDB and MySQL"
        )
    if connection.settings_dict["NAME"] == ":memory:":
        return (
            f"the database {connection.alias!r} is in memory, where each connection has a database of its own: name a "
            "file, or take MemoryStore"
        )
    return None


def _pop(idle: list[BaseDatabaseWrapper]) -> BaseDatabaseWrapper | None:
    """Take one of the idle connections, if there is one."""
    try:
        return idle.pop()
    except IndexError:
        return None


def _close_all(idle: list[BaseDatabaseWrapper]) -> None:
    while (connection := _pop(idle)) is not None:
        connection.close()
