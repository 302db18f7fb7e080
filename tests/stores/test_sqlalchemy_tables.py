"""The tables of the SQLAlchemy stores: made, checked, migrated and kept apart."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from databases import EmptyDatabase, everywhere, on_servers, put, under_way
from mariadb import on_mariadb
from postgresql import on_postgresql
from sqlalchemy import MetaData, create_mock_engine, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex, CreateTable
from support import USER

from twofa import Change
from twofa.errors import UnsupportedRecord
from twofa.stores import SQLiteStore
from twofa.stores.sqlalchemy import SQLAlchemyStore, add_tables
from twofa.stores.sqlalchemy.tables import NEEDS, SCHEMA
from twofa.stores.sqlite.schema import SCHEMA as SQLITE_SCHEMA
from twofa.testing.racing import at_once
from twofa.testing.samples import event as told_of
from twofa.testing.samples import numbers, stored, version

if TYPE_CHECKING:
    from contextlib import ExitStack

# --- tables --------------------------------------------------------------------------------------------------------


def shape_of(database: EmptyDatabase) -> dict[str, Any]:
    """Return what the tables of a database are like."""
    inspector = inspect(database.engine())
    return {
        name: (
            [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(name)],
            inspector.get_pk_constraint(name)["constrained_columns"],
            [index["column_names"] for index in inspector.get_indexes(name)],
            [value for option, value in inspector.get_table_options(name).items() if option.endswith("engine")]
            if database.kind == "mariadb"
            else None,
        )
        for name in sorted(inspector.get_table_names())
        if name.startswith("twofa")
    }


@everywhere
def test_a_hosts_metadata_makes_the_same_tables(database: EmptyDatabase, tmp_path: Path, stack: ExitStack) -> None:
    """Whether the store or the host's migrations make the tables, they are the same, and the store works on them."""
    (tmp_path / "other").mkdir()
    other = EmptyDatabase.__new__(EmptyDatabase)
    EmptyDatabase.__init__(other, database.kind, tmp_path / "other", stack)
    other.run("DROP TABLE twofa_record", "DROP TABLE twofa_event")
    other.run("DROP TABLE twofa_schema")
    if database.kind == "mariadb":
        other.run("DROP TABLE twofa_outbox_lock")
    metadata = MetaData()
    engine = other.engine()
    add_tables(metadata, dialect=engine.dialect.name)

    metadata.create_all(engine)

    assert shape_of(database) == shape_of(other)
    assert [True, True] == [put(other.store), put(other.store, user_id="another")]
    assert 2 == len(other.store.events_after())
    other.store.create_tables()  # there is nothing left to do
    assert stored(1) == other.store.load(USER)


@pytest.mark.parametrize("name", ["postgresql", "mysql"])
def test_the_page_shows_the_tables_as_they_are(name: str) -> None:
    """The statements in docs/ are those that are executed."""
    metadata = MetaData()
    dialect: Any = create_mock_engine(f"{name}://", lambda *_: None).dialect
    tables = add_tables(metadata, dialect=name)
    indexes = sorted(tables.event.indexes, key=lambda index: str(index.name), reverse=True)
    wanted = [CreateTable(tables.record), CreateTable(tables.event), *map(CreateIndex, indexes)]
    wanted += [CreateTable(each) for each in (tables.schema, tables.outbox_lock) if each is not None]
    ddl = " ".join(str(statement.compile(dialect=dialect)) for statement in wanted)
    page = (Path(__file__).parent.parent.parent / "docs" / "stores-sqlalchemy.md").read_text(encoding="utf-8")
    assert "".join(ddl.split()) in "".join(page.split())


@on_servers
def test_the_application_needs_few_rights(database: EmptyDatabase) -> None:
    """Reading and writing rows is all that the store asks for once the tables are there."""
    role = f"app_{database.name[-20:]}"  # MySQL takes 32 characters
    if database.kind == "postgresql":
        database.run(
            f"CREATE ROLE {role} LOGIN",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON twofa_record, twofa_event, twofa_schema TO {role}",
        )
        url = database.url.replace("postgres@", f"{role}@")
    else:
        database.run(
            f"CREATE USER {role}@'%'", f"GRANT SELECT, INSERT, UPDATE, DELETE ON {database.name}.* TO {role}@'%'"
        )
        url = database.url.replace("root@", f"{role}@")
    store = database.open(url)
    assert put(store)
    assert store.swap(USER, Change(version(1), None, (told_of(2),)))
    assert [2] == [entry.event.detail["number"] for entry in store.events_after()]
    assert 1 == store.prune_events(told_of(3).at)
    with pytest.raises(DBAPIError):
        database.run("DROP TABLE twofa_event") or store.create_tables()


