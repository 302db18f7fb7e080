"""Races that every store is put through: threads, processes and guesses that start at the same instant.

Threads start on a barrier and switch every microsecond until all of them are done; processes meet at a barrier before
each round.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from interleave import altered, attempt, shape, state_of, told
from support import ACCOUNT, FAST, KEY, USER, Clock, World

from twofa import ByCode, ByRecoveryCode, KeyRing, Policy, TwoFactor
from twofa._record.recovery import Scheme
from twofa._time import utc
from twofa.errors import InvalidCode, Throttled
from twofa.testing.racing import restless_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier

    import pytest

    from twofa import Event, Store

THREADS = 32
PROCESSES = 8
GUESSES = 200
NOW = Clock().now


def all_at_once(pool: ThreadPoolExecutor, calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Start all calls at the same instant, each in a thread of its own; return what each gave or raised."""
    start = threading.Barrier(len(calls))

    def one(call: Callable[[], Any]) -> Any:
        start.wait(60)
        return attempt(call)

    return [future.result() for future in [pool.submit(one, call) for call in calls]]


def face_on(store: Store, clock: Clock, policy: Policy = FAST, **options: Any) -> TwoFactor:
    """Return an instance of the application."""
    return TwoFactor(store, keys=KeyRing(KEY), issuer="Example", policy=policy, clock=clock, **options)


def kinds(outcomes: Sequence[Any]) -> Counter[str]:
    """Count outcomes by their type, or by its name where only that is left."""
    return Counter(outcome if isinstance(outcome, str) else type(outcome).__name__ for outcome in outcomes)


def enrolled(store: Store, user_ids: Sequence[str]) -> list[tuple[str, str]]:
    """Enrol users a step before `NOW`; return each one's current code and first recovery code."""
    clock = Clock(NOW - 30)
    world = World("blocking", store=store)
    world.clock = clock
    world.face = face_on(store, clock)
    secrets = []
    for user_id in user_ids:
        setup = world.begin(user_id)
        phone = world.phone(setup)
        codes = world.face.confirm_setup(user_id, phone.code(), handle=setup.handle)
        secrets.append((phone.code(1), codes[0]))
    return secrets


# --- P1: once means once -------------------------------------------------------------------------------------------


def judge_round(method: str, outcomes: Sequence[Any], events: Sequence[Event], *, stored_only: bool = False) -> None:
    """Hold one round, in which everybody submitted the same right code, against P1: its answers and its events agree.

    An attempt at a recovery code is counted before its hash, so there a crowd also runs into the wait. What is not
    written (a TOTP code used again, a wait) is not in a stored trail.
    """
    counted = kinds(outcomes)
    assert 1 == counted["Verification"]
    reused, throttled = counted["CodeReused"], counted["Throttled"]
    assert len(outcomes) - 1 == reused + throttled
    if method == "totp":
        assert 0 == throttled
        expected = {"code_accepted": 1, "code_reused": 0 if stored_only else reused}
    else:
        expected = {"recovery_code_used": 1, "code_reused": reused, "throttled": 0 if stored_only else throttled}
        expected["attempt_counted"] = 1 + reused if stored_only else 0
    assert +Counter(expected) == Counter(told(events))


