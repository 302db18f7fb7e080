"""P1 and P2 under concurrency: once means once, and no guess is free, whoever else submits at the same instant.

Threads start on a barrier and switch every microsecond until all of them are done; processes meet at a barrier before
each round. What depends on the order of two calls alone is tried in every order.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import strength
from interleave import DRIVERS, Scene, altered, attempt, every_order
from racing import (
    GUESSES,
    PROOFS,
    all_at_once,
    counting_digests,
    guess_in_parallel,
    guesser,
    judge_guesses,
    kinds,
    race_processes,
    race_threads,
)
from support import KEY, USER, World

from twofa import TOTP, Change, KeyRing, Policy, RecoveryCodes, Verification, errors
from twofa._engine.attempt import close_record, open_record
from twofa._record.recovery import Scheme
from twofa._record.state import EnrolledTOTP
from twofa.errors import InvalidCode, Throttled
from twofa.stores import MemoryStore, SQLiteStore
from twofa.testing.racing import restless_threads

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = strength.rounds(20, 200)


# --- P1: once means once -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["totp", "recovery_code"])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_of_32_threads_one_is_accepted(method: str, kind: str, tmp_path: Path) -> None:
    """P1: 32 threads submit one code at the same instant, 200 times over on SQLite in `make proof`: one acceptance each time."""
    path = tmp_path / "races.db"
    store: Any = MemoryStore() if kind == "memory" else SQLiteStore(path)
    peer: Any = store if kind == "memory" else SQLiteStore(path)
    race_threads(method, store, peer, ROUNDS if kind == "sqlite" else ROUNDS // 4)


def test_of_8_processes_one_is_accepted(tmp_path: Path) -> None:
    """P1: 8 processes submit one code at the same instant, 200 times for each factor in `make proof`: one acceptance each time."""
    race_processes(partial(SQLiteStore, str(tmp_path / "races.db")), ROUNDS)


# --- P2: no guess is free ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("factor", ["totp", "recovery_code"])
@pytest.mark.parametrize("operation", ["login", *PROOFS])
def test_of_200_parallel_guesses_five_are_answered(
    operation: str, factor: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P2: at a frozen clock exactly five wrong guesses are answered and stored; the rest hear when the wait ends."""
    if kind == "sqlite" and operation not in {"login", "reset_recovery_codes"}:
        kind = "memory"  # the store does not see what an operation is; two of them stand for the rest
    store = MemoryStore() if kind == "memory" else SQLiteStore(tmp_path / "guesses.db")
    guess_in_parallel(store, operation, factor, monkeypatch)