@everywhere
def test_any_number_of_processes_may_create_the_tables_at_once(database: EmptyDatabase) -> None:
    """Of many that create the tables at the same instant none fails."""
    database.run("DROP TABLE twofa_record", "DROP TABLE twofa_event", "DROP TABLE twofa_schema")
    if database.kind == "mariadb":
        database.run("DROP TABLE twofa_outbox_lock")
    at_once([database.open().create_tables for _ in range(8)])
    assert put(database.store)
    assert 1 == len(database.store.events_after())


@pytest.mark.parametrize("kind", [pytest.param("postgresql", marks=on_postgresql), "sqlite"])
def test_tables_are_created_together_or_not_at_all(database: EmptyDatabase) -> None:
    """If the last statement fails, here since the host has an index of that name, the ones before it are undone."""
    database.run("DROP TABLE twofa_event", "DROP TABLE twofa_record", "DROP TABLE twofa_schema")
    database.run("CREATE TABLE hosts_own (at INTEGER)", "CREATE INDEX twofa_event_at ON hosts_own (at)")
    with pytest.raises(DBAPIError, match="twofa_event_at"):
        database.store.create_tables()
    assert ["hosts_own"] == inspect(database.engine()).get_table_names()
    database.run("DROP TABLE hosts_own")
    database.store.create_tables()
    assert put(database.store)


@on_postgresql
def test_tables_in_a_schema_are_others(pg: EmptyDatabase) -> None:
    """A store with a schema has its own tables there, and an outbox that waits for its own swaps only."""
    pg.run('CREATE SCHEMA "Second factor"')
    other = SQLAlchemyStore(pg.engine(), schema="Second factor")
    other.create_tables()
    assert put(other, 1)
    assert pg.store.load(USER) is None
    assert put(pg.store, 2)
    assert ([1], [2]) == (numbers(other), numbers(pg.store))
    with under_way(pg, 3):
        assert 1 == len(other.events_after())
        assert () == pg.store.events_after()


@on_postgresql
def test_a_host_may_translate_schemas(pg: EmptyDatabase) -> None:
    """A host that names its tenants' schemas by an option of its engine finds each tenant's records there."""
    pg.run("CREATE SCHEMA tenant")
    other = SQLAlchemyStore(pg.engine().execution_options(schema_translate_map={None: "tenant"}))
    other.create_tables()
    assert put(other, 1)
    assert (stored(1), None) == (other.load(USER), pg.store.load(USER))
    assert 1 == pg.run("SELECT count(*) FROM tenant.twofa_event")
    with under_way(pg, 2):
        assert [1] == [entry.event.detail["number"] for entry in other.events_after()]
    with under_way(pg, 2, schema_translate_map={None: "tenant"}):
        assert put(other, 3, "quick")
        assert () == other.events_after()


def test_the_same_file_serves_sqlitestore(tmp_path: Path, stack: ExitStack) -> None:
    """Who starts with `SQLiteStore` may go on with `SQLAlchemyStore` on the same file, and back."""
    with SQLiteStore(tmp_path / "app.db") as before:
        assert put(before)
        after = EmptyDatabase("sqlite", tmp_path, stack).store
        assert (stored(1), [1], 1) == (after.load(USER), numbers(after), len(after.events_after()))
        assert after.swap(USER, Change(version(1), stored(2), (told_of(2),)))
        assert (stored(2), [1, 2]) == (before.load(USER), numbers(before))


@on_mariadb
@pytest.mark.parametrize("setting", ["charset=latin1", "charset=gbk", "sql_mode=NO_BACKSLASH_ESCAPES"])
def test_the_connection_of_the_host_changes_no_byte(setting: str, maria: EmptyDatabase) -> None:
    """Whatever character set and escapes a connection has, users are kept apart and texts come back."""
    store = maria.open(f"{maria.url}?{setting}")
    source = "\\' \u00df\U0001f600 \u7e97'"
    for number, user_id in enumerate(["user", "USER", "user ", "\u00fcser\\", "\u7e97\U0001f600'"]):
        happened = told_of(number, user_id)
        happened = type(happened)(happened.kind, user_id, happened.at, source=source)
        assert store.swap(user_id, Change(None, stored(number, "a\\'\n%s"), (happened,)))
        assert stored(number, "a\\'\n%s") == maria.store.load(user_id) == store.load(user_id)
        assert (happened,) == maria.store.events(user_id) == store.events(user_id)


