"""`DjangoStore` keeps the laws on SQLite and PostgreSQL, whatever transactions the project itself has open."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("django", reason="Django is not installed")

import django_project
import postgresql
from django.db import connections, transaction
from django_project import sql
from hypothesis import settings
from misled import Misled
from postgresql import on_postgresql

from twofa.stores.django import DjangoStore
from twofa.stores.django.connections import Connections
from twofa.testing import (
    FailureConformance,
    HostTransactionConformance,
    ListingConformance,
    OutboxConformance,
    ProcessConformance,
    StatedAbsenceConformance,
    StoreMachine,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

django_project.set_up()


class DjangoLaws(
    OutboxConformance,
    ListingConformance,
    ProcessConformance,
    HostTransactionConformance,
    FailureConformance,
    StatedAbsenceConformance,
):
    """What both databases have to keep."""

    def make_peer(self, store):
        return DjangoStore(store.using)

    @contextmanager
    def host_transaction(self, store):
        """As `ATOMIC_REQUESTS` does it around a view."""
        with transaction.atomic(store.using):
            assert sql(store.using, "SELECT count(*) FROM twofa_record")
            yield
            transaction.set_rollback(True, store.using)

    def cut_off(self, store):
        sql(store.using, *(f"ALTER TABLE {table} RENAME TO {table}_away" for table in ("twofa_record", "twofa_event")))


class TestOnSQLite(DjangoLaws):
    """SQLite, in a file."""

    @pytest.fixture(autouse=True)
    def _honest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Misled, "lost", False)
        monkeypatch.setattr(Misled, "about", None)

    def make_store(self):
        return DjangoStore(django_project.new_sqlite(factory=Misled))

    def make_opener(self, store):
        return partial(
            django_project.open_store, **django_project.of_sqlite(connections[store.using].settings_dict["NAME"])
        )

    def lose_answers(self, store):
        Misled.lost = True

    def swap_answers(self, store, user_id):
        Misled.about = user_id


@cache
def on_server() -> str:
    """Return the alias of a database on PostgreSQL, which all tests here share."""
    server = postgresql.server()
    return django_project.new_database(**django_project.of_postgresql(server.url(server.new_database())))


@pytest.fixture
def pg() -> Iterator[str]:
    """The alias of that database, empty."""
    yield on_server()
    for table in ("twofa_record", "twofa_event"):
        sql(on_server(), f"ALTER TABLE IF EXISTS {table}_away RENAME TO {table}", f"TRUNCATE {table}")


@on_postgresql
class TestOnPostgreSQL(DjangoLaws):
    """PostgreSQL, by psycopg 3."""

    @pytest.fixture(autouse=True)
    def _empty(self, pg: str) -> None:
        self.alias = pg

    def make_store(self):
        return DjangoStore(self.alias)

    def make_opener(self, store):
        names = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT")
        named = {name: connections[store.using].settings_dict[name] for name in names}
        return partial(django_project.open_store, **named)

    def lose_answers(self, store):
        self.rewrite(store, lambda statement, values: ("SELECT 1 WHERE false", None))

    def swap_answers(self, store, user_id):
        self.rewrite(store, lambda statement, values: (statement, {**values, "whose": user_id}))

    def rewrite(self, store, change):
        """Let something else reach the server than the store's questions about a user."""

        def sent(execute, statement, values, many, context):
            about_a_user = isinstance(values, dict)
            return execute(*(change(statement, values) if about_a_user else (statement, values)), many, context)

        def make():
            connection = Connections._make(store._connections)
            connection.execute_wrappers.append(sent)
            return connection

        store._connections._make = make
        store.close()


class SQLiteMachine(StoreMachine):
    """`DjangoStore` beside the model."""

    def make_store(self):
        return DjangoStore(django_project.new_sqlite())

    def make_peer(self, store):
        return DjangoStore(store.using)


TestSQLiteMachine = SQLiteMachine.TestCase
TestSQLiteMachine.settings = settings(max_examples=5)
