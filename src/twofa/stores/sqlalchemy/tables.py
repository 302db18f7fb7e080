"""The tables, in each database so that two texts are equal only where their bytes are.

PostgreSQL compares by the collation `C` and SQLite by `BINARY`. MySQL and MariaDB would take `Alice`, `alice` and
`alice ` for one user by their default collation, and store text in whatever character set the connection has: there
every text is kept as the bytes of its UTF-8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Column, Identity, Index, Integer, MetaData, SmallInteger, Table, Text, func, text
from sqlalchemy.dialects.mysql import MEDIUMBLOB, VARBINARY
from sqlalchemy.types import TypeDecorator, TypeEngine
from typing_extensions import override

if TYPE_CHECKING:
    from sqlalchemy import BindParameter, ColumnElement, Dialect

SCHEMA = 2
"""The shape of these tables. `SQLiteStore` has the same number, since its file serves this store too.

Whoever changes the tables counts it up, and lets `create_tables` bring older ones along."""
NEEDS = 1
"""The shape that a program must know at least to use these tables: what is only added leaves it as it is."""

POSTGRESQL = frozenset({"postgresql"})
MYSQL = frozenset({"mysql", "mariadb"})
SQLITE = frozenset({"sqlite"})

_LONGEST_USER_ID = 4 * 255
"""Bytes of 255 characters, whichever they are."""
_LONGEST_WORD = 64
"""Bytes of a version or of the name of a kind of event: both are ASCII, of 32 characters at the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What the store keeps."""

    record: Table
    """One row a user."""
    event: Table
    """The audit trail, numbered in the order of the outbox."""
    schema: Table
    """One row, with the number of the tables' shape, and which shape a program must know at least."""
    outbox_lock: Table | None
    """MySQL and MariaDB only: rows that a swap locks while its events are not committed yet."""


def add_tables(metadata: MetaData, *, dialect: str, schema: str | None = None) -> Tables:
    """Add the store's tables to a host's own `MetaData`, for Alembic or `metadata.create_all`; return them.

    `dialect` is what `engine.dialect.name` says: `"postgresql"`, `"mysql"`, `"mariadb"` or `"sqlite"`. `schema` is to
    be the same as the store's. Raises `ValueError` for any other database.
    """
    check_dialect(dialect)
    options: dict[str, Any] = {"schema": schema, "sqlite_autoincrement": True}
    for name in MYSQL:
        # Row locks, transactions and keys of 1020 bytes, whatever the server's defaults are.
        options |= {f"{name}_engine": "InnoDB", f"{name}_row_format": "DYNAMIC"}
    record = Table(
        "twofa_record",
        metadata,
        Column("user_id", _text(_LONGEST_USER_ID), primary_key=True),
        Column("version", _text(_LONGEST_WORD), nullable=False),
        Column("document", _text(), nullable=False),
        **options,
    )
    event = Table(
        "twofa_event",
        metadata,
        Column("id", BigInteger().with_variant(Integer(), *SQLITE), Identity(), primary_key=True),
        Column("user_id", _text(_LONGEST_USER_ID), nullable=False),
        Column("at", BigInteger(), nullable=False),
        Column("kind", _text(_LONGEST_WORD), nullable=False),
        Column("source", _text()),
        Column("detail", _text(), nullable=False),
        Index("twofa_event_user", "user_id"),
        Index("twofa_event_at", "at"),
        **options,
    )
    shape = Table(
        "twofa_schema",
        metadata,
        Column("version", Integer(), nullable=False),
        Column("needs", Integer(), nullable=False, server_default=text("1")),
        **options,
    )
    if dialect in SQLITE:
        # For `SQLiteStore`, which finds out by it that a copy lacks the log of its file.
        shape.append_column(Column("in_use", Integer(), nullable=False, server_default=text("0")))
    lock = None
    if dialect in MYSQL:
        number = Column("id", SmallInteger(), primary_key=True, autoincrement=False)
        lock = Table("twofa_outbox_lock", metadata, number, **options)
    return Tables(record=record, event=event, schema=shape, outbox_lock=lock)


def check_dialect(name: str) -> None:
    """Raise `ValueError` for a database that the store does not know the ways of."""
    if name not in POSTGRESQL | MYSQL | SQLITE:
        raise ValueError(
            f"no store for {name!r}: this one knows postgresql, mysql, mariadb and sqlite, since no other database "
            "was tried; write a store of your own, which is two methods"
        )


class Utf8(TypeDecorator[str]):
    """Text as the bytes of its UTF-8, for MySQL and MariaDB.

    It goes there as hexadecimal digits: no character set, collation or escape of a connection can change those.
    """

    impl = VARBINARY
    cache_ok = True

    def __init__(self, length: int | None = None) -> None:
        """Make the type, for that many bytes or for a long text."""
        super().__init__(length)
        self.length = length

    @override
    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(MEDIUMBLOB() if self.length is None else VARBINARY(self.length))

    @override
    def bind_expression(self, bindparam: BindParameter[str]) -> ColumnElement[str]:
        return func.unhex(bindparam, type_=self)

    @override
    def bind_processor(self, dialect: Dialect) -> Any:
        return _hexadecimal

    @override
    def process_result_value(self, value: Any | None, dialect: Dialect) -> str | None:
        return None if value is None else bytes(value).decode()


def _hexadecimal(value: str | None) -> str | None:
    return None if value is None else value.encode().hex()


def _text(length: int | None = None) -> TypeEngine[str]:
    return Text().with_variant(Text(collation="C"), *POSTGRESQL).with_variant(Utf8(length), *MYSQL)
