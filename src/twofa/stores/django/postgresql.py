"""What the store does in PostgreSQL: each call is one statement, and so committed when its answer comes.

`WITH done AS (UPDATE twofa_record SET … WHERE user_id = … AND version = … RETURNING user_id),
logged AS (INSERT INTO twofa_event … SELECT … FROM done …) SELECT …, (SELECT count(*) FROM done)`

The events are joined with the row that was changed: a swap that loses writes nothing. Every answer begins with a
marker, the number of the call and the id that was asked for, since an empty result must not read as "no record": behind
a proxy that pools transactions it can be the answer to somebody else's statement.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError

from twofa.stores import findings
from twofa.stores.confirmation import confirmed
from twofa.stores.protocol import Finding, OutboxEntry, Stored, UnexpectedAnswer
from twofa.stores.trail import PAUSE, Deadline, EventRow, check_cache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper

    from twofa.events import Event
    from twofa.stores.protocol import Change

_SERIALIZATION_FAILURE = "40001"
_NAME_THE_PRIMARY = "name the primary by DjangoStore(using=…)"

_LOAD = """
SELECT 'twofa load', %(call)s::text, %(whose)s::text, pg_is_in_recovery(), version, document
FROM (SELECT 1) AS asked LEFT JOIN twofa_record ON user_id = %(whose)s::text
"""

_DONE = {
    "create": """INSERT INTO twofa_record (user_id, version, document)
        VALUES (%(whose)s, %(version)s, %(document)s) ON CONFLICT (user_id) DO NOTHING RETURNING user_id""",
    "update": """UPDATE twofa_record SET version = %(version)s, document = %(document)s
        WHERE user_id = %(whose)s AND version = %(expected)s RETURNING user_id""",
    "delete": "DELETE FROM twofa_record WHERE user_id = %(whose)s AND version = %(expected)s RETURNING user_id",
    "stay absent": """SELECT %(whose)s::text AS user_id
        WHERE NOT EXISTS (SELECT FROM twofa_record WHERE user_id = %(whose)s)""",
}
_ERASE = "erased AS (DELETE FROM twofa_event WHERE user_id IN (SELECT user_id FROM done)),"
_LOG = """logged AS (
    INSERT INTO twofa_event (user_id, at, kind, source, detail)
    SELECT done.user_id, event.at, event.kind, event.source, event.detail
    FROM done, unnest(%(at)s::bigint[], %(kind)s::text[], %(source)s::text[], %(detail)s::text[])
        WITH ORDINALITY AS event (at, kind, source, detail, n)
    ORDER BY event.n)"""

_SWAPS = {
    kind: f"""WITH done AS ({done}), {_ERASE if kind in {"delete", "stay absent"} else ""} {_LOG}
SELECT 'twofa {kind}', %(call)s::text, %(whose)s::text, (SELECT count(*) FROM done)"""  # noqa: S608  # all of it stands above
    for kind, done in _DONE.items()
}

_EVENTS = "SELECT user_id, at, kind, source, detail FROM twofa_event WHERE user_id = %s ORDER BY id"
_EVENTS_BETWEEN = """
SELECT id, user_id, at, kind, source, detail FROM twofa_event WHERE id > %s AND id <= %s ORDER BY id LIMIT %s
"""
_PRUNE = "DELETE FROM twofa_event WHERE id IN (SELECT id FROM twofa_event WHERE at < %s ORDER BY at LIMIT %s)"
_USER_IDS = "SELECT user_id FROM twofa_record WHERE user_id > %s ORDER BY user_id LIMIT %s"

# Every transaction that inserts into a table holds this lock on it, from before it draws its first number until its
# commit can be seen. So nothing has to be locked for the sake of readers.
_UNDER_WAY = """
SELECT array_agg(virtualtransaction) FROM pg_locks
WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND relation = 'twofa_event'::regclass
"""
_HIGHEST_NUMBER = f"""
SELECT (SELECT max(id) FROM twofa_event),
    (SELECT seqcache FROM pg_sequence WHERE seqrelid = pg_get_serial_sequence('twofa_event', 'id')::regclass),
    ({_UNDER_WAY})
