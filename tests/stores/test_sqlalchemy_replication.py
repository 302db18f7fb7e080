"""What a fail-over keeps: a primary and a standby of PostgreSQL, cut off from each other, killed and promoted."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from databases import EmptyDatabase, eventually, outcome_of, put
from postgresql import OwnPostgreSQL, on_postgresql
from racing import NOW, enrolled, face_on
from sqlalchemy.exc import DBAPIError
from support import USER, Clock, World

from twofa import Change
from twofa.stores import UnexpectedAnswer
from twofa.testing.samples import event as event_number
from twofa.testing.samples import numbers, stored, version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from twofa.stores.sqlalchemy import SQLAlchemyStore

pytestmark = on_postgresql


class Pair:
    """A primary with a standby, and a database on both."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.primary = OwnPostgreSQL()
        stack.callback(self.primary.stop)
        self.standby = OwnPostgreSQL("hot_standby=on", primary=self.primary)
        stack.callback(self.standby.stop)
        self._stack = stack
        self.database = EmptyDatabase("postgresql", folder, stack, server=self.primary)

    @property
    def store(self) -> SQLAlchemyStore:
        """A store on the primary."""
        return self.database.store

    def replicate(self, synchronous_commit: str | None) -> None:
        """Have commits wait for the standby, in one of PostgreSQL's ways, or not at all; wait until that is so."""
        names = "" if synchronous_commit is None else "*"
        with psycopg.connect(self.primary.url(), autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'".encode())
            connection.execute(f"ALTER SYSTEM SET synchronous_commit = '{synchronous_commit or 'on'}'".encode())
            connection.execute("SELECT pg_reload_conf()")
            state = "sync" if names else "async"
            eventually(lambda: connection.execute("SELECT sync_state FROM pg_stat_replication").fetchone() == (state,))

    def waiting(self) -> list[int]:
        """Return which processes of the primary wait for the standby."""
        with psycopg.connect(self.primary.url(), autocommit=True) as connection:
            rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'").fetchall()
        return [pid for (pid,) in rows]

    def end_the_wait(self, function: str) -> None:
        """Do to a process that waits for the standby what an operator does who finds it hanging."""
        eventually(self.waiting)
        with psycopg.connect(self.primary.url(), autocommit=True) as connection:
            for pid in self.waiting():
                connection.execute(f"SELECT {function}(%s)".encode(), (pid,))

    def cut(self) -> None:
        """Cut the connection between the two: from now on nothing that is written reaches the standby."""
        with psycopg.connect(self.primary.url(), autocommit=True) as connection:
            (sender,) = connection.execute("SELECT pid FROM pg_stat_replication").fetchone() or (0,)
        os.kill(sender, signal.SIGSTOP)
        self._sender = sender

    def mend(self) -> None:
        """Undo `cut`."""
        os.kill(self._sender, signal.SIGCONT)

    def caught_up(self) -> bool:
        """Whether the standby shows what the primary has committed."""
        with psycopg.connect(self.primary.url()) as here, psycopg.connect(self.standby.url(), autocommit=True) as there:
            (written,) = here.execute("SELECT pg_current_wal_lsn()").fetchone() or (None,)
            behind = there.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (written,)).fetchone()
            return behind == (True,)

    def fail_over(self) -> SQLAlchemyStore:
        """Lose the primary, and promote the standby; return a store on it."""
        self.primary.kill()
        self.standby.promote()
        return self.on_standby()

    def on_standby(self, driver: str = "psycopg") -> Any:
        """Return a store on the standby's copy of the database."""
        url = self.standby.url(self.database.name, driver=driver)
        return self.database.open(url) if driver == "psycopg" else self.database.open_async(url)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """A primary and its standby."""
    with ExitStack() as stack:
        yield Pair(tmp_path, stack)


