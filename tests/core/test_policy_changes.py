"""P12, yesterday's users still get in: a change of policy or of keys takes nothing from anyone who is enrolled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support import ACCOUNT, FAST, KEY, OTHER_KEY, USER, World

from twofa import Argon2id, ByCode, ByRecoveryCode, ByVerification, KeyRing, Policy, Scrypt, Throttle
from twofa._engine.attempt import open_record
from twofa.errors import CodeReused, InvalidCode, RecoveryCodesExhausted, Throttled, UnknownKey

if TYPE_CHECKING:
    from support import Phone

    from twofa import Setup

THIRD_KEY = "VGhlIGtleSBhZnRlciB0aGUgbmV4dCwgMzIgYnl0ZXM"


def fast(**settings: Any) -> Policy:
    """Return a policy with codes that need no slow hash, unless their length is what changes."""
    return Policy(**{"recovery_code_length": 24, **settings})


def slow(hashing: Argon2id | Scrypt, length: int = 16) -> Policy:
    """Return a policy with one slowly hashed code."""
    return Policy(recovery_codes=1, recovery_code_length=length, hashing=hashing)


ARGON = Argon2id(memory_kib=12_288, iterations=3)
OTHER_ARGON = Argon2id(memory_kib=19_456, iterations=2)
SCRYPT = Scrypt(n=2**15, p=3)

CHANGES: dict[str, tuple[Policy, Policy]] = {
    # what changes: the policy of the enrolment, and the one after it
    "digits up": (fast(digits=6), fast(digits=8)),
    "digits down": (fast(digits=8), fast(digits=6)),
    "period up": (fast(period=30), fast(period=60)),
    "period down": (fast(period=120), fast(period=15)),
    "algorithm up": (fast(algorithm="SHA1"), fast(algorithm="SHA512")),
    "algorithm down": (fast(algorithm="SHA256"), fast(algorithm="SHA1")),
    "all of TOTP": (fast(), fast(algorithm="SHA256", digits=7, period=45)),
    "window": (fast(window=2), fast(window=0)),
    "more codes": (fast(recovery_codes=3), fast(recovery_codes=32)),
    "fewer codes": (fast(recovery_codes=32), fast(recovery_codes=3)),
    "longer codes": (fast(recovery_code_length=24), fast(recovery_code_length=32)),
    "shorter codes": (fast(recovery_code_length=32), fast(recovery_code_length=24)),
    "hash parameters": (slow(ARGON), slow(OTHER_ARGON)),
    "from Argon2id to scrypt": (slow(ARGON), slow(SCRYPT)),
    "from scrypt to Argon2id": (slow(SCRYPT), slow(ARGON)),
    "from slow to fast hashes": (slow(ARGON), fast(recovery_codes=1)),
    "from fast to slow hashes": (fast(recovery_codes=1), slow(ARGON, length=14)),
    "throttle": (fast(), fast(throttle=Throttle(free_failures=0, first_wait=600, block_after=10))),
    "lifetime of set-ups": (fast(), fast(setup_lifetime=60)),
}


class Enrolled(NamedTuple):
    """Who enrolled under the old policy and lives under the new one."""

    world: World
    phone: Phone
    codes: tuple[str, ...]
    old: Policy
    new: Policy


@pytest.fixture(params=CHANGES)
def enrolled(request: pytest.FixtureRequest, world: World) -> Enrolled:
    """A user before, and an application after a change of policy."""
    old, new = CHANGES[request.param]
    world.face = world.new_face(old)
    phone, codes = world.enrol()
    world.face = world.new_face(new)
    return Enrolled(world, phone, tuple(codes), old, new)


def _scheme(world: World) -> tuple[str, int]:
    """Return how the stored set is hashed, and how long its codes are."""
    held = open_record(world.keys.for_user(USER), world.record()).state.recovery
    assert held is not None
    return held.scheme, held.length


def _parameters(policy: Policy) -> tuple[str, int, int]:
    return policy.algorithm, policy.digits, policy.period


def test_the_enrolled_user_lives_on(enrolled: Enrolled) -> None:
    """App, recovery codes and both as a proof work as before, and `status` shows what was enrolled."""
    world, phone, codes, old, _ = enrolled

    assert 0 == world.login(phone).step_offset
    status = world.face.status(USER)
    assert _parameters(old) == (status.algorithm, status.digits, status.period)
    assert old.recovery_codes == status.recovery_codes_remaining
    code = phone.code()
    world.begin(proof=ByCode(code))
    with pytest.raises(CodeReused):
        world.face.verify(USER, code)
    assert old.recovery_codes - 1 == world.face.redeem_recovery_code(USER, codes[0]).recovery_codes_remaining
    with pytest.raises(CodeReused if old.recovery_codes > 1 else RecoveryCodesExhausted):
        world.face.redeem_recovery_code(USER, codes[0])


def test_the_next_set_follows_the_new_policy(enrolled: Enrolled) -> None:
    """New recovery codes come as the new policy says, while the authenticator stays what it was."""
    world, phone, codes, old, new = enrolled

    fresh = world.face.reset_recovery_codes(USER, proof=ByRecoveryCode(codes[0]))

    assert new.recovery_codes == len(fresh)
    assert {new.recovery_code_length} == {len(code.replace("-", "")) for code in fresh}
    assert new.recovery_code_length == _scheme(world)[1]
    assert new.slow_hashing == (not _scheme(world)[0].startswith("sha256"))
    assert new.recovery_codes - 1 == world.face.redeem_recovery_code(USER, fresh[-1]).recovery_codes_remaining
    assert _parameters(old) == (
        world.face.status(USER).algorithm,
        world.face.status(USER).digits,
        world.face.status(USER).period,
    )
    world.clock.advance(120)
    world.login(phone)


def test_the_next_authenticator_follows_the_new_policy(enrolled: Enrolled) -> None:
    """A replacement has the new parameters, and brings codes as the new policy says; the old app works until then."""
    world, phone, _, old, new = enrolled
    world.clock.advance(120)
    setup = world.begin(proof=ByCode(phone.code()))
    assert f"algorithm={new.algorithm}&digits={new.digits}&period={new.period}" in setup.uri
    assert new.setup_lifetime == setup.expires_at.timestamp() - world.clock.now
    assert _parameters(old)[1:] == (world.face.status(USER).digits, world.face.status(USER).period)

    fresh_phone, fresh = world.confirm(setup)

    status = world.face.status(USER)
    assert _parameters(new) == (status.algorithm, status.digits, status.period)
    assert new.recovery_codes == len(fresh) == status.recovery_codes_remaining
    world.login(fresh_phone)


@pytest.mark.parametrize(("old", "new"), [(6, 8), (8, 6)])
def test_a_setup_that_was_begun_before_a_change_is_confirmed_after_it(old: int, new: int, world: World) -> None:
    """A page that was open during the deployment can be finished, and shown again with what its phone has scanned."""
    world.face = world.new_face(fast(digits=old, algorithm="SHA256"))
    setup = world.begin()
    world.face = world.new_face(fast(digits=new))

    again: Setup = world.resume(setup)
    assert setup == again
    phone, _ = world.confirm(again)

    assert ("SHA256", old) == (world.face.status(USER).algorithm, world.face.status(USER).digits)
    world.login(phone)


@pytest.mark.parametrize("method", ["totp", "recovery_code"])
def test_a_stricter_throttle_counts_what_was_counted_before(method: str, world: World) -> None:
    """How attempts are judged is today's policy: yesterday's failures start today's wait, and end with a right code."""
    phone, codes = world.enrol()

    def attempt(code: str) -> object:
        return (world.face.verify if method == "totp" else world.face.redeem_recovery_code)(USER, code)

    for _ in range(4):
        with pytest.raises(InvalidCode) as refusal:
            attempt(phone.wrong_code() if method == "totp" else "Z" * 24)
        assert refusal.value.retry_at is None
    world.face = world.new_face(fast(throttle=Throttle(free_failures=2, first_wait=60)))

    with pytest.raises(Throttled) as wait:
        attempt(phone.code() if method == "totp" else codes[0])
    assert world.clock.now + 120 == wait.value.retry_at.timestamp()
    world.clock.advance(120)
    attempt(phone.code() if method == "totp" else codes[0])