"""  # noqa: S608  # all of it stands above


class PostgreSQL:
    """PostgreSQL, by psycopg 3 or psycopg2."""

    def load(self, connection: BaseDatabaseWrapper, user_id: str) -> Stored | None:
        """Return a user's record, or `None` where the database says that there is none."""
        replica, version, document = _ask(connection, "load", _LOAD, user_id, {})
        if replica:
            raise UnexpectedAnswer(f"a replica has answered, which may be behind: {_NAME_THE_PRIMARY}")
        return None if version is None else Stored(version, document)

    def swap(self, connection: BaseDatabaseWrapper, user_id: str, change: Change) -> bool:
        """Apply a change in one statement; return whether it happened, and so is committed."""
        kind = _kind_of(change)
        rows = [EventRow.of(event, user_id) for event in change.events]
        parameters: dict[str, Any] = {
            "expected": change.expected,
            **(change.new._asdict() if change.new else {}),
            **{name: [getattr(row, name) for row in rows] for name in ("at", "kind", "source", "detail")},
        }
        try:
            with confirmed(connection.connection):
                (changed,) = _ask(connection, kind, _SWAPS[kind], user_id, parameters)
        except DatabaseError as error:
            # At REPEATABLE READ and above: another swap came first, and nothing was committed.
            if _code(error) != _SERIALIZATION_FAILURE:
                raise
            return False
        return bool(changed == 1)

    def events(self, connection: BaseDatabaseWrapper, user_id: str) -> tuple[Event, ...]:
        """Return a user's events, oldest first."""
        return tuple(EventRow(*row).event() for row in _rows(connection, _EVENTS, [user_id]))

    def events_after(self, connection: BaseDatabaseWrapper, number: int, limit: int) -> tuple[OutboxEntry, ...]:
        """Return up to `limit` events with a number above that one; none below them will ever appear.

        The number of an event is drawn when it is inserted, but seen when it is committed. So a reader takes the
        highest number that it sees, waits until every swap that was under way at that moment has ended, and only then
        reads up to that number. It waits by looking, and no swap ever waits for it.
        """
        highest = self._settled_number(connection, number)
        if highest is None:
            return ()
        rows = _rows(connection, _EVENTS_BETWEEN, [number, highest, limit])
        return tuple(OutboxEntry(str(row[0]), EventRow(*row[1:]).event()) for row in rows)

    def _settled_number(self, connection: BaseDatabaseWrapper, after: int) -> int | None:
        # The number comes from the statement's snapshot, which is older than its look at the locks: whoever has drawn a
        # lower number either holds the lock still, or has ended by the time of the next statement.
        ((highest, cache, under_way),) = _rows(connection, _HIGHEST_NUMBER)
        check_cache(cache)
        if highest is None or highest <= after:
            return None
        writers, deadline = set(under_way or ()), Deadline()
        while writers:
            if deadline.is_over:
                return None
            _rows(connection, "SELECT pg_sleep(%s)", [PAUSE])
            writers &= set(_rows(connection, _UNDER_WAY)[0][0] or ())
        return int(highest)

    def prune_events(self, connection: BaseDatabaseWrapper, seconds: int, most: int) -> int:
        """Erase up to `most` events that are earlier than a Unix time; return how many there were."""
        with connection.cursor() as cursor:
            cursor.execute(_PRUNE, [seconds, most])
            return int(cursor.rowcount)

    def user_ids(self, connection: BaseDatabaseWrapper, after: str, limit: int) -> tuple[str, ...]:
        """Return up to `limit` user ids greater than `after`, in the order of their bytes."""
        return tuple(user_id for (user_id,) in _rows(connection, _USER_IDS, [after, limit]))

    def diagnose(self, connection: BaseDatabaseWrapper, now: float) -> list[Finding]:
        """Return what is wrong with the server."""
        question = "SELECT pg_is_in_recovery(), extract(epoch FROM clock_timestamp())"
        ((replica, server),) = _rows(connection, question)
        found = findings.of_clock(now, float(server), "the database server's")
        if replica:
            message = f"this is a replica, which is behind and cannot be written: {_NAME_THE_PRIMARY}"
            found.insert(0, Finding(severity="critical", code="replica", message=message))
        return found


def _kind_of(change: Change) -> str:
    if change.new is None:
        return "stay absent" if change.expected is None else "delete"
    return "create" if change.expected is None else "update"


def _ask(
    connection: BaseDatabaseWrapper, marker: str, statement: str, user_id: str, parameters: dict[str, Any]
) -> Sequence[Any]:
    """Carry out a statement about a user; return what its one row has behind the columns that it is known by."""
    call = secrets.token_hex(8)
    with connection.cursor() as cursor:
        cursor.execute(statement, {"call": call, "whose": user_id, **parameters})
        row: Any = cursor.fetchone()
    if row is None or tuple(row[:3]) != (f"twofa {marker}", call, user_id):
        raise UnexpectedAnswer(
            "the database answered something else than what the store asked, so nothing was believed: a proxy pools "
            'transactions while the driver prepares statements. Leave "prepare_threshold" out of OPTIONS in DATABASES'
        )
    columns: Sequence[Any] = row[3:]
    return columns


def _rows(connection: BaseDatabaseWrapper, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return list(cursor.fetchall())


def _code(error: DatabaseError) -> str | None:
    """Return the server's code of an error, as psycopg 3 or psycopg2 names it."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