def race_threads(method: str, store: Store, peer: Store, rounds: int) -> None:
    """Let 32 threads submit one right code at the same instant, half of them through the peer, a round for each user."""
    users = [f"user-{number}" for number in range(rounds)]
    secrets = enrolled(store, users)
    events: list[Event] = []
    faces = [face_on(either, Clock(NOW), on_event=events.append) for either in (store, peer)]

    with ThreadPoolExecutor(THREADS) as pool, restless_threads():
        for user_id, (code, recovery_code) in zip(users, secrets, strict=True):
            if method == "totp":
                submit = [partial(face.verify, user_id, code) for face in faces]
            else:
                submit = [partial(face.redeem_recovery_code, user_id, recovery_code) for face in faces]
            events.clear()

            outcomes = all_at_once(pool, submit * (THREADS // 2))

            judge_round(method, outcomes, events)
            assert (10 if method == "totp" else 9) == faces[0].status(user_id).recovery_codes_remaining


def compete(
    open_store: Callable[[], Store], rounds: list[tuple[str, str, str]], start: Barrier, results: Connection
) -> None:
    """One of the processes: submit every round's code when all the others do."""
    face = face_on(open_store(), Clock(NOW))
    outcomes: list[Any] = []
    for user_id, method, code in rounds:
        submit = partial(face.verify if method == "totp" else face.redeem_recovery_code, user_id, code)
        start.wait(60)
        outcomes.append(type(attempt(submit)).__name__)
    results.send(outcomes)
    results.close()


def race_processes(open_store: Callable[[], Any], rounds: int) -> None:
    """Let 8 processes submit one right code at the same instant, a round for each user and factor.

    Each process opens a store of its own: `open_store` has to be something that can be pickled.
    """
    store = open_store()
    users = [f"user-{number}" for number in range(rounds)]
    secrets = enrolled(store, users)
    tasks = [(user_id, "totp", code) for user_id, (code, _) in zip(users, secrets, strict=True)]
    tasks += [(user_id, "recovery_code", spare) for user_id, (_, spare) in zip(users, secrets, strict=True)]
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(PROCESSES)
    pipes = [spawn.Pipe(duplex=False) for _ in range(PROCESSES)]
    workers = [
        spawn.Process(target=compete, args=(open_store, tasks, start, sender), daemon=True) for _, sender in pipes
    ]
    for worker in workers:
        worker.start()
    for _, sender in pipes:
        sender.close()
    results = [receiver.recv() for receiver, _ in pipes]
    for worker in workers:
        worker.join(60)

    assert [0] * PROCESSES == [worker.exitcode for worker in workers]
    for number, (user_id, method, _) in enumerate(tasks):
        operation = "verify" if method == "totp" else "redeem_recovery_code"
        trail = [event for event in store.events(user_id) if event.detail.get("operation") == operation]
        judge_round(method, [names[number] for names in results], trail, stored_only=True)


# --- P2: no guess is free ------------------------------------------------------------------------------------------

PROOFS = {
    "begin_setup": lambda face, proof: face.begin_setup(USER, account_name=ACCOUNT, proof=proof),
    "reset_recovery_codes": lambda face, proof: face.reset_recovery_codes(USER, proof=proof),
    "reset_authenticator": lambda face, proof: face.reset_authenticator(USER, account_name=ACCOUNT, proof=proof),
    "disable": lambda face, proof: face.disable(USER, proof=proof),
    "forget": lambda face, proof: face.forget(USER, proof=proof),
}
"""The operations that a protected account allows with a proof."""


def guesser(operation: str, factor: str) -> Callable[[TwoFactor, str], Any]:
    """Return what submits a guess at a factor, at login or as a proof."""
    if operation == "login":
        if factor == "totp":
            return lambda face, code: face.verify(USER, code)
        return lambda face, code: face.redeem_recovery_code(USER, code)
    proof = ByCode if factor == "totp" else ByRecoveryCode
    return lambda face, code: PROOFS[operation](face, proof(code))


def counting_digests(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the thread of every recovery code's hash from here on."""
    digests: list[int] = []
    digest = Scheme.digest

    def counted(self: Scheme, salt: bytes, code: Any) -> bytes:
        digests.append(threading.get_ident())
        return digest(self, salt, code)

    monkeypatch.setattr(Scheme, "digest", counted)
    return digests


def judge_guesses(world: World, outcomes: Sequence[Any], operation: str, factor: str) -> None:
    """Hold the outcomes of wrong guesses at a frozen clock against P2."""
    name = {"totp": "verify", "recovery_code": "redeem_recovery_code"}[factor] if operation == "login" else operation
    assert {"InvalidCode": 5, "Throttled": len(outcomes) - 5} == kinds(outcomes)
    wait = utc(world.clock.now + 30)
    status = world.face.status(USER)
    assert wait == (status.retry_at if factor == "totp" else status.recovery_retry_at)
    assert {wait} == {outcome.retry_at for outcome in outcomes if type(outcome) is Throttled}
    told_at = Counter(outcome.retry_at for outcome in outcomes if type(outcome) is InvalidCode)
    if factor == "totp":
        assert {None: 4, wait: 1} == told_at
    else:  # judged after its hash, when others may have started the wait already
        assert 1 <= told_at.pop(wait)
        assert {None} >= set(told_at)
    rejected = [event for event in world.events if event.kind == "code_rejected"]
    assert [(name, factor)] * 5 == [(event.detail["operation"], event.detail["method"]) for event in rejected]
    state = state_of(world.record())
    held = state.authenticator if factor == "totp" else state.recovery
    assert held is not None
    counted = held.failures.strangers
    assert (5, 5) == (counted.in_a_row, len(counted.recent))
    assert world.clock.now == counted.last == counted.recent[0]


def guess_in_parallel(store: Store, operation: str, factor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let 200 threads guess at the same instant: five are answered and stored, and the rest hear when the wait ends."""
    world = World("blocking", store=store)
    phone, codes = world.enrol()
    before = shape(state_of(world.record()))
    world.events.clear()
    digests = counting_digests(monkeypatch)
    guess = guesser(operation, factor)
    wrong = [phone.wrong_code() if factor == "totp" else altered(codes[number % 10]) for number in range(GUESSES)]

    with ThreadPoolExecutor(GUESSES) as pool, restless_threads():
        outcomes = all_at_once(pool, [partial(guess, world.face, code) for code in wrong])

    judge_guesses(world, outcomes, operation, factor)
    assert (0 if factor == "totp" else 5) == len(digests)
    assert before == shape(state_of(world.record()))
    world.clock.advance(30)
    assert (5 if factor == "totp" else 0) == world.login(phone).failed_before
