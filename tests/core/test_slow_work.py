"""P10: nobody's slow work delays anybody else's by more than a few hashes, whatever one user sends."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from support import FAST, KEY, USER, World

from twofa import ByCode, ByRecoveryCode, ByVerification, KeyRing, Policy, RecoveryCodes, Throttle, Verification
from twofa._engine import hashing
from twofa._engine.attempt import open_record
from twofa._engine.hashing import Job
from twofa._hidden import Hidden
from twofa._record import recovery
from twofa._record.recovery import NewCodes
from twofa.errors import CodeReused, InvalidCode, NoSetup, ProofRequired, Throttled, TwoFactorError

if TYPE_CHECKING:
    from collections.abc import Callable

CROWD = 24


class Jobs:
    """Counts the jobs that are done, and how many are under way at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._lock, self._run = threading.Lock(), Job.run
        self.checks = self.sets = self.at_once = self.most_at_once = 0

        def run(job: Job) -> Any:
            return self.counted(job)

        monkeypatch.setattr(Job, "run", run)

    def counted(self, job: Job) -> Any:
        with self._lock:
            self.sets += isinstance(job.work, NewCodes)
            self.checks += not isinstance(job.work, NewCodes)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return self._run(job)
        finally:
            with self._lock:
                self.at_once -= 1


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    """The count of slow jobs."""
    return Jobs(monkeypatch)


def _crowd(call: Callable[[], object], times: int = CROWD) -> list[object]:
    start = threading.Barrier(times)

    def one() -> object:
        start.wait(60)
        try:
            return call()
        except TwoFactorError as refusal:
            return type(refusal)

    with ThreadPoolExecutor(times) as pool:
        return [future.result(120) for future in [pool.submit(one) for _ in range(times)]]


def test_a_crowd_with_one_token_makes_one_set(jobs: Jobs) -> None:
    """Of many parallel calls with the same verification one makes ten hashes, and the others none."""
    world = World("blocking")
    phone, _ = world.enrol()
    proof = ByVerification(world.login(phone).token)
    before = jobs.sets

    outcomes = _crowd(lambda: world.face.reset_recovery_codes(USER, proof=proof))

    assert 1 == sum(isinstance(outcome, RecoveryCodes) for outcome in outcomes)
    assert CROWD - 1 == outcomes.count(ProofRequired)
    assert (1, 1) == (jobs.sets - before, jobs.most_at_once)


def test_a_crowd_with_one_code_makes_one_set(jobs: Jobs) -> None:
    """The same with a TOTP code as the proof."""
    world = World("blocking")
    phone, _ = world.enrol()
    proof = ByCode(phone.code())
    before = jobs.sets

    outcomes = _crowd(lambda: world.face.reset_recovery_codes(USER, proof=proof))

    assert 1 == sum(isinstance(outcome, RecoveryCodes) for outcome in outcomes)
    assert CROWD - 1 == outcomes.count(CodeReused)
    assert (1, 1) == (jobs.sets - before, jobs.most_at_once)


def test_a_crowd_that_confirms_one_setup_makes_one_set(jobs: Jobs) -> None:
    """A right set-up code that is sent many times at once is hashed for once."""
    world = World("blocking")
    setup = world.begin()
    code = world.phone(setup).code()

    outcomes = _crowd(lambda: world.face.confirm_setup(USER, code, handle=setup.handle))

    assert 1 == sum(isinstance(outcome, RecoveryCodes) for outcome in outcomes)
    assert CROWD - 1 == outcomes.count(NoSetup)
    assert (1, 1) == (jobs.sets, jobs.most_at_once)


@pytest.mark.parametrize("right", [True, False])
def test_a_crowd_of_recovery_codes_is_checked_one_by_one(right: bool, jobs: Jobs) -> None:
    """At most one check of a user is under way, and of wrong codes five are looked at before the wait."""
    world = World("blocking")
    _, codes = world.enrol()
    jobs.most_at_once = 0
    code = codes[0] if right else "0" * 24

    outcomes = _crowd(lambda: world.face.redeem_recovery_code(USER, code))

    assert 1 == jobs.most_at_once
    assert int(right) == sum(isinstance(outcome, Verification) for outcome in outcomes)
    assert 5 + int(right) == jobs.checks
    assert outcomes.count(Throttled) == CROWD - 5 - int(right)


OLD_CODES = [f"{number}-old-code" for number in range(10)]


