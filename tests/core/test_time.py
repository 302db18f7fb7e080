"""Time: no local time, no end in 2038 or 2106, clocks that move, and clocks that fail."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor import totp as other
from support import ACCOUNT, USER, CountingStore, World

from twofa import TOTP, ByCode, ByRecoveryCode, ByVerification, Vouched
from twofa.errors import CodeReused, InvalidCode, ProofRequired, SetupExpired, Throttled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twofa import Setup

CAROL = Vouched(by="support:carol", reason="identity checked, ticket 4711")
HOUR, DAY = 3600, 86_400
LAST_SECOND = 253_402_300_799 - DAY
"""Of what a clock may say: a day before the end of the year 9999, the last that a `datetime` shows."""


def _device(setup: Setup) -> other.TOTP:
    """An app that knows no local time: pyotp's has none of two hours when a summer ends."""
    secret = TOTP(setup.manual_key).secret
    return other.TOTP(secret, 6, SHA1(), 30)  # what every app reads


def _code(device: other.TOTP, at: float) -> str:
    return device.generate(int(at)).decode()


def _enrol(world: World) -> tuple[other.TOTP, tuple[str, ...]]:
    setup = world.begin()
    device = _device(setup)
    codes = world.face.confirm_setup(USER, _code(device, world.clock.now), handle=setup.handle)
    world.clock.advance(30)
    return device, tuple(codes)


@pytest.fixture
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Live in another time zone."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


# --- no local time -------------------------------------------------------------------------------------------------

CHANGES = [
    # time zone, and when the clocks on its walls are moved next after that day
    ("Europe/Berlin", datetime(2027, 3, 28, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2027, 10, 31, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2027, 3, 14, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2027, 11, 7, 6, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2027, 4, 3, 15, tzinfo=UTC)),  # by half an hour
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),  # by a whole day
    ("Asia/Kathmandu", datetime(2027, 1, 1, tzinfo=UTC)),  # never, and is 5:45 ahead
]


@pytest.mark.parametrize(("zone", "change"), CHANGES, indirect=["zone"], ids=str)
def test_codes_are_right_while_the_wall_clocks_change(zone: str, change: datetime, world: World) -> None:
    """Every quarter of an hour around the change the app's code signs in, and its last one does not."""
    if zone != "Asia/Kathmandu":
        before, after = (time.localtime((change + timedelta(seconds=away)).timestamp()) for away in (-1, 0))
        assert before.tm_gmtoff != after.tm_gmtoff, "this machine has no such time zone"
    world.clock.now = int(change.timestamp()) - 2 * HOUR
    device, _ = _enrol(world)

    for _ in range(16):
        world.clock.advance(15 * 60)
        code = _code(device, world.clock.now)
        assert 0 == world.face.verify(USER, code).step_offset
        with pytest.raises(CodeReused):
            world.face.verify(USER, code)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"], indirect=True)
def test_times_at_the_face_are_utc_in_any_zone(zone: str, world: World) -> None:
    """What the host sees is aware UTC, whatever the machine's time zone."""
    world.clock.now = int(datetime(2027, 7, 1, 12, tzinfo=UTC).timestamp())
    setup = world.begin()

    assert datetime(2027, 7, 1, 12, 10, tzinfo=UTC) == setup.expires_at
    assert timedelta(0) == setup.expires_at.utcoffset()
    assert datetime(2027, 7, 1, 12, tzinfo=UTC) == world.events[-1].at


# --- far away ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "boundary", [2**31, 2**32, int(datetime(9000, 1, 1, tzinfo=UTC).timestamp())], ids=["2038", "2106", "9000"]
)
def test_nothing_ends(boundary: int, world: World) -> None:
    """Enrolled before a boundary of 32-bit clocks, a user signs in on both sides of it; waits cross it."""
    world.clock.now = boundary - 95
    device, codes = _enrol(world)

    for now in (boundary - 31, boundary - 1, boundary + 30, boundary + 59 + 1):
        world.clock.now = now
        verification = world.face.verify(USER, _code(device, now))
        assert datetime.fromtimestamp(now, UTC) == verification.at
    for _ in range(5):
        with pytest.raises(InvalidCode):
            world.face.redeem_recovery_code(USER, "Z" * 24)
    assert boundary + 60 + 30 == world.face.status(USER).recovery_retry_at.timestamp()  # type: ignore[union-attr]  # a wait runs
    world.clock.advance(30)
    assert 9 == world.face.redeem_recovery_code(USER, codes[0]).recovery_codes_remaining


