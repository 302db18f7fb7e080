"""P4: a process that dies anywhere, and a reply that never comes.

Where it can be counted, a process kills itself at its n-th step (an SQLite statement, every few instructions of
SQLite's virtual machine, before and after every call of the store) for every n until it survives; a share is killed
from outside while it works. A lost reply is a store that commits and then says no, or raises.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import strength
from crashes import CASES, COUNTED_FIRST, NAMES, Gone, Judge, LossyStore, face_on, keys_for
from interleave import DRIVERS, Scene, attempt, copy_of, first_come, told

from twofa import Change, Verification
from twofa._engine.attempt import ROUNDS
from twofa.errors import OutcomeUnknown, StoreContention
from twofa.stores import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from twofa import Stored


# --- killed at the n-th step ---------------------------------------------------------------------------------------


class Steps:
    """Counts the steps of this process, and kills it at one of them."""

    INSTRUCTIONS = 20
    """Of SQLite's virtual machine; a statement runs a few dozen."""

    def __init__(self, fatal: int) -> None:
        self.taken, self.fatal = 0, fatal
        connect = sqlite3.connect

        def watched(*args: Any, **named: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*args, **named)
            connection.set_trace_callback(self.take)
            connection.set_progress_handler(self.take, self.INSTRUCTIONS)
            return connection

        setattr(sqlite3, "connect", watched)  # noqa: B010  # for this process, which is about to die

    def take(self, *_: object) -> int:
        """Take a step, perhaps the last one."""
        self.taken += 1
        if self.taken == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0


class SteppedStore:
    """Takes a step before and after every call of a store."""

    def __init__(self, inner: SQLiteStore, steps: Steps) -> None:
        self._inner, self._steps = inner, steps

    def load(self, user_id: str) -> Stored | None:
        """Load between two steps."""
        self._steps.take()
        stored = self._inner.load(user_id)
        self._steps.take()
        return stored

    def swap(self, user_id: str, change: Change) -> bool:
        """Swap between two steps."""
        self._steps.take()
        swapped = self._inner.swap(user_id, change)
        self._steps.take()
        return swapped


def in_a_fork(work: Callable[[], object]) -> int:
    """Do work in a forked process, which must have no other threads; return its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def copy_database(source: Path, target: Path) -> None:
    """Copy a database that nobody has open, with what is not yet moved out of its log."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{target}{suffix}").unlink(missing_ok=True)
        if suffix != "-shm" and Path(f"{source}{suffix}").exists():
            shutil.copyfile(f"{source}{suffix}", f"{target}{suffix}")


def examine(path: Path, judge: Judge) -> str:
    """Open what a dead process left behind, as the next one would; return the verdict on it."""
    with closing(sqlite3.connect(path)) as connection:
        check = connection.execute("PRAGMA integrity_check").fetchall()
    if check != [("ok",)]:
        return f"damaged: {check}"
    user_id = judge.scene.user_id
    with closing(SQLiteStore(path)) as store:
        return judge.verdict(store.load(user_id), told(store.events(user_id)))


def prepared(path: Path, scenes: Sequence[Scene]) -> None:
    """Make a database that holds the scenes' records."""
    with closing(SQLiteStore(path)) as store:
        for scene in scenes:
            if scene.stored is not None and not store.swap(scene.user_id, Change(None, scene.stored)):
                raise AssertionError("an empty store refused a new record")


def die_at_every_step(folder: str, results: Connection) -> None:
    """For every case and every step: die there, look at what is left; send what was seen."""
    template, path = Path(folder) / "template.db", Path(folder) / "crash.db"
    for state, name in strength.sample(CASES, 7):
        scene = Scene(state)
        judge = Judge(scene, name)
        prepared(template, [scene])
        verdicts: list[str] = []
        while True:
            copy_database(template, path)
            steps = len(verdicts) + 1

            def work(scene: Scene = scene, judge: Judge = judge, fatal: int = steps) -> None:
                counter = Steps(fatal)
                store = SteppedStore(SQLiteStore(path), counter)
                attempt(lambda: judge.call(face_on(store, scene, judge.name)))

            _, status = os.waitpid(in_a_fork(work), 0)
            verdicts.append(examine(path, judge))
            if status != signal.SIGKILL:
                break
        template.unlink()
        results.send((status, verdicts))
    results.close()


