"""Was a commit confirmed by the synchronous standby?

A commit that waits for a standby can be relieved of the wait: an operator cancels the statement that hangs, by
`pg_cancel_backend` for instance. PostgreSQL then says that the statement has succeeded, and adds a warning that the
change may not have been replicated. Drivers drop warnings. But a code whose spending is lost in the fail-over that
follows would be accepted again, so for the store that commit is as uncertain as one whose answer never came.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from twofa.stores.protocol import UnexpectedAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_ROUTINE = "SyncRepWaitForLSN"
"""Where PostgreSQL gives up the wait. Unlike the warning's text, this is in no other language."""


@contextmanager
def confirmed(driver: Any) -> Generator[None]:
    """Raise `UnexpectedAnswer` at the end if the server warned that what was committed may not have been replicated.

    Heard from connections of psycopg and asyncpg; with another driver the warning is not noticed.
    """
    routines: list[str | None] = []
    forget: Callable[[Any], None] | None = None

    def psycopg_says(diagnostic: Any) -> None:
        routines.append(diagnostic.source_function)

    def asyncpg_says(_: Any, message: Any) -> None:
        routines.append(message.server_source_function)

    listener: Any = None
    if hasattr(driver, "add_notice_handler"):
        listener, forget = psycopg_says, driver.remove_notice_handler
        driver.add_notice_handler(listener)
    elif hasattr(driver, "add_log_listener"):
        listener, forget = asyncpg_says, driver.remove_log_listener
        driver.add_log_listener(listener)
    try:
        yield
    finally:
        if forget is not None:
            forget(listener)
    if _ROUTINE in routines:
        raise UnexpectedAnswer(
            "the wait for the synchronous standby was cancelled: what was committed may be lost in a fail-over"
        )
