"""Races on the SQLAlchemy stores, between threads and between processes, and a server that is killed in the middle."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import postgresql
import pytest
import strength
from databases import EmptyDatabase, on_servers, outcome_of
from engines import new_url, open_store
from postgresql import on_postgresql
from racing import NOW, enrolled, face_on, guess_in_parallel, race_processes, race_threads
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from support import USER, Clock

from twofa import Change
from twofa.stores.sqlalchemy import SQLAlchemyStore
from twofa.testing.racing import at_once, restless_threads
from twofa.testing.samples import stored

if TYPE_CHECKING:
    from contextlib import ExitStack

# --- races ---------------------------------------------------------------------------------------------------------


@on_servers
@pytest.mark.parametrize("method", ["totp", "recovery_code"])
def test_of_32_threads_one_is_accepted(method: str, database: EmptyDatabase) -> None:
    """P1: 32 threads submit one code at the same instant: one acceptance each time."""
    race_threads(method, database.store, database.open(), strength.rounds(3, 30))


@on_servers
def test_of_8_processes_one_is_accepted(database: EmptyDatabase) -> None:
    """P1: 8 processes submit one code at the same instant: one acceptance each time."""
    race_processes(partial(open_store, database.url), strength.rounds(4, 30))


@on_servers
@pytest.mark.parametrize("factor", ["totp", "recovery_code"])
def test_of_200_parallel_guesses_five_are_answered(
    factor: str, database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P2: at a frozen clock exactly five wrong guesses are answered and stored; the rest hear when the wait ends."""
    guess_in_parallel(database.store, "login", factor, monkeypatch)


@on_postgresql
def test_64_clients_for_one_user_are_answered_within_seconds(pg: EmptyDatabase) -> None:
    """A crowd that all write one record gets through in well under the five seconds that a login may take."""
    store = pg.open(pool_size=64)
    assert store.swap(USER, Change(None, stored(0, "0")))
    took: list[float] = []

    def raise_the_count(worker: int) -> None:
        begun = time.monotonic()
        while True:
            held = store.load(USER)
            assert held is not None
            count = int(held.document) + 1
            if store.swap(USER, Change(held.version, stored(1000 * (worker + 1) + count, str(count)))):
                took.append(time.monotonic() - begun)
                return

    at_once([partial(raise_the_count, worker) for worker in range(64)])
    assert "64" == store.load(USER).document
    assert 5 > max(took)


# --- a server that is killed ---------------------------------------------------------------------------------------


@on_postgresql
def test_what_was_acknowledged_outlives_a_killed_server(stack: ExitStack) -> None:
    """P1 and P4: killed in the middle of load, the server has every acknowledged code as used, and no code twice."""
    server = postgresql.OwnPostgreSQL()
    stack.callback(server.stop)
    engine = create_engine(new_url(server, "psycopg"))
    stack.callback(engine.dispose)
    store = SQLAlchemyStore(engine)
    store.create_tables()
    users = [f"user-{number}" for number in range(120)]
    secrets = dict(zip(users, enrolled(store, users), strict=True))
    face = face_on(store, Clock(NOW))
    enough = threading.Semaphore(0)

    def sign_in(user_id: str) -> str:
        try:
            return outcome_of(lambda: face.verify(user_id, secrets[user_id][0]))
        except DBAPIError:  # before anything was done: the record could not be loaded
            return "DBAPIError"
        finally:
            enough.release()

    with ThreadPoolExecutor(8) as pool, restless_threads():
        under_load = [pool.submit(sign_in, user_id) for user_id in users]
        for _ in range(40):
            enough.acquire()
        server.kill()
        first = [future.result() for future in under_load]
    server.restart()
    engine.dispose()
    second = [sign_in(user_id) for user_id in users]

    assert {"Verification", "OutcomeUnknown", "DBAPIError"} >= set(first)
    assert 32 <= first.count("Verification") < len(users)
    for user_id, before, after in zip(users, first, second, strict=True):
        assert (user_id, before, after) != (user_id, "Verification", "Verification")
        assert after in {"Verification", "CodeReused"}
        accepted = [one for one in store.events(user_id) if one.kind == "code_accepted"]
        assert (user_id, 1) == (user_id, len(accepted))
    outbox = Counter(entry.event.user_id for entry in store.events_after(limit=10_000))
    assert {user_id: len(store.events(user_id)) for user_id in users} == outbox