def spawned(work: Callable[[str, Connection], None], folder: Path) -> Iterator[Any]:
    """Do work in a fresh process without threads, which may fork; yield what it sends."""
    spawn = multiprocessing.get_context("spawn")
    receiver, sender = spawn.Pipe(duplex=False)
    process = spawn.Process(target=work, args=(str(folder), sender), daemon=True)
    process.start()
    sender.close()
    while True:
        try:
            yield receiver.recv()
        except EOFError:
            break
    process.join(60)
    assert 0 == process.exitcode


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="os.fork: this platform has none")


@needs_fork
def test_a_process_that_dies_at_any_step_leaves_no_half(tmp_path: Path) -> None:
    """P4: killed at every single step of every operation, the record is as before, after, or before with one count."""
    seen: Counter[str] = Counter()
    for case, (status, verdicts) in zip(strength.sample(NAMES, 7), spawned(die_at_every_step, tmp_path), strict=True):
        expected = {"before", "after"} | ({"counted"} if case.split(": ")[1] in COUNTED_FIRST else set())
        assert (case, expected) == (case, set(verdicts))
        # Steps only go forward: a later death never leaves an earlier record.
        assert sorted(verdicts, key=["before", "counted", "after"].index) == verdicts
        assert (case, 0, "after") == (case, status, verdicts[-1])
        seen += Counter(verdicts)
    assert strength.rounds(70, 500) < sum(seen.values())


# --- killed from outside -------------------------------------------------------------------------------------------

KILLS = strength.rounds(15, 100)


def die_at_any_time(folder: str, results: Connection) -> None:
    """Carry out all cases, each on a user of its own, and be killed from outside somewhere on the way."""
    random = Random(20260801)
    template, path = Path(folder) / "template.db", Path(folder) / "crash.db"
    scenes = [Scene(state, f"user-{number}") for number, (state, _) in enumerate(CASES)]
    judges = [Judge(scene, name) for scene, (_, name) in zip(scenes, CASES, strict=True)]
    prepared(template, scenes)
    for _ in range(KILLS):
        copy_database(template, path)
        reader, writer = os.pipe()

        def work(writer: int = writer) -> None:
            store = SQLiteStore(path)
            for judge in judges:
                attempt(partial(judge.call, face_on(store, judge.scene, judge.name)))
                os.write(writer, b".")

        child = in_a_fork(work)
        os.close(writer)
        for _ in range(random.randrange(len(judges))):
            os.read(reader, 1)
        for _ in range(random.randrange(40_000)):
            pass
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        results.send([examine(path, judge) for judge in judges])
        os.close(reader)
    results.close()


@needs_fork
def test_a_process_killed_from_outside_leaves_no_half(tmp_path: Path) -> None:
    """P4: killed while it works through all operations, what was finished is kept and at most one was under way."""
    stopped = set()
    for verdicts in spawned(die_at_any_time, tmp_path):
        finished = verdicts.index("before") if "before" in verdicts else len(verdicts)
        under_way = [place for place, verdict in enumerate(verdicts) if verdict == "counted"]
        assert {"before", "counted", "after"} >= set(verdicts)
        assert under_way in ([], [finished - 1])
        assert {"after"} >= set(verdicts[: max(0, finished - 1)])
        assert {"before"} >= set(verdicts[finished:])
        stopped.add(finished)
    assert 5 < len(stopped)


# --- a reply that never comes --------------------------------------------------------------------------------------