def test_a_standby_is_not_believed(pair: Pair) -> None:
    """P3: a standby, which may not know yet that a user has enrolled, is refused; once it is promoted it serves."""
    assert put(pair.store)
    eventually(pair.caught_up)
    pair.cut()
    assert put(pair.store, 2, "late")
    for store in (pair.on_standby(), pair.on_standby("asyncpg")):
        for user_id in (USER, "late"):
            with pytest.raises(UnexpectedAnswer, match="a replica has answered"):
                store.load(user_id)
        with pytest.raises(DBAPIError, match="read-only transaction"):
            store.swap(USER, Change(version(1), stored(3)))
        assert ["replica"] == [finding.code for finding in store.diagnose(time.time())]
    pair.mend()
    eventually(pair.caught_up)
    promoted = pair.fail_over()
    assert (stored(1), stored(2), [1]) == (promoted.load(USER), promoted.load("late"), numbers(promoted))


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
@pytest.mark.parametrize("function", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_commit_that_the_standby_did_not_confirm_raises(function: str, driver: str, pair: Pair) -> None:
    """A swap that an operator relieves of its wait for the standby is not told to have happened, although it is seen."""
    opener = pair.database.open if driver == "psycopg" else pair.database.open_async
    store: Any = opener() if driver == "psycopg" else opener(pair.database.async_url())
    assert put(store)
    pair.replicate("on")
    pair.cut()
    with ThreadPoolExecutor(1) as pool:
        swapping = pool.submit(store.swap, USER, Change(version(1), stored(2), (event_number(2),)))
        pair.end_the_wait(function)
        with pytest.raises((UnexpectedAnswer, DBAPIError), match=r"standby|terminating connection|closed"):
            swapping.result()
    assert stored(2) == store.load(USER)
    pair.mend()
    assert store.swap(USER, Change(version(2), stored(3)))  # nothing is left of it


@pytest.mark.parametrize("function", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_code_is_accepted_once_across_a_fail_over(function: str, pair: Pair) -> None:
    """P1: a code whose spending no standby has confirmed is not accepted, and after the fail-over it is accepted once."""
    world = World("blocking", store=pair.store)
    phone, _ = world.enrol()
    pair.replicate("on")
    code = phone.code()
    pair.cut()
    with ThreadPoolExecutor(1) as pool:
        signing_in = pool.submit(outcome_of, lambda: world.face.verify(USER, code))
        pair.end_the_wait(function)
        # The library writes the same again to have it confirmed, and so waits again; or it has given up already.
        eventually(lambda: signing_in.done() or pair.waiting())
        time.sleep(0.2)  # longer than reading the record back takes
        promoted = pair.fail_over()
        first = signing_in.result()
    assert "Verification" != first
    again = World("blocking", store=promoted, keys=world.keys)
    again.clock.now = world.clock.now
    outcomes = [outcome_of(lambda: again.face.verify(USER, code)) for _ in range(2)]
    assert ["Verification", "CodeReused"] == outcomes


CONFIRMED = ["remote_write", "on", "remote_apply"]


@pytest.mark.parametrize("synchronous_commit", [None, *CONFIRMED], ids=str)
def test_what_a_fail_over_keeps(synchronous_commit: str | None, pair: Pair) -> None:
    """P1: with a synchronous standby no code is accepted again after a fail-over; without one, some may be."""
    users = [f"user-{number}" for number in range(150)]
    secrets = dict(zip(users, enrolled(pair.store, users), strict=True))
    eventually(pair.caught_up)
    pair.replicate(synchronous_commit)
    face = face_on(pair.store, Clock(NOW))
    outcomes: dict[str, str] = {}

    def sign_in(user_id: str) -> None:
        try:
            outcomes[user_id] = outcome_of(lambda: face.verify(user_id, secrets[user_id][0]))
        except DBAPIError:  # the record could not be loaded any more
            outcomes[user_id] = "DBAPIError"

    with ThreadPoolExecutor(8) as pool:
        under_load = [pool.submit(sign_in, user_id) for user_id in users]
        eventually(lambda: len(outcomes) >= 60)
        pair.cut()  # the network between the two fails first, then the primary
        if synchronous_commit is None:
            eventually(lambda: len(outcomes) >= 90)
        else:
            eventually(pair.waiting)
        promoted = pair.fail_over()
        for future in under_load:
            future.result()
    accepted = [user_id for user_id, outcome in outcomes.items() if outcome == "Verification"]
    face = face_on(promoted, Clock(NOW))
    twice = [
        user_id for user_id in accepted if outcome_of(lambda u=user_id: face.verify(u, secrets[u][0])) == "Verification"
    ]
    assert 60 <= len(accepted)
    assert (synchronous_commit is None) is bool(twice)