class Hashes:
    """Counts slow hashes and how many run at once; none of them takes long. `first` is called by the first one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._lock = threading.Lock()
        self.hashed: list[str] = []
        self.at_once = self.most_at_once = 0
        self.first: Callable[[], object] | None = None
        monkeypatch.setattr(recovery, "_argon2id", lambda salt, *_: SimpleNamespace(derive=partial(self._derive, salt)))

    def _derive(self, salt: bytes, code: bytes) -> bytes:
        with self._lock:
            first, self.first = self.first, None
            self.hashed.append(code.decode())
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        if first is not None:
            first()
        digest = recovery.Scheme.fast().digest(salt, Hidden(code.decode()))
        with self._lock:
            self.at_once -= 1
        return digest


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> Hashes:
    """The count of slow hashes."""
    return Hashes(monkeypatch)


def test_a_crowd_with_imported_codes_is_checked_one_by_one(jobs: Jobs, hashes: Hashes) -> None:
    """Codes from elsewhere cost ten hashes an attempt: one after the other, one attempt at a time, each counted as one."""
    world = World("blocking")
    world.face.import_authenticator(USER, bytes(range(20)), recovery_codes=OLD_CODES, by="ops", reason="moved")
    hashes.hashed.clear()
    hashes.most_at_once = 0

    outcomes = _crowd(lambda: world.face.redeem_recovery_code(USER, "0-bad-code"))

    assert (5, CROWD - 5) == (outcomes.count(InvalidCode), outcomes.count(Throttled))
    assert (1 + 5, 1) == (jobs.sets + jobs.checks, jobs.most_at_once)
    assert (5 * 10, 1) == (len(hashes.hashed), hashes.most_at_once)
    assert 5 == world.face.status(USER).failures


def test_imported_codes_keep_nobody_waiting(hashes: Hashes, monkeypatch: pytest.MonkeyPatch) -> None:
    """While ten of one user's old codes are compared on the only thread, another user's code comes second."""
    world = World("blocking", policy=Policy(hash_threads=1))
    for user in ("alice", "bob"):
        codes = [f"{user}-{code}" for code in OLD_CODES]
        world.face.import_authenticator(user, bytes(range(20)), recovery_codes=codes, by="ops", reason="moved")
    hashes.hashed.clear()
    asked, submit = threading.Event(), hashing._Pool.submit

    def noticed(pool: Any, urgency: int, function: Any, *arguments: Any) -> Any:
        future = submit(pool, urgency, function, *arguments)
        if threading.current_thread().name.startswith("bob"):
            asked.set()
        return future

    monkeypatch.setattr(hashing._Pool, "submit", noticed)
    with ThreadPoolExecutor(1, "bob") as bob, ThreadPoolExecutor(1, "alice") as alice:
        come = partial(bob.submit, world.face.redeem_recovery_code, "bob", f"bob-{OLD_CODES[0]}")
        signed_in: list[Any] = []
        hashes.first = lambda: (signed_in.append(come()), asked.wait(60))
        refused = alice.submit(world.face.redeem_recovery_code, "alice", "alice-0-bad-code")
        assert isinstance(refused.exception(60), InvalidCode)
        assert isinstance(signed_in[0].result(60), Verification)

    assert 11 == len(hashes.hashed)
    assert "bob0oldcode" == hashes.hashed[1]


def test_jobs_of_different_users_run_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """One user's job does not keep another's from starting."""
    world = World("blocking")
    users = ["alice", "bob"]
    codes = {user: world.enrol(user)[1] for user in users}
    both, run = threading.Barrier(2), Job.run

    def together(job: Job) -> Any:
        both.wait(60)
        return run(job)

    monkeypatch.setattr(Job, "run", together)
    with ThreadPoolExecutor(2) as pool:
        redeemed = [pool.submit(world.face.redeem_recovery_code, user, codes[user][0]) for user in users]
        assert all(isinstance(future.result(60), Verification) for future in redeemed)


@pytest.mark.parametrize(
    ("code", "checks", "error"), [("spent", 1, CodeReused), ("wrong", 1, InvalidCode), ("of no slot", 0, InvalidCode)]
)
def test_a_recovery_code_that_is_no_proof_costs_one_hash_at_most(
    code: str, checks: int, error: type[TwoFactorError], jobs: Jobs, world: World
) -> None:
    """P10: a new set is hashed only when nothing it depends on can still refuse it."""
    _, codes = world.enrol()
    world.face.redeem_recovery_code(USER, codes[0])
    given = {"spent": codes[0], "wrong": codes[1][:-1] + ("0" if codes[1][-1] != "0" else "1"), "of no slot": "Z" * 24}
    before = jobs.checks, jobs.sets

    with pytest.raises(error):
        world.face.reset_recovery_codes(USER, proof=ByRecoveryCode(given[code]))

    assert (before[0] + checks, before[1]) == (jobs.checks, jobs.sets)


def test_a_recovery_code_that_is_a_proof_is_checked_and_then_leads_to_a_set(jobs: Jobs, world: World) -> None:
    """One check, then one set, and no count is left of the attempt."""
    _, codes = world.enrol()
    before = jobs.checks, jobs.sets

    world.face.reset_recovery_codes(USER, proof=ByRecoveryCode(codes[0]))

    assert (before[0] + 1, before[1] + 1) == (jobs.checks, jobs.sets)
    assert 0 == world.face.status(USER).failures


def test_a_call_whose_turn_never_comes_gives_up(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """If a call on the same user hangs in its slow work, the next one ends closed, with its event."""
    _, codes = world.enrol()
    face: Any = world.face
    face = getattr(face, "_face", face)
    face._slow_work.patience = 0.01

    class Hanging:
        """A position in front of everyone, which never leaves."""

        def wake(self) -> None:
            """Be first."""

    face._slow_work.join(USER, Hanging())
    with pytest.raises(TwoFactorError) as refusal:
        world.face.redeem_recovery_code(USER, codes[0])

    assert ("store_contention", "store_contention") == (refusal.value.code, world.kinds()[-1])
    assert 0 == world.face.status(USER).failures


def test_what_has_expired_goes_with_the_next_write() -> None:
    """The secret of a set-up that was never confirmed is in no record that is written after it expired."""
    world = World("blocking")
    world.begin()
    world.clock.advance(30 * 86_400)
    other = KeyRing.generate_key()
    rotated = world.new_face(keys=KeyRing(other, KEY))
    assert rotated.reseal(USER)

    stored = world.record()
    state = open_record(KeyRing(other).for_user(USER), stored).state
    assert state.pending is not None
    assert state.pending.totp is None


def test_the_policy_decides_how_many_threads_hash() -> None:
    """`hash_threads` overrides what the container seems to have room for."""
    world = World("blocking", policy=replace(FAST, hash_threads=3, throttle=Throttle()))

    assert 3 == world.face._settings._threads
