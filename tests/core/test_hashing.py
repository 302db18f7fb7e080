"""The pool for slow hashes: never more threads than cores, alive after a fork, out of the way of fast hashes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from leaks import frames, shown

from twofa import Policy, Scrypt
from twofa._engine import container, hashing
from twofa._engine.hashing import Check, Counted, Job
from twofa._hidden import Hidden
from twofa._record.recovery import NewCodes, Row, Scheme, pack

if TYPE_CHECKING:
    from pathlib import Path

ARGON2ID = Scheme("argon2id", (12_288, 3))
FAST = Scheme("sha256", ())
SALT = bytes(range(16))
CANARY = Hidden("CANARY7KQXM4TZN8")


COUNTED = Counted(against="set", lane="known", at=1)


def _check(scheme: Scheme, code: Hidden = CANARY) -> Job:
    return Job(work=Check(scheme=scheme, code=code, rows=(Row(3, SALT, b"another"),)), counted=COUNTED)


def _new(scheme: Scheme, count: int = 2) -> NewCodes:
    new = NewCodes.draw(Policy(recovery_codes=count))
    return NewCodes(scheme, new.codes, new.salts)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> hashing._Pool:
    """A pool of two threads that nobody has used yet."""
    fresh = hashing._Pool(2, "twofa-hash")
    monkeypatch.setattr(hashing, "_hash_pool", lambda _threads: fresh)
    return fresh


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("twofa-hash")]


# --- jobs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [FAST, ARGON2ID])
def test_a_check_returns_the_hash_of_the_code(scheme: Scheme) -> None:
    """What comes of a check is the code's index, the hash, and the attempt that it belongs to."""
    done = _check(scheme).run()

    assert (COUNTED, 3, "") == (done.counted, done.index, done.hashes)
    assert scheme.digest(SALT, CANARY) == done.digest


@pytest.mark.parametrize("scheme", [FAST, ARGON2ID])
def test_a_new_set_is_hashed_in_order(scheme: Scheme) -> None:
    """Each new code is hashed with its own salt, at its own place."""
    new = _new(scheme, 3)
    digests = [scheme.digest(salt, code) for salt, code in zip(new.salts, new.codes, strict=True)]

    done = Job(work=new).run()

    assert pack(new.salts, digests) == done.hashes
    assert (None, -1, b"") == (done.counted, done.index, done.digest)


def test_a_new_set_keeps_what_came_of_the_check_before_it() -> None:
    """A call that needs both has both in the end."""
    checked = _check(FAST).run()
    new = _new(FAST)

    assert replace(checked, hashes=Job(work=new).run().hashes) == Job(work=new, before=checked).run()


def test_jobs_hide_themselves() -> None:
    """P11: the repr of a job, of its check, of its set and of what came of it shows no code."""
    jobs = [_check(FAST), Job(work=_new(FAST))]

    assert not any(CANARY.value in repr(part) for job in jobs for part in (job, job.work, job.run()))


# --- the pool ------------------------------------------------------------------------------------------------------


def test_there_are_never_more_threads_than_allowed(pool: hashing._Pool) -> None:
    """However many requests come at once, no more threads hash than the pool was made for."""
    before = len(_threads())
    job = Job(work=_new(ARGON2ID, 4))
    requests = [threading.Thread(target=job.run) for _ in range(4)]
    for request in requests:
        request.start()
    for request in requests:
        request.join()

    assert pool._executor is not None
    assert 1 <= len(_threads()) - before <= 2


def test_a_fast_hash_uses_no_thread(pool: hashing._Pool) -> None:
    """A salted SHA-256 is computed where it is asked for; the pool is not even made."""
    _check(FAST).run()
    Job(work=_new(FAST)).run()

    assert pool._executor is None


def test_the_pool_is_made_once(pool: hashing._Pool) -> None:
    """The second slow hash finds the threads of the first."""
    _check(ARGON2ID).run()
    made = pool._executor
    _check(ARGON2ID).run()

    assert made is pool._executor


@pytest.mark.parametrize("scheme", [Scheme("scrypt", (3, 8, 1)), Scheme("argon2id", (1, 0))])
def test_an_exception_comes_through_without_the_code(scheme: Scheme) -> None:
    """What fails in the pool fails in the caller, and no frame of its traceback shows the code."""
    job = _check(scheme)

    with pytest.raises(ValueError) as failure:  # noqa: PT011  # the message is OpenSSL's
        job.run()

    assert frames(failure.value) >= 3
    assert CANARY.value not in shown(failure.value)


