"""Login tickets: for hosts that issue tokens of their own, the time between the password and the code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from interleave import altered

from twofa import ByCode
from twofa.errors import CodeReused, InvalidCode, MalformedCode, NotEnrolled, SignInRequired, Throttled

if TYPE_CHECKING:
    from support import World


def _owing(world: World, user_id: str = "alice") -> str:
    return world.face.login_ticket(user_id)


def test_a_ticket_and_a_code_are_a_verification(world: World) -> None:
    """Either kind of code serves, and the verification names the user, whom the host had in no session."""
    phone, codes = world.enrol("alice")
    for code, method in ((phone.code(), "totp"), (codes[0], "recovery_code")):
        verification = world.face.verify_ticket(_owing(world), code)
        assert ("alice", method) == (verification.user_id, verification.method)


def test_a_password_that_is_enough_needs_no_ticket(world: World) -> None:
    """There is none for an account without a second factor: a forgotten check would be a login without a code."""
    world.begin("bob")
    for user_id in ("alice", "bob"):
        with pytest.raises(NotEnrolled):
            _owing(world, user_id)


def test_a_ticket_lasts_five_minutes(world: World) -> None:
    """After that a right code is not even looked at."""
    phone, _ = world.enrol("alice")
    ticket = _owing(world)
    world.clock.advance(299)
    with pytest.raises(InvalidCode):
        world.face.verify_ticket(ticket, phone.wrong_code())
    world.clock.advance(1)
    before = world.record("alice")
    with pytest.raises(SignInRequired) as refusal:
        world.face.verify_ticket(ticket, phone.code())
    assert ("expired", before) == (refusal.value.reason, world.record("alice"))


def test_a_ticket_ends_with_the_generation(world: World) -> None:
    """Once the second factor was changed, it spends no code and counts none."""
    phone, codes = world.enrol("alice")
    ticket = _owing(world)
    world.face.end_sessions("alice")
    before = world.record("alice")
    for code in (phone.code(), codes[0], phone.wrong_code(), altered(codes[0])):
        with pytest.raises(SignInRequired) as refusal:
            world.face.verify_ticket(ticket, code)
        assert "ended" == refusal.value.reason
    assert before == world.record("alice")


def test_a_code_serves_once_whatever_the_ticket(world: World) -> None:
    """A ticket may be shown again, and takes another code each time."""
    phone, _ = world.enrol("alice")
    tickets = [_owing(world), _owing(world)]
    world.face.verify_ticket(tickets[0], phone.code())
    for ticket in tickets:
        with pytest.raises(CodeReused):
            world.face.verify_ticket(ticket, phone.code())
    world.clock.advance(30)
    world.face.verify_ticket(tickets[0], phone.code())


def test_a_ticket_is_for_its_own_user(world: World) -> None:
    """Another user's code is a wrong one there."""
    world.enrol("alice")
    phone, _ = world.enrol("bob")
    with pytest.raises(InvalidCode):
        world.face.verify_ticket(_owing(world), phone.code())


@pytest.mark.parametrize("junk", ["", "junk", "ticket1.AAAAAAAA.AAAA", "é", "x" * 5000])
def test_junk_is_no_ticket(world: World, junk: str) -> None:
    """It is refused before the store is asked, and so is a missing one."""
    world.enrol("alice")
    loads = world.store.loads
    for ticket in (junk, None):
        with pytest.raises(SignInRequired):
            world.face.verify_ticket(ticket, "123456")
    assert loads == world.store.loads


def test_a_missing_code_is_a_malformed_one(world: World) -> None:
    """A form without the field is not a server's error."""
    world.enrol("alice")
    for code in (None, "", " "):
        with pytest.raises(MalformedCode):
            world.face.verify_ticket(_owing(world), code)


def test_a_known_browser_is_not_kept_waiting_by_strangers(world: World) -> None:
    """P13: with the token of a browser that was used before, someone who has only the password keeps nobody out."""
    phone, _ = world.enrol("alice")
    browser = world.face.browser_token("alice", generation=world.login(phone, "alice").generation)
    for _ in range(5):
        with pytest.raises(InvalidCode):
            world.face.verify_ticket(_owing(world), phone.wrong_code())
    with pytest.raises(Throttled):
        world.face.verify_ticket(_owing(world), phone.code())
    assert "alice" == world.face.verify_ticket(_owing(world), phone.code(), browser=browser).user_id


def test_a_token_for_the_password_alone_ends_when_a_second_factor_is_there(world: World) -> None:
    """The generation that was read before the ticket is the account's until then, also after turning it off."""
    phone, _ = world.enrol("alice")
    world.face.disable("alice", proof=ByCode(phone.code()))
    generation = world.face.status("alice").generation
    with pytest.raises(NotEnrolled):
        _owing(world)
    assert generation is not None
    assert generation == world.face.status("alice").generation
    world.enrol("alice")
    assert generation != world.face.status("alice").generation