def test_a_narrower_window_is_todays(world: World) -> None:
    """The window belongs to the judging, not to the enrolment: under the strict profile an older code is refused."""
    world.face = world.new_face(fast(window=2))
    phone, _ = world.enrol()
    world.clock.advance(60)
    assert -2 == world.face.verify(USER, phone.code(-2)).step_offset
    world.face = world.new_face(Policy.strict())

    with pytest.raises(InvalidCode):
        world.face.verify(USER, phone.code(-1))
    assert 0 == world.login(phone).step_offset


# --- keys ----------------------------------------------------------------------------------------------------------


def test_a_key_is_rotated_without_anyone_noticing(world: World) -> None:
    """Old key, new key as an older one, new key first, reseal, old key dropped: at each stage everything works."""
    phone, codes = world.enrol()
    token = world.login(phone).token
    setup = world.begin(proof=ByVerification(token))
    stages = [KeyRing(KEY, OTHER_KEY), KeyRing(OTHER_KEY, KEY)]
    for stage, keys in enumerate(stages):
        world.face = world.new_face(keys=keys)
        assert setup == world.resume(setup)
        before, events = world.face.status(USER), len(world.events)
        assert (stage == 1) is world.face.reseal(USER)
        assert world.face.reseal(USER) is False
        assert before == world.face.status(USER)
        assert events == len(world.events)
    world.keys = KeyRing(OTHER_KEY)
    world.face = world.new_face(FAST)

    assert setup == world.resume(setup)
    world.login(phone)
    assert 9 == world.face.redeem_recovery_code(USER, codes[0]).recovery_codes_remaining
    new_phone, new_codes = world.confirm(setup)
    world.login(new_phone)
    world.face.redeem_recovery_code(USER, new_codes[0])
    with pytest.raises(UnknownKey) as refusal:
        world.new_face(keys=KeyRing(KEY)).status(USER)
    assert KeyRing(OTHER_KEY).key_ids[0] == refusal.value.key_id