def test_the_last_second_is_lived_through(world: World) -> None:
    """Up to the end of the year 9999 everything works, longest waits included; one second later all is refused."""
    world.clock.now = LAST_SECOND - 30
    device, codes = _enrol(world)
    assert LAST_SECOND == world.clock.now

    world.face.verify(USER, _code(device, world.clock.now))
    world.begin(proof=ByRecoveryCode(codes[0]))
    for _ in range(5):
        with pytest.raises(InvalidCode):
            world.face.redeem_recovery_code(USER, "Z" * 24)
    with pytest.raises(Throttled) as wait:
        world.face.redeem_recovery_code(USER, codes[1])
    assert LAST_SECOND + 30 == wait.value.retry_at.timestamp()

    world.clock.advance(1)
    with pytest.raises(ValueError, match="clock"):
        world.face.status(USER)


@pytest.mark.parametrize("at", [0, 29, 30, 2**31, 2**32, 2**40, 2**50])
def test_the_arithmetic_has_no_end(at: int) -> None:
    """Alone, the calculator goes on far beyond any calendar, and agrees with another one."""
    ours = TOTP.generate()

    assert other.TOTP(ours.secret, 6, SHA1(), 30).generate(at).decode() == ours.code(at)  # as above
    assert at // 30 == ours.match(ours.code(at), at)


# --- a clock that moves --------------------------------------------------------------------------------------------


def _start_a_wait(world: World, method: str, failures: int) -> Callable[[], object]:
    """Enter wrong codes, patiently, and return a right attempt."""
    device, codes = _enrol(world)
    check = world.face.verify if method == "totp" else world.face.redeem_recovery_code
    for number in range(failures):
        with pytest.raises(InvalidCode):
            check(USER, _wrong(device, world.clock.now) if method == "totp" else "Z" * 24)
        until = _waits_until(world, method)
        if until and number < failures - 1:
            world.clock.now = until
    if method == "totp":
        return lambda: world.face.verify(USER, _code(device, world.clock.now))
    return lambda: world.face.redeem_recovery_code(USER, codes[0])


def _wrong(device: other.TOTP, now: int) -> str:
    shown = {_code(device, now + steps * 30) for steps in range(-2, 3)}
    return next(code for code in ("111111", "222222", "333333", "444444", "555555", "666666") if code not in shown)


def _waits_until(world: World, method: str) -> int | None:
    status = world.face.status(USER)
    until = status.retry_at if method == "totp" else status.recovery_retry_at
    return None if until is None else int(until.timestamp())


@pytest.mark.parametrize("method", ["totp", "recovery_code"])
@pytest.mark.parametrize("behind", [1, 60])
def test_a_machine_that_is_a_little_behind_ends_no_wait(behind: int, method: str, world: World) -> None:
    """Of two machines whose clocks differ by seconds, neither shortens a wait for the other, and neither writes."""
    attempt = _start_a_wait(world, method, 5)
    store = world.store
    assert isinstance(store, CountingStore)
    began, writes = world.clock.now, store.writes

    world.clock.now = began - behind
    with pytest.raises(Throttled) as wait:
        attempt()
    assert began - behind + 30 == wait.value.retry_at.timestamp()
    world.clock.now = began + 29
    with pytest.raises(Throttled) as wait:
        attempt()
    assert began + 30 == wait.value.retry_at.timestamp()
    assert writes == store.writes


