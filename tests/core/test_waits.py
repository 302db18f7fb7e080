"""Waits and their counts, as the faces tell of them: when to try again, and what does not count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from support import USER, World, enter_wrong_codes

from twofa import (
    ByCode,
    ByRecoveryCode,
)
from twofa.errors import (
    CodeReused,
    InvalidCode,
    Throttled,
)


def _at(world: World, seconds: int = 0) -> datetime:
    return datetime.fromtimestamp(world.clock.now + seconds, UTC)


@pytest.mark.parametrize("method", ["totp", "recovery_code"])
def test_the_fifth_wrong_code_tells_when_to_try_again(method: str, world: World) -> None:
    """Four carry no time; the fifth is answered and carries the end of its wait, as `Throttled` and `status` say it."""
    phone, codes = world.enrol()
    refusals = enter_wrong_codes(world, phone if method == "totp" else None, 5)
    until = _at(world, 30)

    assert [None, None, None, None, until] == [refusal.retry_at for refusal in refusals]
    assert timedelta(0) == until.utcoffset()
    world.clock.advance(29)
    check, right = (
        (world.face.verify, phone.code()) if method == "totp" else (world.face.redeem_recovery_code, codes[0])
    )
    with pytest.raises(Throttled) as wait:
        check(USER, right)
    assert until == wait.value.retry_at
    status = world.face.status(USER)
    assert until == (status.retry_at if method == "totp" else status.recovery_retry_at)

    world.clock.advance(1)
    (sixth,) = enter_wrong_codes(world, phone if method == "totp" else None, 1)
    assert _at(world, 60) == sixth.retry_at


def test_hammering_the_app_leaves_the_way_back_open(world: World) -> None:
    """Whoever keeps TOTP waiting cannot keep a recovery code waiting, as a login or as a proof."""
    phone, codes = world.enrol()
    for _ in range(8):
        enter_wrong_codes(world, phone, 1)
        world.clock.now = int((world.face.status(USER).retry_at or _at(world)).timestamp())
    enter_wrong_codes(world, phone, 1)

    with pytest.raises(Throttled):
        world.face.verify(USER, phone.code())
    assert world.face.status(USER).recovery_retry_at is None
    assert 9 == world.face.redeem_recovery_code(USER, codes[0]).recovery_codes_remaining
    assert 10 == len(world.face.reset_recovery_codes(USER, proof=ByRecoveryCode(codes[1])))


def test_hammering_the_codes_leaves_the_app_open(world: World) -> None:
    """And the other way round."""
    phone, codes = world.enrol()
    enter_wrong_codes(world, None, 5)

    with pytest.raises(Throttled):
        world.face.redeem_recovery_code(USER, codes[0])
    assert world.face.status(USER).retry_at is None
    assert 0 == world.login(phone).failed_before


def test_codes_as_proofs_are_counted_with_those_at_login(world: World) -> None:
    """One count for both: five wrong codes in any mixture start the wait, for both."""
    phone, _ = world.enrol()
    enter_wrong_codes(world, phone, 3)
    for _ in range(2):
        with pytest.raises(InvalidCode) as refusal:
            world.face.disable(USER, proof=ByCode(phone.wrong_code()))
    assert _at(world, 30) == refusal.value.retry_at

    with pytest.raises(Throttled):
        world.face.verify(USER, phone.code())
    with pytest.raises(Throttled):
        world.begin(proof=ByCode(phone.code()))


def test_a_double_click_is_told_apart_and_not_counted(world: World) -> None:
    """The code just accepted is `CodeReused` as often as it is sent, without a write, a count or a wait."""
    phone, _ = world.enrol()
    code = phone.code()
    world.face.verify(USER, code)
    record = world.record()

    for _ in range(20):
        with pytest.raises(CodeReused) as refusal:
            world.face.verify(USER, code)
        assert refusal.value.retry_at is None
    with pytest.raises(CodeReused):
        world.face.disable(USER, proof=ByCode(code))

    assert record == world.record()
    world.clock.advance(30)
    assert 0 == world.login(phone).failed_before


def test_an_older_code_is_wrong_and_counted(world: World) -> None:
    """Only the last accepted step reads as reused: one before it is a wrong code, whether or not it was ever used."""
    phone, _ = world.enrol()
    earlier = phone.code()
    world.login(phone)
    world.face.verify(USER, phone.code())

    for code in (earlier, phone.code(-1)):
        with pytest.raises(InvalidCode) as refusal:
            world.face.verify(USER, code)
        assert InvalidCode is refusal.type
    world.clock.advance(30)
    assert 2 == world.login(phone).failed_before


def test_a_code_that_left_the_window_is_wrong(world: World) -> None:
    """The accepted step itself is a wrong code once it is too old to be accepted at all."""
    phone, _ = world.enrol()
    code = phone.code()
    world.face.verify(USER, code)
    world.clock.advance(60)

    with pytest.raises(InvalidCode) as refusal:
        world.face.verify(USER, code)
    assert InvalidCode is refusal.type


def test_a_spent_recovery_code_is_told_apart_and_counted(world: World) -> None:
    """It costs a hash, so a second try of a recovery code counts, and the fifth starts a wait."""
    _, codes = world.enrol()
    world.face.redeem_recovery_code(USER, codes[0])
    refusals: list[datetime | None] = []
    for _ in range(5):
        with pytest.raises(CodeReused) as refusal:
            world.face.redeem_recovery_code(USER, codes[0])
        refusals.append(refusal.value.retry_at)

    assert [None, None, None, None, _at(world, 30)] == refusals