class Direct:
    """The same records without the faults, for whoever writes in between."""

    def __init__(self, store: LossyStore) -> None:
        self._store = store

    def load(self, user_id: str) -> Stored | None:
        """Load `user_id`."""
        return self._store.peek(user_id)

    def swap(self, user_id: str, change: Change) -> bool:
        """Swap."""
        return self._store.put(user_id, change)


def outcome_of(kind: str, scene: Scene, name: str, store: Any, **options: Any) -> Any:
    """Carry out one operation on a face; return what it gave or raised, the store's own failure included."""
    options = scene.options(keys=keys_for(name), **options)
    try:
        return DRIVERS[kind](store, [scene.calls()[name]], first_come, **options)[0]
    except Gone as failure:
        return failure


WRITERS = ["verify wrong", "redeem wrong", "verify next", "redeem other", "new codes", "begin", "cancel", "disable"]
kinds = pytest.mark.parametrize("kind", DRIVERS)
cases = pytest.mark.parametrize(("state", "name"), CASES, ids=NAMES)


def faults_at_every_swap(scene: Scene, fault: str) -> Iterator[LossyStore]:
    """Yield stores that go wrong at the first swap, at the second, and so on until an operation has no more of them."""
    for at in range(1, 10):
        store = LossyStore(scene, fault, at)
        yield store
        if not store.met:
            assert at > 1
            return
    raise AssertionError("an operation never stopped to swap")


@kinds
@cases
@pytest.mark.parametrize("fault", ["says no", "raises"])
def test_a_lost_reply_is_not_a_lost_swap(state: str, name: str, fault: str, kind: str) -> None:
    """P4: a store commits and loses the reply, at any swap: the outcome is what it would have been, and live."""
    scene = Scene(state)
    expected = scene.play(kind, [name], first_come, keys=keys_for(name))

    for store in faults_at_every_swap(scene, fault):
        events: list[Any] = []
        outcome = outcome_of(kind, scene, name, store, on_event=events.append)

        assert expected == scene.summary([outcome], copy_of(store.peek()), events)


@kinds
@cases
@pytest.mark.parametrize("fault", ["says no", "raises"])
def test_a_lost_reply_is_found_under_anothers_write(state: str, name: str, fault: str, kind: str) -> None:
    """P4: between a lost reply and the reload somebody else writes: still as if one had come after the other."""
    scene = Scene(state)
    for writer in set(WRITERS) & set(scene.calls()):
        allowed = scene.orders(kind, [name, writer], keys=keys_for(name))
        for store in faults_at_every_swap(scene, fault):
            events: list[Any] = []
            others: list[Any] = []

            other = face_on(Direct(store), scene, name, on_event=events.append)
            write = partial(scene.calls()[writer], other)
            store.between = partial(lambda write, others: others.append(attempt(write)), write, others)
            outcome = outcome_of(kind, scene, name, store, on_event=events.append)

            if store.met:
                if isinstance(outcome, OutcomeUnknown):
                    assert (name, "raises") == ("forget", fault)  # a record that another made leaves nothing to tell
                    continue
                assert scene.summary([outcome, *others], copy_of(store.peek()), events) in allowed


@kinds
@pytest.mark.parametrize("fault", ["says no", "raises"])
@pytest.mark.parametrize("writers", range(1, 5))
def test_a_lost_reply_is_found_under_four_writes(writers: int, fault: str, kind: str) -> None:
    """P4: up to four others may write before the reload: an accepted code still reads as accepted."""
    scene = Scene("active")
    store = LossyStore(scene, fault, 1)
    other = face_on(Direct(store), scene, "verify wrong")
    wrong = scene.calls()["verify wrong"]
    store.between = lambda: [attempt(lambda: wrong(other)) for _ in range(writers)]

    outcome = outcome_of(kind, scene, "verify", store)

    assert Verification is type(outcome)
    assert ["code_accepted"] + ["code_rejected"] * writers == store.trail