def test_nothing_outlives_its_ten_minutes_by_a_clock_that_moved_back(world: World) -> None:
    """A set-up and a verification that were made in the future, as it then seems, serve no more."""
    phone, _ = world.enrol()
    token = world.login(phone).token
    setup = world.begin(proof=ByVerification(token))
    token = world.login(phone).token
    made = world.clock.now - 30

    world.clock.now = made - 60
    assert world.face.status(USER).setup_expires_at is not None
    world.clock.now = made - 61
    assert world.face.status(USER).setup_expires_at is None
    with pytest.raises(SetupExpired):
        world.face.confirm_setup(USER, "123456", handle=setup.handle)
    with pytest.raises(ProofRequired):
        world.begin(proof=ByVerification(token))


@pytest.mark.parametrize("method", ["totp", "recovery_code"])
@pytest.mark.parametrize(("failures", "length"), [(5, 30), (7, 120), (12, HOUR)])
@pytest.mark.parametrize("back", [61, HOUR, DAY])
def test_a_clock_moved_back_stretches_no_wait(back: int, failures: int, length: int, method: str, world: World) -> None:
    """A wait is at most its own length from now: written anew at the first attempt, once, and then it passes."""
    if method == "recovery_code" and length == HOUR:
        length = 3840  # a stranger's waits for recovery codes go on doubling, up to a day
    attempt = _start_a_wait(world, method, failures)
    store = world.store
    assert isinstance(store, CountingStore)
    world.clock.advance(-back)
    until, writes = world.clock.now + length, store.writes

    assert until == _waits_until(world, method)
    for _ in range(3):
        with pytest.raises(Throttled) as wait:
            attempt()
        assert until == wait.value.retry_at.timestamp()
    assert writes + 1 == store.writes  # anchored once

    world.clock.now = until - 1
    with pytest.raises(Throttled):
        attempt()
    assert writes + 1 == store.writes
    assert until == _waits_until(world, method)
    world.clock.now = until
    assert _waits_until(world, method) is None
    if method == "recovery_code":
        attempt()


def test_the_month_survives_a_clock_moved_back(world: World) -> None:
    """Wrong codes that were counted in what is now the future still count towards the block, and age from now."""
    device, codes = _enrol(world)
    for _ in range(4):
        with pytest.raises(InvalidCode):
            world.face.verify(USER, _wrong(device, world.clock.now))
    world.clock.advance(-DAY)

    with pytest.raises(InvalidCode) as fifth:
        world.face.verify(USER, _wrong(device, world.clock.now))

    assert world.clock.now + 30 == fifth.value.retry_at.timestamp()  # type: ignore[union-attr]  # it started a wait
    assert 9 == world.face.redeem_recovery_code(USER, codes[0]).recovery_codes_remaining


@pytest.mark.parametrize("method", ["totp", "recovery_code"])
def test_a_clock_moved_forward_only_ends_waits(method: str, world: World) -> None:
    """After a jump of a day the wait is over, and a right code serves."""
    attempt = _start_a_wait(world, method, 12)
    world.clock.advance(DAY)

    assert _waits_until(world, method) is None
    attempt()


def test_a_step_accepted_in_the_future_refuses_totp_until_time_catches_up(world: World) -> None:
    """A clock that was a day ahead leaves no old code usable: TOTP waits for the day to pass, recovery codes serve."""
    device, codes = _enrol(world)
    world.clock.advance(DAY)
    world.face.verify(USER, _code(device, world.clock.now))
    accepted = world.clock.now
    world.clock.advance(-DAY)

    with pytest.raises(InvalidCode):
        world.face.verify(USER, _code(device, world.clock.now))
    with pytest.raises(InvalidCode):
        world.face.disable(USER, proof=ByCode(_code(device, world.clock.now)))
    assert world.face.status(USER).required
    assert 9 == world.face.redeem_recovery_code(USER, codes[0]).recovery_codes_remaining

    world.clock.now = accepted
    with pytest.raises(CodeReused):
        world.face.verify(USER, _code(device, accepted))
    world.clock.now = accepted + 30
    assert 0 == world.face.verify(USER, _code(device, accepted + 30)).step_offset


