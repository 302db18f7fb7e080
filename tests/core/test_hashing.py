"""The pool for slow hashes: never more threads than cores, alive after a fork, out of the way of fast hashes."""

from __future__ import annotations

import multiprocessing
import os
import threading

import pytest
from leaks import frames, shown

from twofa import Policy
from twofa._engine import hashing
from twofa._engine.jobs import Check, Job
from twofa._hidden import Hidden
from twofa._record.recovery import NewCodes, Scheme, pack

ARGON2ID = Scheme("argon2id", (12_288, 3))
FAST = Scheme("sha256", ())
SALT = bytes(range(16))
CANARY = Hidden("CANARY7KQXM4TZN8")


def _check(scheme: Scheme, code: Hidden = CANARY) -> Check:
    return Check(scheme, SALT, scheme.digest(SALT, CANARY), code, 3)


def _new(scheme: Scheme, count: int = 2) -> NewCodes:
    new = NewCodes.draw(Policy(recovery_codes=count))
    return NewCodes(scheme, new.codes, new.salts)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> hashing._Pool:
    """A pool that nobody has used yet."""
    fresh = hashing._Pool("twofa-hash")
    monkeypatch.setattr(hashing, "_pool", fresh)
    return fresh


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("twofa-hash")]


# --- jobs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [FAST, ARGON2ID])
def test_a_check_returns_the_hash_of_the_code(scheme: Scheme) -> None:
    """What comes of a check is its place, the hash, and what it was counted against."""
    done = Job(check=_check(scheme), counted_against="set").run()

    assert ("set", 3, "") == (done.counted_against, done.place, done.hashes)
    assert scheme.digest(SALT, CANARY) == done.digest


@pytest.mark.parametrize("scheme", [FAST, ARGON2ID])
def test_a_new_set_is_hashed_in_order(scheme: Scheme) -> None:
    """Each new code is hashed with its own salt, at its own place."""
    new = _new(scheme, 3)
    digests = [scheme.digest(salt, code) for salt, code in zip(new.salts, new.codes, strict=True)]

    done = Job(make=new).run()

    assert pack(new.salts, digests) == done.hashes
    assert (None, -1, b"") == (done.counted_against, done.place, done.digest)


def test_a_new_set_is_hashed_only_after_a_right_check() -> None:
    """A wrong code leads to no new set, a right one to both."""
    new = _new(FAST)

    assert "" == Job(check=_check(FAST, Hidden("WRONG")), make=new).run().hashes
    assert Job(make=new).run().hashes == Job(check=_check(FAST), make=new).run().hashes != ""


def test_jobs_hide_themselves() -> None:
    """P11: the repr of a job, of its check, of its set and of what came of it shows no code."""
    job = Job(check=_check(FAST), make=_new(FAST))

    assert not any(CANARY.value in repr(part) for part in (job, job.check, job.make, job.run()))


# --- the pool ------------------------------------------------------------------------------------------------------


def test_there_are_never_more_threads_than_cores(pool: hashing._Pool) -> None:
    """However many requests come at once, hashes run on one thread a core at most."""
    before = len(_threads())
    job = Job(make=_new(ARGON2ID, 4))
    requests = [threading.Thread(target=job.run) for _ in range(4)]
    for request in requests:
        request.start()
    for request in requests:
        request.join()

    assert pool._executor is not None
    assert 1 <= len(_threads()) - before <= hashing._cores()


def test_a_fast_hash_uses_no_thread(pool: hashing._Pool) -> None:
    """A salted SHA-256 is computed where it is asked for; the pool is not even made."""
    Job(check=_check(FAST), make=_new(FAST)).run()

    assert pool._executor is None


def test_the_pool_is_made_once(pool: hashing._Pool) -> None:
    """The second slow hash finds the threads of the first."""
    Job(check=_check(ARGON2ID)).run()
    made = pool._executor
    Job(check=_check(ARGON2ID)).run()

    assert made is pool._executor


@pytest.mark.parametrize("scheme", [Scheme("scrypt", (3, 8, 1)), Scheme("argon2id", (1, 0))])
def test_an_exception_comes_through_without_the_code(scheme: Scheme) -> None:
    """What fails in the pool fails in the caller, and no frame of its traceback shows the code."""
    job = Job(check=Check(scheme, SALT, b"", CANARY, 0))

    with pytest.raises(ValueError) as failure:  # noqa: PT011  # the message is OpenSSL's
        job.run()

    assert frames(failure.value) >= 3
    assert CANARY.value not in shown(failure.value)


def _hash_in_child() -> None:
    raise SystemExit(0 if Job(check=_check(ARGON2ID)).run().digest == ARGON2ID.digest(SALT, CANARY) else 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_the_pool_survives_a_fork(pool: hashing._Pool) -> None:
    """A child that was forked while the parent hashed, and held the pool's lock, hashes on threads of its own."""
    Job(check=_check(ARGON2ID)).run()
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
    monkeypatch.setattr(hashing, "_pool", hashing._Pool("twofa-hash"))

    assert ARGON2ID.digest(SALT, CANARY) == Job(check=_check(ARGON2ID)).run().digest


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process bound to fewer cores counts those; where that cannot be asked, all of them, or one if unknown."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {2, 5, 7}, raising=False)
    assert 3 == hashing._cores()

    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert 6 == hashing._cores()

    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert 1 == hashing._cores()
