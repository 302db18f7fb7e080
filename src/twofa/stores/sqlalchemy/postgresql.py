"""PostgreSQL: a swap is one statement, and so one round trip, committed when its answer comes.

`WITH done AS (UPDATE twofa_record SET … WHERE user_id = … AND version = … RETURNING user_id),
logged AS (INSERT INTO twofa_event (…) SELECT done.user_id, … FROM done)
SELECT 'twofa update', call, user_id, (SELECT count(*) FROM done)`

The event is joined with the row that was changed: a swap that loses writes nothing. Since the client has nothing to say
between the first lock and the commit, a worker that is stopped at any moment leaves no lock behind.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from sqlalchemy import (
    CTE,
    Integer,
    Text,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    literal_column,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.dialects.postgresql import insert as insert_if_absent
from sqlalchemy.exc import DBAPIError
from typing_extensions import override

from twofa.stores.confirmation import confirmed
from twofa.stores.sqlalchemy import direct
from twofa.stores.sqlalchemy.answers import Question, new_call
from twofa.stores.sqlalchemy.database import EVENT_COLUMNS, Database, run
from twofa.stores.trail import PAUSE, Deadline, EventRow, check_cache

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from sqlalchemy import Connection, CursorResult, Dialect, Engine

    from twofa.stores.protocol import Change, Stored

Kind: TypeAlias = Literal["create", "update", "delete", "stay absent"]

_CREATION = 0x2FA0_C4EA
"""The advisory lock of those who create the tables."""

# Every transaction that inserts into a table holds this lock on it, from before it draws its first number until its
# commit can be seen. So nothing has to be locked for the sake of readers.
_UNDER_WAY = text(
    """(SELECT array_agg(virtualtransaction) FROM pg_locks
    WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND relation = CAST(CAST(:events AS text) AS regclass))"""
)
_CACHE = text(
    """(SELECT seqcache FROM pg_sequence
    WHERE seqrelid = CAST(pg_get_serial_sequence(CAST(:events AS text), 'id') AS regclass))"""
)

# Not named as the columns are: SQLAlchemy would take them for values to set.
_WHOSE_TYPE = Text(collation="C")
_WHOSE = bindparam("whose", type_=_WHOSE_TYPE)
_EXPECTED = bindparam("expected", type_=Text())
_VERSION = bindparam("new_version", type_=Text())
_DOCUMENT = bindparam("new_document", type_=Text())


class CompiledStatement:
    """A statement in the database's own words, compiled once: to have it done each time took a third of a login."""

    def __init__(self, question: Question, statement: Any, dialect: Dialect) -> None:
        self._question = question
        # All columns as one array of texts: SQLAlchemy and the driver spend more on a column than on what is in it.
        answer = array([cast(each, Text) for each in statement.selected_columns]).label("answer")
        self._statement: Any = statement.with_only_columns(answer)
        compiled = self._statement.compile(dialect=dialect)
        self._text = compiled.string
        self._order: Sequence[str] | None = getattr(compiled, "positiontup", None)
        """The parameters, for a driver that knows them by their position."""

    def ask(self, connection: Connection, user_id: str, parameters: dict[str, Any]) -> Sequence[Any]:
        """Carry it out for a user; return its one row, without the columns by which it is known to be the answer."""
        call = new_call()
        answer: Any = self._run(connection, {"call": call, "whose": user_id, **parameters}).scalar()
        return self._question.check(answer, call, user_id)

    def ask_directly(self, engine: Engine, user_id: str, parameters: dict[str, Any], watch: Any = nullcontext) -> Any:
        """The same past SQLAlchemy, which makes it faster: see `direct`."""
        call = new_call()
        answer = direct.execute(engine, self._text, {"call": call, "whose": user_id, **parameters}, watch)
        return self._question.check(answer, call, user_id)

    def _run(self, connection: Connection, parameters: dict[str, Any]) -> CursorResult[Any]:
        if "schema_translate_map" in connection.get_execution_options():
            return connection.execute(self._statement, parameters)  # a host with a schema for each of its tenants
        if self._order is None:
            return connection.exec_driver_sql(self._text, parameters)
        return connection.exec_driver_sql(self._text, tuple([parameters[name] for name in self._order]))