# --- their shape ---------------------------------------------------------------------------------------------------


def test_the_shape_is_that_of_sqlitestore(tmp_path: Path, stack: ExitStack) -> None:
    """Both stores give a file's tables the same columns, indexes and number, whichever makes them."""
    (tmp_path / "other").mkdir()
    ours = EmptyDatabase("sqlite", tmp_path, stack)
    assert SQLITE_SCHEMA == SCHEMA
    SQLiteStore(tmp_path / "other" / "app.db").close()
    theirs = EmptyDatabase("sqlite", tmp_path / "other", stack)
    assert shape_of(theirs).keys() == shape_of(ours).keys()
    for name, (columns, key, indexes, _) in shape_of(theirs).items():
        our_columns, our_key, our_indexes, _ = shape_of(ours)[name]
        assert (key, sorted(indexes)) == (our_key, sorted(our_indexes))
        # SQLite takes a key that is an INTEGER for NOT NULL, whether or not that is said, and BIGINT for an INTEGER.
        names = [(column, nullable or column in key) for column, _, nullable in columns]
        assert names == [(column, nullable or column in key) for column, _, nullable in our_columns]
    row = "SELECT version || ' ' || needs FROM twofa_schema"
    assert theirs.run(row) == ours.run(row) == f"{SCHEMA} {NEEDS}"


@everywhere
def test_tables_of_migrations_are_marked_by_the_first_store(database: EmptyDatabase) -> None:
    """Migrations make no rows: whoever comes first says what the tables are, and several at once do no harm."""
    database.run("DELETE FROM twofa_schema")
    stores = [database.open() for _ in range(4)]
    at_once([partial(store.load, USER) for store in stores])
    assert database.run("SELECT max(version) FROM twofa_schema") == SCHEMA
    database.run("DELETE FROM twofa_schema")
    assert database.open_async().load(USER) is None
    assert put(stores[0])
    assert 1 == database.run("SELECT count(*) FROM twofa_schema")


@everywhere
@pytest.mark.parametrize("awaiting", [False, True], ids=["blocking", "awaiting"])
def test_a_newer_shape_is_used_while_it_can_be(awaiting: bool, database: EmptyDatabase) -> None:
    """Tables of a newer version are used while they only have something more, and refused from then on."""
    assert put(database.store)
    database.run(f"UPDATE twofa_schema SET version = {SCHEMA + 1}")
    opener = database.open_async if awaiting else database.open
    assert stored(1) == opener().load(USER)
    database.run(f"UPDATE twofa_schema SET needs = {SCHEMA + 1}")
    for call in (partial(opener().load, USER), partial(put, opener()), opener().create_tables):
        with pytest.raises(UnsupportedRecord, match="newer version"):
            call()
    assert stored(1) == database.store.load(USER)  # it has looked already


@everywhere
def test_an_older_shape_is_refused_with_what_to_do(database: EmptyDatabase) -> None:
    """Tables of an older version are not used before they are brought along."""
    database.run(f"UPDATE twofa_schema SET version = {SCHEMA - 1}")
    with pytest.raises(RuntimeError, match=rf"older version.*create_tables\(\).*version {SCHEMA}, needs {NEEDS}"):
        database.open().load(USER)


@everywhere
@pytest.mark.parametrize("awaiting", [False, True], ids=["blocking", "awaiting"])
def test_tables_that_are_missing_are_named(awaiting: bool, database: EmptyDatabase) -> None:
    """Who has not made the tables is told to, by whichever call comes first; a failure of another kind is raised as it is."""
    database.run("DROP TABLE twofa_schema")
    opener = database.open_async if awaiting else database.open
    for call in (partial(opener().load, USER), partial(put, opener()), opener().events_after):
        with pytest.raises(RuntimeError, match=r"no twofa tables.*create_tables\(\)"):
            call()
    database.run("CREATE TABLE twofa_schema (something_else INTEGER)")
    with pytest.raises(DBAPIError):
        opener().load(USER)
