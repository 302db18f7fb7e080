"""The slow work: recovery codes are hashed in a pool that never has more threads than there are cores.

The key derivation releases the interpreter's lock, so ten hashes spread over the cores; and however many requests come
at once, memory is bounded by 19 MiB a core and an event loop keeps its share of the processor.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, TypeVar

from twofa._engine.jobs import Done
from twofa._hidden import Hidden, same
from twofa._record.recovery import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future, ThreadPoolExecutor

    from twofa._engine.jobs import Job
    from twofa._record.recovery import Scheme


T = TypeVar("T")


def run(job: Job) -> Done:
    """Hash what a job asks for: first the code that it checks, then, if that is right, the new set."""
    check, make = job.check, job.make
    place, digest, hashes = -1, Hidden(b""), ""
    if check is not None:
        place = check.place
        digest = Hidden(_in_pool(check.scheme, [(check.salt, check.code)])[0])
    if make is not None and (check is None or same(check.expected, digest.value)):
        hashes = pack(make.salts, _in_pool(make.scheme, zip(make.salts, make.codes, strict=True)))
    return Done(job.counted_against, place, digest.value, hashes)


class _Pool:
    """No more threads than cores; made when first used, and anew after a fork, where the parent's do not exist."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None

    def submit(self, function: Callable[..., T], *arguments: object) -> Future[T]:
        from concurrent.futures import ThreadPoolExecutor  # 10 ms of import that a login by TOTP never needs

        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(_cores(), thread_name_prefix=self._name)
            return self._executor.submit(function, *arguments)


_pool = _Pool("twofa-hash")
_waiting = _Pool("twofa-wait")
"""Threads that wait for those of the other pool, on behalf of an event loop."""


def in_background(function: Callable[[], T]) -> Future[T]:
    """Run what runs a job, such as `Job.run`, beside the caller."""
    return _waiting.submit(function)


def _in_pool(scheme: Scheme, rows: Iterable[tuple[bytes, Hidden[str]]]) -> list[bytes]:
    if not scheme.slow:
        return [scheme.digest(salt, code) for salt, code in rows]
    return [future.result() for future in [_pool.submit(scheme.digest, salt, code) for salt, code in rows]]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