@pytest.mark.parametrize("operation", ["login", "reset_recovery_codes"])
def test_200_parallel_guesses_cost_five_slow_hashes(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """P2 and P10: with the default hash a crowd of recovery codes makes the server work five times, not 200."""
    world = World("blocking", policy=Policy(recovery_codes=2))
    _, codes = world.enrol()
    world.events.clear()
    digests = counting_digests(monkeypatch)
    guess = guesser(operation, "recovery_code")

    with ThreadPoolExecutor(GUESSES) as pool, restless_threads():
        outcomes = all_at_once(pool, [lambda: guess(world.face, altered(codes[0])) for _ in range(GUESSES)])

    judge_guesses(world, outcomes, operation, "recovery_code")
    assert 5 == len(digests)


def test_guesses_at_a_slot_that_no_code_has_cost_no_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """P2 and P10: five such guesses are answered and counted like any other, without a hash."""
    world = World("blocking", policy=Policy(recovery_codes=2))
    world.enrol()
    world.events.clear()
    digests = counting_digests(monkeypatch)

    with ThreadPoolExecutor(GUESSES) as pool, restless_threads():
        outcomes = all_at_once(
            pool, [lambda: world.face.redeem_recovery_code(USER, "Z234-5678-9ABC-DEFG") for _ in range(GUESSES)]
        )

    judge_guesses(world, outcomes, "login", "recovery_code")
    assert [] == digests


# --- P2 by time: slow work is counted first ------------------------------------------------------------------------

CROWD = 120


class Held:
    """Holds the slow work of one thread until it is let go, and counts everybody's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.digests: Counter[int] = Counter()
        self.reached, self.go = threading.Event(), threading.Event()
        self.thread: int | None = None
        digest = Scheme.digest

        def held(scheme: Scheme, salt: bytes, code: Any) -> bytes:
            me = threading.get_ident()
            self.digests[me] += 1
            if me == self.thread:
                self.reached.set()
                if not self.go.wait(60):
                    raise TimeoutError("nobody let the right guess go on")
            return digest(scheme, salt, code)

        monkeypatch.setattr(Scheme, "digest", held)


@pytest.mark.parametrize("factor", ["totp", "recovery_code"])
@pytest.mark.parametrize("position", range(8))
def test_a_right_guess_that_did_slow_work_is_accepted(
    factor: str, position: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P2: while a right proof makes its new codes 119 wrong ones arrive; it is accepted, or did no slow work.

    Wrong TOTP codes are answered meanwhile. Wrong recovery codes need slow work, so they wait for the right one's to
    end, and are then judged against the new set, which has counts of its own.
    """
    world = World("blocking")
    phone, codes = world.enrol()
    guess = guesser("reset_recovery_codes", factor)
    right = phone.code() if factor == "totp" else codes[0]
    wrong = phone.wrong_code() if factor == "totp" else altered(codes[1])
    held = Held(monkeypatch)
    ended = threading.Event()

    def submit_the_right_one() -> Any:
        held.thread = threading.get_ident()
        try:
            return attempt(lambda: guess(world.face, right))
        finally:
            ended.set()
            held.reached.set()

    outcomes = [attempt(lambda: guess(world.face, wrong)) for _ in range(position)]
    queues = factor == "recovery_code" and position < 4  # the fifth attempt starts a wait, into which all others run
    with ThreadPoolExecutor(CROWD) as pool:
        future = pool.submit(submit_the_right_one)
        held.reached.wait(60)
        working = not ended.is_set()
        others = [partial(attempt, partial(guess, world.face, wrong)) for _ in range(CROWD - 1 - position)]
        if queues:
            waiting = [pool.submit(other) for other in others]
            held.go.set()
            outcomes += [each.result(60) for each in waiting]
        else:
            outcomes += [other() for other in others]
            held.go.set()
        answer = future.result()

    answered = position + 5 if queues else 4 if position < 5 else 5
    assert {"InvalidCode": answered, "Throttled": CROWD - 1 - answered} == kinds(outcomes)
    assert (position < 5) == working
    slow_work = held.digests[held.thread or 0]
    if position < 5:
        assert isinstance(answer, RecoveryCodes)
        assert (10 if factor == "totp" else 11) == slow_work
        world.clock.advance(3600)
        assert isinstance(world.face.redeem_recovery_code(USER, answer[0]), Verification)
        world.clock.advance(-3600)
        assert isinstance(attempt(lambda: guess(world.face, right)), InvalidCode)  # spent: reused, or of a dead set
    else:
        assert type(answer) is Throttled
        assert 0 == slow_work


@pytest.mark.parametrize("factor", ["totp", "recovery_code"])
def test_slow_work_ends_in_acceptance_wherever_the_right_guess_stands(
    factor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P2: of many guesses at the same instant, whoever made new codes got them, and who got none made none."""
    random = Random(20260801)
    digests = counting_digests(monkeypatch)
    with ThreadPoolExecutor(CROWD) as pool, restless_threads():
        for crowd in (CROWD,) * strength.rounds(3, 15) + (4,):
            world = World("blocking")
            phone, codes = world.enrol()
            guess = guesser("reset_recovery_codes", factor)
            right = phone.code() if factor == "totp" else codes[0]
            wrong = phone.wrong_code() if factor == "totp" else altered(codes[1])
            place = random.randrange(min(crowd, 12))
            digests.clear()

            def one(code: str, world: World = world, guess: Any = guess) -> tuple[int, Any]:
                return threading.get_ident(), attempt(lambda: guess(world.face, code))

            guesses = [right if number == place else wrong for number in range(crowd)]
            answers = all_at_once(pool, [partial(one, code) for code in guesses])

            thread, answer = answers[place]
            work = Counter(digests)
            most = {"totp": 0, "recovery_code": 1}[factor]
            assert most >= max((work[other] for other, _ in answers if other != thread), default=0)
            assert (most + 10 if isinstance(answer, RecoveryCodes) else 0) == work[thread]
            # Fewer than five guesses start no wait, so that nothing can come between.
            assert isinstance(answer, RecoveryCodes | Throttled if crowd == CROWD else RecoveryCodes)


@pytest.mark.parametrize("factor", ["totp", "recovery_code"])
def test_a_counted_guess_is_judged_by_nothing_else(factor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret or set replaced during the slow work makes it a wrong code, even if it were right by the new one too."""
    world = World("blocking")
    phone, codes = world.enrol()
    guess = guesser("reset_recovery_codes", factor)
    right = phone.code() if factor == "totp" else codes[0]
    replaced: list[bool] = []
    digest = Scheme.digest

    def replacing(scheme: Scheme, salt: bytes, code: Any) -> bytes:
        if not replaced:
            replaced.append(replace(world, factor))
        return digest(scheme, salt, code)

    monkeypatch.setattr(Scheme, "digest", replacing)
    outcome = attempt(lambda: guess(world.face, right))

    assert [True] == replaced
    assert InvalidCode is type(outcome)
    assert isinstance(attempt(lambda: guess(world.face, right)), RecoveryCodes)  # it is right by the new one


def replace(world: World, factor: str) -> bool:
    """Put a secret or set in place that is not the old one, and for which the same codes are right."""
    before = world.record()
    assert before is not None
    seal = KeyRing(KEY).for_user(USER)
    inside = open_record(seal, before)
    state, versions = inside.state, inside.versions
    device, held = state.authenticator, state.recovery
    assert device is not None
    assert held is not None
    if factor == "totp":  # HMAC fills a key up with zeros (RFC 2104 §2)
        totp = device.totp.calculator()
        longer = TOTP(totp.secret + b"\0", algorithm=totp.algorithm, digits=totp.digits, period=totp.period)
        state = dataclasses.replace(state, authenticator=dataclasses.replace(device, totp=EnrolledTOTP.of(longer)))
    else:
        first, others = held.hashes[:64], held.hashes[64:]
        held = dataclasses.replace(held, hashes=first + "A" * len(others))
        state = dataclasses.replace(state, recovery=held)
    return world.store.swap(USER, Change(before.version, close_record(seal, state, versions)))


# --- every order of two calls --------------------------------------------------------------------------------------


ONCE = [
    # Both calls show the same code or token, which serves one of them.
    ("active", "verify", "verify"),
    ("active", "redeem", "redeem"),
    ("active", "verify", "new codes by code"),
    ("active", "redeem", "new codes by recovery code"),
    ("active", "redeem", "begin by recovery code"),
    ("active", "new codes by code", "new codes by code"),
    ("active", "new codes by recovery code", "new codes by recovery code"),
    ("active", "new codes by token", "new codes by token"),
    ("active", "begin by code", "begin by code"),
    ("active", "begin by token", "begin by token"),
    ("active", "begin by token", "new codes by token"),
    ("pending", "confirm", "confirm"),
    ("replacing", "confirm", "confirm"),
]
PAIRS = [
    *ONCE,
    ("active", "begin by code", "disable by code"),
    ("active", "redeem", "redeem other"),
    ("two codes left", "redeem", "redeem other"),
    ("two codes left", "redeem", "new app by recovery code"),
    ("active", "redeem", "new codes"),
    ("active", "verify", "new app"),
    ("active", "verify", "disable"),
    ("active", "redeem", "disable"),
    ("active", "redeem", "forget"),
    ("active", "verify", "verify next"),
    ("active", "verify", "verify wrong"),
    ("active", "redeem", "redeem wrong"),
    ("pending", "confirm", "cancel"),
    ("pending", "confirm", "begin"),
    ("pending", "confirm", "confirm wrong"),
    ("pending", "begin", "begin"),
    ("replacing", "confirm", "cancel"),
    ("replacing", "confirm", "verify"),
    ("replacing", "confirm", "new codes"),
    ("replacing", "confirm", "new app"),
    ("replacing", "confirm", "disable"),
    ("replacing", "confirm", "begin by token"),
    ("replacing", "same setup", "confirm"),
    ("replacing", "new codes by code", "confirm"),
]


@pytest.mark.parametrize("kind", DRIVERS)
@pytest.mark.parametrize(("state", "one", "other"), PAIRS)
def test_every_order_of_two_calls_is_one_after_the_other(state: str, one: str, other: str, kind: str) -> None:
    """However the steps of two calls fall, what they get and what is left is as if one had come after the other.

    Apart from the counts of attempts: one made in parallel may be counted on a set that is gone by the end.
    """
    scene = Scene(state)
    allowed = scene.orders(kind, (one, other))

    seen = list(every_order(lambda choose: scene.play(kind, (one, other), choose)))

    assert 2 <= len(seen)
    for outcome in seen:
        assert outcome in allowed
        if (state, one, other) in ONCE:
            assert 1 == sum(hasattr(errors, str(worth[0])) for worth in outcome[:2])