class Primary(LossyStore):
    """Commits locally and raises, as a primary does whose synchronous replica is out of reach, at every swap from one on."""

    def swap(self, user_id: str, change: Change) -> bool:
        """Commit, and never confirm it."""
        self.swaps += 1
        swapped = self.put(user_id, change)
        if self.swaps < self.at:
            return swapped
        self.met = True
        raise Gone


@kinds
@cases
def test_what_is_only_committed_locally_is_not_granted(state: str, name: str, kind: str) -> None:
    """P1: what a reload shows may not survive a fail-over, so a lost reply is confirmed by a swap, not by a load."""
    scene = Scene(state)
    for at in range(1, 10):
        store, events = Primary(scene, "nothing", at), []
        outcome = outcome_of(kind, scene, name, store, on_event=events.append)
        if not store.met:
            assert at > 1
            return
        assert OutcomeUnknown is type(outcome)
        assert ["outcome_unknown"] == told(events)
    raise AssertionError("an operation never stopped to swap")


@kinds
@cases
@pytest.mark.parametrize("fault", ["raises", "fails"])
def test_a_store_that_stays_down_leaves_the_outcome_unknown(state: str, name: str, fault: str, kind: str) -> None:
    """P4: neither reply nor reload: `OutcomeUnknown` from the store's own failure, told as such; nothing is granted."""
    scene = Scene(state)
    judge = Judge(scene, name)

    for store in faults_at_every_swap(scene, fault):
        events: list[Any] = []
        store.reload_fails = True
        outcome = outcome_of(kind, scene, name, store, on_event=events.append)

        if store.met:
            assert OutcomeUnknown is type(outcome)
            assert Gone is type(outcome.__cause__)
            assert ["outcome_unknown"] == told(events)
            left = judge.verdict(store.peek(), store.trail)
            assert {"fails": "before", "raises": "after"}[fault] == left or left == "counted"


@kinds
@cases
def test_a_store_that_fails_without_a_commit_changes_nothing(state: str, name: str, kind: str) -> None:
    """P4: the swap raised and did not happen: `OutcomeUnknown`, nothing granted, at most the attempt is counted."""
    scene = Scene(state)
    judge = Judge(scene, name)

    for store in faults_at_every_swap(scene, "fails"):
        events: list[Any] = []
        outcome = outcome_of(kind, scene, name, store, on_event=events.append)

        if store.met:
            assert OutcomeUnknown is type(outcome)
            assert Gone is type(outcome.__cause__)
            assert ["outcome_unknown"] == told(events)
            assert ("before" if store.at == 1 else "counted") == judge.verdict(store.peek(), store.trail)


@kinds
@cases
def test_a_load_that_fails_passes_through(state: str, name: str, kind: str) -> None:
    """A store's own exception from `load` reaches the caller as it is; nothing is granted."""
    scene = Scene(state)
    judge = Judge(scene, name)
    for at in range(1, 10):
        store = LossyStore(scene, "load fails", at)
        events: list[Any] = []
        outcome = outcome_of(kind, scene, name, store, on_event=events.append)
        if not store.met:
            assert at > 1
            return
        assert Gone is type(outcome)
        assert ["store_failed"] == told(events)
        assert ("before" if store.swaps == 0 else "counted") == judge.verdict(store.peek(), store.trail)
    raise AssertionError("an operation never stopped to load")


@kinds
@cases
def test_lost_swaps_end_in_store_contention(state: str, name: str, kind: str) -> None:
    """Others win every time: after bounded retries `StoreContention`; told as such, at most the attempt counted."""
    scene = Scene(state)
    judge = Judge(scene, name)

    for store in faults_at_every_swap(scene, "refuses"):
        events: list[Any] = []
        outcome = outcome_of(kind, scene, name, store, on_event=events.append)

        if store.met:
            assert StoreContention is type(outcome)
            assert ["store_contention"] == told(events)
            assert ROUNDS == store.loads
            assert ROUNDS - 1 <= store.swaps  # one round may have gone into slow work that nothing is written for
            assert ("before" if store.at == 1 else "counted") == judge.verdict(store.peek(), store.trail)
