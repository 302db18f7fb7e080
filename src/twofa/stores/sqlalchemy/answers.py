"""Is this the answer to what was asked?

No second factor is known by a record that is not there, so an empty result must never be believed. There are two ways
to get somebody else's result. Behind a proxy that pools transactions, a statement that the driver has prepared may be
missing on the connection that is used next, or stand there under the name of a neighbour's statement, which is then
carried out instead. And an engine whose open connections were carried across a fork lets two processes read each
other's replies. In an experiment 288 of 1,200 loads came back empty for users who had a record.

So a statement of the store always answers with one row that says what the statement is, whom it is about and which call
has asked. Only then is "no record" an answer.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, bindparam, literal_column

from twofa.stores.protocol import UnexpectedAnswer

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.types import TypeEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The three columns with which the row of an answer begins."""

    marker: str
    """Names the statement and its schema. It is part of the statement's text, so no other statement can answer it."""

    @classmethod
    def named(cls, statement: str, schema: str | None) -> Question:
        """Make the question that a statement asks of the tables in a schema."""
        # As digits, since a schema may have any name, and the marker is not a parameter.
        return cls(marker=f"twofa {statement} {(schema or '').encode().hex()}".strip())

    def columns(self, user_id_type: TypeEngine[str]) -> tuple[ColumnElement[str], ...]:
        """Return the columns to select first: the marker, and the parameters `call` and `whose` as they came."""
        return (
            literal_column(f"'{self.marker}'", String()),
            bindparam("call", type_=String()).label("asked_by"),
            bindparam("whose", type_=user_id_type).label("asked_for"),
        )

    def check(self, row: Sequence[Any] | None, call: str, user_id: str) -> Sequence[Any]:
        """Return what follows those columns. Raises `UnexpectedAnswer` for a row that answers anything else."""
        begins = tuple(row[:3]) if isinstance(row, Sequence) else ()
        if row is None or begins != (self.marker, call, user_id):
            raise UnexpectedAnswer(
                "the database answered something else than what the store asked, so nothing was believed. Either a "
                "proxy pools transactions while the driver prepares statements (psycopg: "
                'connect_args={"prepare_threshold": None}; asyncpg: statement_cache_size=0 and '
                "prepared_statement_cache_size=0), or an engine with open connections was carried across a fork (call "
                "engine.dispose(close=False) in the child)"
            )
        return row[3:]


def new_call() -> str:
    """Return what tells one call from all others. From the system, so that a forked child does not repeat it."""
    return secrets.token_hex(8)