def test_the_way_out_of_the_future_is_a_new_authenticator(world: World) -> None:
    """Whoever cannot wait enrols anew with a recovery code: the new authenticator knows nothing of the jump."""
    device, codes = _enrol(world)
    world.clock.advance(DAY)
    world.face.verify(USER, _code(device, world.clock.now))
    world.clock.advance(-DAY)

    token = world.face.redeem_recovery_code(USER, codes[0]).token
    setup = world.begin(proof=ByVerification(token))
    new = _device(setup)
    world.face.confirm_setup(USER, _code(new, world.clock.now), handle=setup.handle)
    world.clock.advance(30)

    assert 0 == world.face.verify(USER, _code(new, world.clock.now)).step_offset


def test_a_setup_is_dead_after_a_jump_forward(world: World) -> None:
    """A clock that moves forward by a day ends a set-up, and moving it back does not wake the erased secret."""
    setup = world.begin()
    code = _code(_device(setup), world.clock.now)
    world.clock.advance(DAY)
    with pytest.raises(SetupExpired):
        world.face.confirm_setup(USER, code, handle=setup.handle)
    world.clock.advance(-DAY)

    with pytest.raises(SetupExpired):
        world.face.confirm_setup(USER, code, handle=setup.handle)
    assert not world.face.status(USER).required


# --- a clock that fails --------------------------------------------------------------------------------------------


def _raise() -> float:
    raise OSError("no time server")


FAILING: dict[str, tuple[Callable[[], Any], type[Exception]]] = {
    "raises": (_raise, OSError),
    "not a number": (lambda: float("nan"), ValueError),
    "before 1970": (lambda: -1.0, ValueError),
    "infinity": (lambda: float("inf"), ValueError),
    "minus infinity": (lambda: float("-inf"), ValueError),
    "milliseconds": (lambda: 1_800_000_000_000, ValueError),
    "2^40": (lambda: 2**40, ValueError),
    "nothing": (lambda: None, TypeError),
    "text": (lambda: "1800000000", TypeError),
    "a date": (lambda: datetime(2027, 1, 1, tzinfo=UTC), TypeError),
}


@pytest.mark.parametrize("failure", FAILING)
def test_a_clock_that_fails_closes_everything(failure: str, world: World) -> None:
    """Without a time nobody gets in and nothing is changed: refused before anything is read."""
    clock, error = FAILING[failure]
    device, codes = _enrol(world)
    setup = world.begin(proof=CAROL)
    code = _code(device, world.clock.now)
    store, record, events = world.store, world.record(), len(world.events)
    assert isinstance(store, CountingStore)
    reads = store.loads
    face = world.new_face(clock=clock)
    calls: list[Callable[[], object]] = [
        lambda: face.resume_setup(USER, account_name=ACCOUNT, handle=setup.handle),
        lambda: face.confirm_setup(USER, code, handle=setup.handle),
        lambda: face.cancel_setup(USER),
        lambda: face.verify(USER, code),
        lambda: face.redeem_recovery_code(USER, codes[0]),
        lambda: face.reset_recovery_codes(USER, proof=ByCode(code)),
        lambda: face.reset_authenticator(USER, account_name=ACCOUNT, proof=CAROL),
        lambda: face.disable(USER, proof=CAROL),
        lambda: face.forget(USER, proof=CAROL),
        lambda: face.status(USER),
    ]
    for call in calls:
        with pytest.raises(error, match="clock" if error is ValueError else None):
            call()

    assert reads == store.loads
    assert events == len(world.events)
    assert record == world.record()


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.999])
def test_fractions_of_a_second_do_not_matter(fraction: float, world: World) -> None:
    """Inside, time is whole seconds, cut and never rounded up into the next step."""
    device, _ = _enrol(world)
    now = world.clock.now // 30 * 30 + 59
    face = world.new_face(clock=lambda: now + fraction)

    verification = face.verify(USER, _code(device, now))

    assert 0 == verification.step_offset
    assert datetime.fromtimestamp(now, UTC) == verification.at
