"""What `python -m twofa check` asks a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import inspect, select, text

from twofa.stores import findings
from twofa.stores.protocol import Finding
from twofa.stores.sqlalchemy.tables import MYSQL, POSTGRESQL

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from twofa.stores.sqlalchemy.database import Database

_CLOCKS = {
    **dict.fromkeys(POSTGRESQL, "SELECT extract(epoch FROM clock_timestamp())"),
    **dict.fromkeys(MYSQL, "SELECT unix_timestamp(sysdate(6))"),
}
"""Unix seconds by the server's clock. Not `now()`, which is when the transaction began, or what a session has set."""

_COLLATION = text(
    "SELECT collation_name FROM information_schema.columns WHERE table_schema = coalesce(:schema, database()) "
    "AND table_name = 'twofa_record' AND column_name = 'user_id'"
)


def diagnose(database: Database, connection: Connection, now: float) -> tuple[Finding, ...]:
    """Return what is wrong with the database, the worst first. Nothing is written."""
    database.prepare(connection)
    database.start_afresh(connection)
    missing = _missing_tables(database, connection)
    if missing:
        return (missing,)
    return (
        *_replica(database, connection),
        *_collation(database, connection),
        *_clock(connection, now),
        *_file(connection),
    )


def _missing_tables(database: Database, connection: Connection) -> Finding | None:
    inspector = inspect(connection)
    wanted = [table.name for table in database.metadata.tables.values()]
    missing = [name for name in wanted if not inspector.has_table(name, schema=database.schema)]
    if not missing:
        return None
    message = (
        f"there is no table {', '.join(missing)}: call the store's create_tables() once, or add the tables to your "
        "migrations by twofa.stores.sqlalchemy.add_tables()"
    )
    return Finding(severity="critical", code="missing_tables", message=message)


def _replica(database: Database, connection: Connection) -> list[Finding]:
    if not connection.scalar(select(database.replica)):
        return []
    message = "this is a replica, which is behind and cannot be written: give the store the engine of the primary"
    return [Finding(severity="critical", code="replica", message=message)]


def _collation(database: Database, connection: Connection) -> list[Finding]:
    if connection.dialect.name not in MYSQL:
        return []
    collation = connection.scalar(_COLLATION, {"schema": database.schema})
    if collation is None or collation.endswith("_bin"):  # VARBINARY, as the store makes it, has none
        return []
    message = (
        f"twofa_record.user_id has the collation {collation}, by which Alice, alice and 'alice ' are one user: make it "
        "VARBINARY(1020), as twofa.stores.sqlalchemy.add_tables() describes it"
    )
    return [Finding(severity="critical", code="case_insensitive", message=message)]


def _clock(connection: Connection, now: float) -> list[Finding]:
    question = _CLOCKS.get(connection.dialect.name)
    if question is None:
        return []
    return findings.of_clock(now, float(connection.exec_driver_sql(question).scalar_one()), "the database server's")


def _file(connection: Connection) -> list[Finding]:
    path = connection.engine.url.database
    if connection.dialect.name in _CLOCKS or not path:
        return []
    return findings.of_file(path)