class PostgreSQL(Database):
    """PostgreSQL 13 and later."""

    conflicts = frozenset({"40001", "40P01"})
    """Serialization failure, deadlock."""
    replica = case((func.pg_is_in_recovery(), literal_column("'yes'", Text)))

    def __init__(self, dialect: Dialect, schema: str | None) -> None:
        super().__init__(dialect, schema)
        self._swaps: dict[tuple[Kind, int], CompiledStatement] = {}
        self._load = CompiledStatement(self.question, self.select_record, dialect)
        self._highest_number: Any = select(func.max(self.tables.event.c.id), _CACHE, _UNDER_WAY)
        self._under_way: Any = select(_UNDER_WAY)

    @override
    def ask_for_record(self, connection: Connection, user_id: str) -> Sequence[Any]:
        return self._load.ask(connection, user_id, {})

    # --- past SQLAlchemy

    @override
    def load_from(self, engine: Engine, user_id: str) -> Stored | None:
        if self.tables_are_right and direct.is_possible(engine):
            with self._unless_given_up():
                return self.stored(*self._load.ask_directly(engine, user_id, {}))
        return super().load_from(engine, user_id)

    @override
    def swap_in(self, engine: Engine, user_id: str, change: Change) -> bool:
        if self.tables_are_right and direct.is_possible(engine):
            with self._unless_given_up():
                statement, parameters = self._prepared(user_id, change)
                (changed,) = statement.ask_directly(engine, user_id, parameters, confirmed)
                return bool(changed == "1")
        return super().swap_in(engine, user_id, change)

    @contextmanager
    def _unless_given_up(self) -> Generator[None]:
        """Go on where the database gave up, and committed nothing: the ordinary way begins again."""
        try:
            yield
        except DBAPIError as error:
            if not self.is_conflict(error):
                raise

    # --- swap

    @override
    def make_swap(self, connection: Connection, user_id: str, change: Change) -> bool:
        statement, parameters = self._prepared(user_id, change)
        with confirmed(connection.connection.driver_connection):
            (changed,) = statement.ask(connection, user_id, parameters)
        self.commit(connection)  # there is nothing to commit, unless a hook of the host's has begun a transaction
        return bool(changed == "1")

    def _prepared(self, user_id: str, change: Change) -> tuple[CompiledStatement, dict[str, Any]]:
        """Return the statement of a swap, and its parameters."""
        parameters: dict[str, Any] = {"expected": change.expected}
        if change.new is not None:
            parameters |= {"new_version": change.new.version, "new_document": change.new.document}
        for number, event in enumerate(change.events):
            columns = EventRow.of(event, user_id)._asdict()
            parameters |= {f"{name}_{number}": columns[name] for name in EVENT_COLUMNS}
        key = _kind_of(change), len(change.events)
        statement = self._swaps.get(key)
        if statement is None:
            statement = self._swaps[key] = self._swap_statement(*key)
        return statement, parameters

    def _swap_statement(self, kind: Kind, events: int) -> CompiledStatement:
        event = self.tables.event
        done = self._change(kind)
        consequences: list[CTE] = []
        if kind in {"delete", "stay absent"}:
            consequences.append(delete(event).where(event.c.user_id == done.c.user_id).cte("erased"))
        if events:
            rows = union_all(
                *(
                    select(
                        done.c.user_id,
                        *(bindparam(f"{name}_{n}", type_=event.c[name].type).label(name) for name in EVENT_COLUMNS),
                        literal_column(str(n), Integer).label("n"),
                    )
                    for n in range(events)
                )
            ).subquery("rows")
            columns = ("user_id", *EVENT_COLUMNS)
            ordered = select(*(rows.c[name] for name in columns)).order_by(rows.c.n)
            consequences.append(insert(event).from_select(columns, ordered).cte("logged"))
        question = Question.named(kind, self.schema)
        changed = select(func.count()).select_from(done).scalar_subquery()
        statement = select(*question.columns(_WHOSE_TYPE), changed).add_cte(*consequences)
        return CompiledStatement(question, statement, self.dialect)

    def _change(self, kind: Kind) -> CTE:
        record = self.tables.record
        found = record.c.user_id == _WHOSE
        if kind == "update":
            put = update(record).where(found, record.c.version == _EXPECTED)
            return put.values(version=_VERSION, document=_DOCUMENT).returning(record.c.user_id).cte("done")
        if kind == "delete":
            gone = delete(record).where(found, record.c.version == _EXPECTED)
            return gone.returning(record.c.user_id).cte("done")
        if kind == "create":
            add = insert_if_absent(record).values(user_id=_WHOSE, version=_VERSION, document=_DOCUMENT)
            return add.on_conflict_do_nothing(index_elements=["user_id"]).returning(record.c.user_id).cte("done")
        return select(_WHOSE.label("user_id")).where(~select(record.c.user_id).where(found).exists()).cte("done")

    # --- outbox

    @override
    def settled_number(self, connection: Connection, after: int) -> int | None:
        events = {"events": self._event_table(connection)}
        # The number comes from the statement's snapshot, which is older than its look at the locks: whoever has drawn a
        # lower number either holds the lock still, or has ended by the time of the next statement.
        found: Any = connection.execute(self._highest_number, events).one()
        highest, cache, under_way = found
        check_cache(cache)
        if highest is None or highest <= after:
            return None
        writers, deadline = set(under_way or ()), Deadline()
        while writers:
            if deadline.is_over:
                return None
            connection.execute(select(func.pg_sleep(PAUSE)))
            writers &= set(connection.scalar(self._under_way, events) or ())
        return int(highest)

    def _event_table(self, connection: Connection) -> str:
        """Return the name of the events' table, in the schema that a host may have put in the place of ours."""
        translated: dict[str | None, str | None] = connection.get_execution_options().get("schema_translate_map") or {}
        schema, quote = translated.get(self.schema, self.schema), self.dialect.identifier_preparer.quote
        return ".".join(quote(name) for name in (schema, self.tables.event.name) if name is not None)

    # --- tables and errors

    @override
    def create(self, connection: Connection) -> None:
        try:
            run(connection, "BEGIN")
            connection.execute(select(func.pg_advisory_xact_lock(_CREATION)))
            self.metadata.create_all(connection)
            run(connection, "COMMIT")
        except BaseException:
            self.roll_back(connection)
            raise

    @override
    def code(self, error: DBAPIError) -> object:
        return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)


def _kind_of(change: Change) -> Kind:
    if change.new is None:
        return "stay absent" if change.expected is None else "delete"
    return "create" if change.expected is None else "update"
