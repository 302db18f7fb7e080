"""A store for twofa in your own PostgreSQL, on psycopg 3."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from psycopg import Connection, errors

from twofa.stores import Change, Store, Stored, UnexpectedAnswer

TABLE = """CREATE TABLE IF NOT EXISTS twofa
    (user_id text COLLATE "C" PRIMARY KEY, version text NOT NULL, document text NOT NULL)"""
SELECT = """SELECT 'twofa', %(id)s::text, version, document
    FROM (SELECT 1) AS asked LEFT JOIN twofa ON user_id = %(id)s::text"""
INSERT = "INSERT INTO twofa VALUES (%(id)s, %(version)s, %(document)s) ON CONFLICT DO NOTHING"
UPDATE = "UPDATE twofa SET version = %(version)s, document = %(document)s WHERE user_id = %(id)s AND version = %(old)s"
DELETE = "DELETE FROM twofa WHERE user_id = %(id)s AND version = %(old)s"


class PsycopgStore(Store):
    """`connect` opens connections of the store's own: `lambda: psycopg.connect(url)`, or a pool's `pool.connection`."""

    def __init__(self, connect: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._connect = connect

    def load(self, user_id: str) -> Stored | None:
        """Return the record, or `None`."""
        with self._connect() as connection:
            row = connection.execute(SELECT, {"id": user_id}).fetchone()
        if row is None or row[:2] != ("twofa", user_id):  # "no record" is to be said, and by the right statement
            raise UnexpectedAnswer("not the answer: a proxy that pools transactions needs prepare_threshold=None")
        return Stored(*row[2:]) if row[2] else None

    def swap(self, user_id: str, change: Change) -> bool:
        """Apply the change if the version is still the expected one; return whether it was."""
        if change.expected is None and change.new is None:
            return self.load(user_id) is None
        statement = INSERT if change.expected is None else UPDATE if change.new else DELETE
        values = {"id": user_id, "old": change.expected, **(change.new._asdict() if change.new else {})}
        try:
            with self._connect() as connection:  # commits at the end of the block
                return connection.execute(statement, values).rowcount == 1
        except errors.SerializationFailure:  # REPEATABLE READ and above: another swap came first
            return False
