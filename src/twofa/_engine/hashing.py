"""Slow work: what a decision asks to have hashed, and the pool that hashes it.

The key derivation releases the interpreter's lock, so the hashes of a set spread over the cores. However many requests
come at once, no more threads hash than the container has processors and memory for. Checks of single codes go first:
someone waits at a login for them, and they are one hash each, where a new set is ten.
"""

from __future__ import annotations

import heapq
import itertools
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from twofa._engine.container import cpus, memory
from twofa._hidden import Hidden, same
from twofa._record.recovery import NewCodes, Row, Scheme, pack
from twofa._record.throttle import LaneName
from twofa.policy import Argon2id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twofa.policy import Policy

T = TypeVar("T")

_SHARE_OF_MEMORY = 4
"""Hashing takes at most one part in so many of the container's memory."""

_CHECK, _SET = 0, 1
"""The urgency of a hash: the lower one goes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The attempt that slow work belongs to: it was written as a failure before the work began."""

    against: Any = field(repr=False)
    """The secret or set that it was counted against. It is judged against no other."""
    lane: LaneName
    at: int
    """The time that names the attempt in its lane."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A recovery code to hash and compare."""

    scheme: Scheme
    code: Hidden[str]
    rows: tuple[Row, ...]
    """The one that the code's slot names. Imported codes have no slots: each that is left, to be tried in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of the slow work of a call so far."""

    counted: Counted | None
    """`None` where nothing was to be counted: a set-up, a verification and the host's word are no guesses."""
    index: int = -1
    """The checked code's index in its set; -1 where none was checked."""
    digest: bytes = b""
    """The checked code's hash."""
    hashes: str = ""
    """The new set's packed hashes, once they are made."""

    def __repr__(self) -> str:
        return "Done(<hidden>)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Slow work that a decision asks for: a code to check, or a new set to hash."""

    work: Check | NewCodes
    counted: Counted | None = None
    before: Done | None = None
    """What came of the call's earlier job."""
    threads: int = 1
    """Threads of this process that hash at once."""

    def run(self) -> Done:
        """Do the work; blocks for tens of milliseconds a hash, and for as long as others are in front."""
        work, done = self.work, self.before or Done(counted=self.counted)
        if isinstance(work, Check):
            return replace(done, **_first_that_fits(work, self.threads))
        rows = list(zip(work.salts, work.codes, strict=True))
        return replace(done, hashes=pack(work.salts, _hash(work.scheme, rows, self.threads, _SET)))


def _first_that_fits(check: Check, threads: int) -> dict[str, Any]:
    """Return index and hash of the first row that the code fits, or else of the last one.

    One hash after the other: whoever checks ten imported codes leaves the other threads to others (P10).
    """
    index, digest = -1, b""
    for row in check.rows:
        [digest] = _hash(check.scheme, [(row.salt, check.code)], threads, _CHECK)
        index = row.index
        if same(digest, row.digest):
            break
    return {"index": index, "digest": digest}


def threads_for(policy: Policy) -> int:
    """Return how many threads may hash at once: the policy's number, or what the container has room for."""
    if policy.hash_threads is not None:
        return policy.hash_threads
    how = policy.hashing
    kib = how.memory_kib if isinstance(how, Argon2id) else how.n * how.r // 8
    return max(1, min(cpus(), memory() // _SHARE_OF_MEMORY // (kib * 1024)))


def _hash(scheme: Scheme, rows: Sequence[tuple[bytes, Hidden[str]]], threads: int, urgency: int) -> list[bytes]:
    if not scheme.slow:
        return [scheme.digest(salt, code) for salt, code in rows]
    pool = _hash_pool(threads)
    return [future.result() for future in [pool.submit(urgency, scheme.digest, *row) for row in rows]]


class _Pool:
    """Threads that take the most urgent call first; made when first used, and anew in a forked child."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads, self._name = threads, name
        self._forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._waiting: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def submit(self, urgency: int, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Have a thread call `function` when nothing more urgent, and nothing earlier, waits."""
        future: Future[T] = Future()

        def call() -> None:
            try:
                future.set_result(function(*arguments))
            except BaseException as problem:  # as an executor does: whoever asked for the result gets it
                future.set_exception(problem)

        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix=self._name)
            heapq.heappush(self._waiting, (urgency, next(self._numbers), call))
            self._executor.submit(self._call_the_most_urgent)
        return future

    def _call_the_most_urgent(self) -> None:
        with self._lock:
            _, _, call = heapq.heappop(self._waiting)
        call()


@cache
def _hash_pool(threads: int) -> _Pool:
    return _Pool(threads, "twofa-hash")


@cache
def _waiting_pool(urgency: int) -> _Pool:
    # A pool for each urgency: a crowd of new sets must not hold all the threads that a check could wait in.
    return _Pool(_MOST_WAITING, f"twofa-wait-{urgency}")


_MOST_WAITING = 32
"""Threads that wait for hashes on behalf of event loops; they do no work of their own."""


def in_background(job: Job) -> Future[Done]:
    """Run a job beside the caller."""
    urgency = _CHECK if isinstance(job.work, Check) else _SET
    return _waiting_pool(urgency).submit(urgency, job.run)