def _hash_in_child() -> None:
    raise SystemExit(0 if _check(ARGON2ID).run().digest == ARGON2ID.digest(SALT, CANARY) else 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="os.fork: this platform has none")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_the_pool_survives_a_fork(pool: hashing._Pool) -> None:
    """A child that was forked while the parent hashed, and held the pool's lock, hashes on threads of its own."""
    _check(ARGON2ID).run()
    child = multiprocessing.get_context("fork").Process(target=_hash_in_child)
    with pool._lock:
        child.start()
    child.join(20)
    stuck = child.is_alive()
    child.kill()
    child.join()

    assert not stuck
    assert 0 == child.exitcode


def test_a_platform_without_fork_has_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is nothing to register for, the pool works all the same."""
    monkeypatch.delattr(os, "register_at_fork", raising=False)
    monkeypatch.setattr(hashing, "_hash_pool", lambda threads: hashing._Pool(threads, "twofa-hash"))

    assert ARGON2ID.digest(SALT, CANARY) == _check(ARGON2ID).run().digest


def test_checks_go_before_sets(pool: hashing._Pool) -> None:
    """With every thread busy, a check that came last is hashed before the rest of a set that came first."""
    order: list[str] = []
    busy, held = threading.Barrier(3), threading.Event()

    def hold() -> None:
        busy.wait(60)
        held.wait(60)

    holding = [pool.submit(hashing._SET, hold) for _ in range(2)]
    busy.wait(60)
    waiting = [pool.submit(hashing._SET, order.append, f"set {number}") for number in range(3)]
    waiting.append(pool.submit(hashing._CHECK, order.append, "check"))
    held.set()
    for future in [*holding, *waiting]:
        future.result(60)

    assert "check" in order[:2]  # two threads: one of them may have taken a set a moment earlier
    assert 4 == len(order)


# --- what the container has ----------------------------------------------------------------------------------------


def _write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_max", ".max")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_cpus_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process bound to fewer processors counts those; where that cannot be asked, all of them, or one if unknown."""
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {2, 5, 7}, raising=False)
    assert 3 == container.cpus(tmp_path)

    monkeypatch.delattr(os, "sched_getaffinity")
    assert 6 == container.cpus(tmp_path)

    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert 1 == container.cpus(tmp_path)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu_max": "max 100000"}, 32),
        ({"cpu_max": "150000 100000"}, 2),
        ({"cpu_max": "50000 100000"}, 1),
        ({"cpu__cpu.cfs_quota_us": "-1", "cpu__cpu.cfs_period_us": "100000"}, 32),
        ({"cpu__cpu.cfs_quota_us": "400000", "cpu__cpu.cfs_period_us": "100000"}, 4),
    ],
)
def test_cpus_are_within_the_quota_of_the_control_group(
    files: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A container with a quota of one and a half processors has two threads, whatever machine it is on."""
    monkeypatch.setattr(os, "cpu_count", lambda: 32)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(32)), raising=False)

    assert expected == container.cpus(_write(tmp_path, **files))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 1 << 62),
        ({"memory_max": "max"}, 1 << 62),
        ({"memory_max": "536870912"}, 536_870_912),
        ({"memory__memory.limit_in_bytes": "268435456"}, 268_435_456),
        ({"memory__memory.limit_in_bytes": str(1 << 63)}, 1 << 62),
    ],
)
def test_memory_is_what_the_control_group_allows(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    """Both versions of control groups are read; without a limit there is none."""
    assert expected == container.memory(_write(tmp_path, **files))


def test_threads_fit_into_processors_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing takes at most a quarter of the memory, one thread at least, and what a policy says goes before all."""
    monkeypatch.setattr(hashing, "cpus", lambda: 32)
    for mebibytes, expected in ((512, 6), (128, 1), (16, 1), (1 << 40, 32)):
        monkeypatch.setattr(hashing, "memory", lambda limit=mebibytes << 20: limit)
        assert expected == hashing.threads_for(Policy())
    monkeypatch.setattr(hashing, "memory", lambda: 1 << 30)
    assert 2 == hashing.threads_for(Policy(hashing=Scrypt()))
    assert 5 == hashing.threads_for(Policy(hash_threads=5))