def test_a_dropped_key_is_named_and_locks_nobody_out_for_good(world: World) -> None:
    """A ring that lost a key too early refuses by name from every operation, writes nothing, and recovers with it."""
    phone, codes = world.enrol()
    record = world.record()
    hasty = world.new_face(keys=KeyRing(OTHER_KEY))
    for call in (
        lambda: hasty.status(USER),
        lambda: hasty.reseal(USER),
        lambda: hasty.verify(USER, phone.code()),
        lambda: hasty.redeem_recovery_code(USER, codes[0]),
        lambda: hasty.begin_setup(USER, account_name=ACCOUNT),
        lambda: hasty.cancel_setup(USER),
        lambda: hasty.disable(USER, proof=ByCode(phone.code())),
    ):
        with pytest.raises(UnknownKey, match=KeyRing(KEY).key_ids[0]):
            call()
    assert record == world.record()

    careful = world.new_face(keys=KeyRing(OTHER_KEY, KEY))
    assert "totp" == careful.verify(USER, phone.code()).method


@pytest.mark.parametrize("state", ["none", "pending", "active", "reenrol", "tombstone"])
def test_every_state_is_resealed_as_it_is(state: str, world: World) -> None:
    """Set-ups, resets and tombstones go under the new key unchanged; where there is nothing, nothing is done."""
    proof: Any = None
    if state == "pending":
        world.begin()
    elif state != "none":
        phone, _ = world.enrol()
        proof = ByCode(phone.code())
    if state == "reenrol":
        world.face.reset_authenticator(USER, account_name=ACCOUNT, proof=proof)
    if state == "tombstone":
        world.face.disable(USER, proof=proof)
    before = world.face.status(USER)
    rotated = world.new_face(keys=KeyRing(OTHER_KEY, KEY))

    assert (state != "none") is rotated.reseal(USER)
    assert before == world.new_face(keys=KeyRing(OTHER_KEY)).status(USER) == rotated.status(USER)


def test_two_rotations_in_a_row(world: World) -> None:
    """Whoever was away for two rotations is still opened by the oldest key, and resealed under the newest."""
    phone, _ = world.enrol()
    twice = KeyRing(THIRD_KEY, OTHER_KEY, KEY)
    assert world.new_face(keys=twice).reseal(USER) is True

    newest = world.new_face(keys=KeyRing(THIRD_KEY))
    assert "totp" == newest.verify(USER, phone.code()).method
