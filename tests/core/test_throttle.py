"""How long to wait and when to block: a table, moved clocks, the 30 days to the second, and years of attack."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofa import Throttle
from twofa._record.throttle import LONG_RUN, Failures

NOW = 1_800_000_000
DAY, YEAR = 86_400, 365 * 86_400
DEFAULT = Throttle()
CHANCE = 3 / 10**6
"""Of one guess: six digits, and the three time steps of the default window."""


def _failed(times: int, at: int = NOW) -> Failures:
    failures = Failures()
    for _ in range(times):
        failures = failures.counted(at)
    return failures


# --- waits ---------------------------------------------------------------------------------------------------------

WAITS = [
    (0, 0),
    (1, 0),
    (4, 0),
    (5, 30),
    (6, 60),
    (7, 120),
    (8, 240),
    (9, 480),
    (10, 960),
    (11, 1920),
    (12, 3600),
    (99, 3600),
]


@pytest.mark.parametrize(("wrong_codes", "wait"), WAITS)
def test_waits_double_from_half_a_minute_to_an_hour(wrong_codes: int, wait: int) -> None:
    """Four wrong codes are free, the fifth starts 30 seconds, each further one twice as long, an hour at most."""
    failures = _failed(wrong_codes)

    assert (NOW + wait if wait else None) == failures.wait_until(DEFAULT, NOW)
    assert not failures.blocked(DEFAULT)


@pytest.mark.parametrize(("wrong_codes", "wait"), [(1, 60), (2, 120), (3, 240), (4, 300), (50, 300)])
def test_waits_follow_the_settings(wrong_codes: int, wait: int) -> None:
    """With no free failure, a first wait of a minute and a longest of five, the first wrong code waits already."""
    throttle = Throttle(free_failures=0, first_wait=60, longest_wait=300)

    assert NOW + wait == _failed(wrong_codes).wait_until(throttle, NOW)


def test_a_wait_ends_on_its_last_second() -> None:
    """One second before its end an attempt still waits; at its end it is looked at."""
    failures = _failed(5)

    assert NOW + 30 == failures.wait_until(DEFAULT, NOW + 29)
    assert failures.wait_until(DEFAULT, NOW + 30) is None


def test_a_success_clears_the_run_and_keeps_the_month() -> None:
    """After a success there is no wait, but the wrong codes of the last 30 days still count."""
    cleared = _failed(7).cleared()

    assert Failures(0, 0, (NOW,) * 7) == cleared
    assert cleared.wait_until(DEFAULT, NOW) is None


def test_a_success_that_was_counted_beforehand_takes_its_own_count_back() -> None:
    """The attempt that turned out right does not stay among the wrong ones; only one of its second goes."""
    failures = _failed(2, NOW - 10).counted(NOW).counted(NOW)

    assert Failures(0, 0, (NOW - 10, NOW - 10, NOW)) == failures.cleared(NOW)
    assert Failures(0, 0, failures.recent) == failures.cleared(NOW + 1)


def test_an_attempt_can_be_taken_back() -> None:
    """An attempt that was counted beforehand and was none leaves both counts as they were, never below nothing."""
    before = _failed(3, NOW - 10)
    after = before.counted(NOW).taken_back(NOW)

    assert (before.in_a_row, before.recent) == (after.in_a_row, after.recent)
    assert 0 == Failures().taken_back(NOW).in_a_row


# --- blocking ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 10, 100])
def test_too_many_in_a_row_block(limit: int) -> None:
    """NIST SP 800-63B-4 §3.2.2: the configured number of consecutive wrong codes blocks, one less does not."""
    throttle = Throttle(block_after=limit)

    assert not _failed(limit - 1).blocked(throttle)
    assert _failed(limit).blocked(throttle)


def test_too_many_in_a_month_block_although_success_lay_between() -> None:
    """The second count goes on through success: the hundredth wrong code within 30 days blocks."""
    failures = Failures()
    for day in range(25):
        assert not failures.blocked(DEFAULT)
        for _ in range(4):
            failures = failures.counted(NOW + day * DAY)
        failures = failures if day == 24 else failures.cleared()

    assert 4 == failures.in_a_row
    assert failures.blocked(DEFAULT)


def test_the_month_is_exact_to_the_second() -> None:
    """A wrong code counts for 30 days less a second, and no longer counts when 30 days have passed."""
    first = Failures().counted(NOW)

    assert (NOW, NOW + LONG_RUN - 1) == first.counted(NOW + LONG_RUN - 1).recent
    assert (NOW + LONG_RUN,) == first.counted(NOW + LONG_RUN).recent
    assert 30 * DAY == LONG_RUN


@pytest.mark.parametrize(("passed", "blocked"), [(LONG_RUN - 1, True), (LONG_RUN, False)])
def test_the_hundredth_blocks_only_within_the_month(passed: int, blocked: bool) -> None:
    """99 wrong codes and one more: blocked a second before the first of them is 30 days old, not at that second."""
    early = Failures().counted(NOW).cleared()
    for _ in range(98):
        early = early.counted(NOW + DAY)

    assert blocked is early.cleared().counted(NOW + passed).blocked(DEFAULT)


def test_a_run_in_a_row_has_no_month() -> None:
    """A hundred wrong codes without a success block however slowly they come."""
    failures = Failures()
    for month in range(100):
        failures = failures.counted(NOW + month * LONG_RUN)

    assert 1 == len(failures.recent)
    assert failures.blocked(DEFAULT)


# --- a clock that moves --------------------------------------------------------------------------------------------


def test_a_clock_that_moved_back_never_stretches_a_wait() -> None:
    """However far back the clock goes, a wait lasts its own length from now at most."""
    failures = _failed(5)

    for back in (1, 3600, 10 * YEAR):
        assert NOW - back + 30 == failures.wait_until(DEFAULT, NOW - back)


def test_an_anchored_wait_passes_on_the_moved_clock() -> None:
    """Once anchored to the earlier time the wait runs off on it, and anchoring changes nothing else."""
    moved = NOW - 3600
    anchored = _failed(5).anchored(moved)

    assert Failures(5, moved, (NOW,) * 5) == anchored
    assert moved + 30 == anchored.wait_until(DEFAULT, moved + 29)
    assert anchored.wait_until(DEFAULT, moved + 30) is None
    assert anchored == anchored.anchored(moved) == anchored.anchored(NOW)


def test_a_clock_that_moved_forward_only_ends_waits() -> None:
    """A day later no wait is left, and the run goes on."""
    assert _failed(50).wait_until(DEFAULT, NOW + DAY) is None
    assert 51 == _failed(50).counted(NOW + DAY).in_a_row


def test_wrong_codes_of_the_future_age_from_now() -> None:
    """Counted on a clock that ran ahead, they are brought to the present with the next wrong code."""
    assert (NOW, NOW, NOW) == _failed(2, NOW + YEAR).counted(NOW).recent


@given(
    throttle=st.builds(
        lambda free, first, longest, block: Throttle(
            free_failures=free, first_wait=first, longest_wait=max(first, longest), block_after=block
        ),
        free=st.integers(0, 4),
        first=st.integers(30, 3600),
        longest=st.integers(30, DAY),
        block=st.integers(1, 100),
    ),
    wrong_codes=st.integers(0, 100),
    now=st.integers(0, 2**40),
    last=st.integers(0, 2**40),
)
def test_no_wait_is_ever_out_of_bounds(throttle: Throttle, wrong_codes: int, now: int, last: int) -> None:
    """Whatever settings, count and clock: a wait lies in the future, and not further off than the longest one."""
    until = Failures(wrong_codes, last).wait_until(throttle, now)

    assert until is None or now < until <= now + throttle.longest_wait


# --- simulations ---------------------------------------------------------------------------------------------------


def _guesses_in_a_year(logins_a_day: int, *, patient: bool, days_blocked: int) -> tuple[int, int]:
    """Return how many guesses of someone with the password are looked at in a year, and how often they block.

    They guess at each instant at which one is looked at; who is `patient` lets pass what would block. The owner logs in
    at even intervals, at the first instant that no wait forbids, and binds a new app `days_blocked` after each block.
    """
    interval = DAY // logins_a_day if logins_a_day else 2 * YEAR
    failures, now, due, guesses, blocks = Failures(), 0, interval, 0, 0
    while now < YEAR:
        until, guessed = failures.wait_until(DEFAULT, now), failures.counted(now)
        if until is not None:
            now = until
        elif due <= now:
            failures, due = failures.cleared(), due + interval
        elif patient and guessed.blocked(DEFAULT):
            # Nothing changes before the owner's next login or, if the run may go on, the end of the oldest one's month.
            month_over = guessed.recent[0] + LONG_RUN
            now = due if guessed.in_a_row >= DEFAULT.block_after else min(due, month_over)
        else:
            failures, guesses = guessed, guesses + 1
            if failures.blocked(DEFAULT):
                failures, now, blocks = Failures(), now + days_blocked * DAY, blocks + 1
                due = max(due, now + interval)
    return guesses, blocks


@pytest.mark.parametrize("logins_a_day", range(11))
def test_a_year_of_patient_guessing_stays_below_one_in_250(logins_a_day: int) -> None:
    """Someone with the password who stays just below the block has less than 0.4 %, at 0 to 10 logins a day."""
    guesses, blocks = _guesses_in_a_year(logins_a_day, patient=True, days_blocked=0)

    assert 0 == blocks
    assert 99 <= guesses
    assert guesses * CHANCE < 0.004


@pytest.mark.parametrize("logins_a_day", range(11))
def test_a_year_of_impatient_guessing_stays_below_one_in_250(logins_a_day: int) -> None:
    """Someone who runs into the block each time the month is over, and meets a new app then, has less than 0.4 %."""
    guesses, blocks = _guesses_in_a_year(logins_a_day, patient=False, days_blocked=30)

    assert blocks >= 11
    assert guesses * CHANCE < 0.004


@pytest.mark.parametrize("logins_a_day", [0, 1, 10])
def test_each_block_costs_the_guesser_everything(logins_a_day: int) -> None:
    """However often the owner binds a new app, each binding answers a hundred guesses at most: a chance of 0.03 %."""
    guesses, blocks = _guesses_in_a_year(logins_a_day, patient=False, days_blocked=0)

    assert 100 * blocks <= guesses < 100 * (blocks + 1)
    assert 100 * CHANCE < 0.00031


@pytest.mark.parametrize("logins_a_day", [1, 3, 10])
@pytest.mark.parametrize("seed", range(5))
def test_an_innocent_is_never_blocked(logins_a_day: int, seed: int) -> None:
    """Whoever mistypes one code in ten is not blocked within a year, and never waits longer than a minute."""
    chance = random.Random(seed)
    failures, longest = Failures(), 0
    for login in range(365 * logins_a_day):
        now = NOW + login * (DAY // logins_a_day)
        while chance.random() < 0.1:
            now = failures.wait_until(DEFAULT, now) or now
            failures = failures.counted(now)
            longest = max(longest, (failures.wait_until(DEFAULT, now) or now) - now)
            assert not failures.blocked(DEFAULT)
        failures = failures.cleared()

    assert longest <= 60
