"""The two statements of a login, given to psycopg past SQLAlchemy's layers, where nobody listens in between.

SQLAlchemy's own part of a login took longer than PostgreSQL's: a connection object, an isolation level that is set and
set back, a transaction that never begins, a result with metadata. Here a pooled connection of the host's engine is lent
and given back, and the driver is asked. Whatever a host has hooked into its engine (events of connections, transactions
or statements, a map of schemas, a log of statements) sends the call the ordinary way, as does every other driver.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from sqlalchemy import Engine

_HOOKS = (
    "after_cursor_execute",
    "after_execute",
    "before_cursor_execute",
    "before_execute",
    "begin",
    "commit",
    "engine_connect",
    "rollback",
    "set_connection_execution_options",
)
"""Events that the ordinary way has and this one has not. Those of the pool it has."""
_IDLE = 0
"""What libpq calls a connection without a transaction."""
_log = logging.getLogger("sqlalchemy.engine.Engine")


def is_possible(engine: Engine) -> bool:
    """Return whether nobody would miss anything."""
    dialect = engine.dialect
    if dialect.driver != "psycopg" or dialect.is_async:
        return False
    if engine.echo or _log.isEnabledFor(logging.INFO) or "schema_translate_map" in engine.get_execution_options():
        return False
    hooks: Any = engine.dispatch
    inner: Any = dialect.dispatch
    return not (inner.handle_error or inner.do_execute or any(getattr(hooks, name) for name in _HOOKS))


def execute(
    engine: Engine,
    statement: str,
    parameters: dict[str, Any],
    watch: Callable[[Any], AbstractContextManager[object]] = nullcontext,
) -> Any:
    """Carry out one statement, which is committed when its answer comes; return the first column of its first row.

    `watch` makes a context from the driver's connection. Raises what `Connection.execute` raises.
    """
    errors: Any = engine.dialect.loaded_dbapi.Error
    try:
        pooled = engine.raw_connection()
    except errors as problem:
        raise _wrapped(problem, engine, None, None, lost=False) from problem
    try:
        with watch(pooled.driver_connection):
            return _execute(pooled.driver_connection, statement, parameters)
    except errors as problem:
        lost = engine.dialect.is_disconnect(problem, pooled, None)
        if lost:
            # The server may be gone, and with it every connection of the pool: each is closed when it is next taken,
            # and made anew. SQLAlchemy does this after its own calls, and has no public name for it. `engine.dispose()`
            # would abandon the connections that other threads hold, which stay open until they are collected.
            pool: Any = engine.pool
            pool._invalidate(pooled, problem)
        raise _wrapped(problem, engine, statement, parameters, lost=lost) from problem
    except BaseException as problem:
        if not isinstance(problem, Exception):
            pooled.invalidate(problem)  # interrupted, by a signal for instance: the statement may still be under way
        raise
    finally:
        pooled.close()


def _execute(driver: Any, statement: str, parameters: dict[str, Any]) -> Any:
    if driver.info.transaction_status != _IDLE:  # a hook of the pool's has run a statement, such as SET
        driver.commit()
    before = driver.autocommit
    if not before:
        driver.autocommit = True
    try:
        row = driver.execute(statement, parameters).fetchone()
    finally:
        if not before and not driver.closed:
            driver.autocommit = False
    return None if row is None else row[0]


def _wrapped(
    problem: Exception, engine: Engine, statement: str | None, parameters: dict[str, Any] | None, *, lost: bool
) -> BaseException:
    """Return the error that SQLAlchemy raises for a driver's."""
    dialect: Any = engine.dialect
    wrapped: BaseException = DBAPIError.instance(
        statement,
        parameters,
        problem,
        dialect.loaded_dbapi.Error,
        hide_parameters=engine.hide_parameters,
        connection_invalidated=lost,
        dialect=dialect,
    )
    return wrapped
