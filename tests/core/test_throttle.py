"""How long to wait, when to refuse strangers and when to block: tables, lanes, moved clocks, 30 days to the second."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofa import Throttle
from twofa._record.throttle import CLOCK_SKEW, MONTH, Failures, Lane

NOW = 1_800_000_000
HOUR, DAY = 3600, 86_400
DEFAULT = Throttle()
LANES: list[Any] = ["known", "strangers"]
each_lane = pytest.mark.parametrize("lane", LANES)


def failed(times: int, at: int = NOW, lane: Any = "known", throttle: Throttle = DEFAULT) -> Failures:
    """Return the counts of somebody who failed so many times at one instant."""
    failures = Failures()
    for _ in range(times):
        failures = failures.counted(lane, throttle, at)
    return failures


def until(failures: Failures, now: int = NOW, lane: Any = "known", throttle: Throttle = DEFAULT) -> int | None:
    """Return when the next TOTP code is looked at."""
    return failures.wait_until(lane, throttle, now, throttle.longest_wait)


def exhausted(failures: Failures, now: int = NOW, throttle: Throttle = DEFAULT) -> Failures:
    """Return the counts after all wrong codes of strangers that are looked at within two days from now."""
    end = now + 2 * DAY
    while (now := until(failures, now, "strangers", throttle) or now) < end:
        failures = failures.counted("strangers", throttle, now)
    return failures


def attempts(failures: Failures, now: int = NOW, throttle: Throttle = DEFAULT) -> int:
    """Return how many these are."""
    return exhausted(failures, now, throttle).consecutive - failures.consecutive


# --- waits ---------------------------------------------------------------------------------------------------------

WAITS = [(0, 0), (1, 0), (4, 0), (5, 30), (6, 60), (7, 120), (8, 240), (9, 480), (10, 960), (11, 1920), (12, HOUR)]


@each_lane
@pytest.mark.parametrize(("wrong_codes", "wait"), [*WAITS, (79, HOUR)])
def test_waits_double_from_half_a_minute_to_an_hour(wrong_codes: int, wait: int, lane: Any) -> None:
    """Four wrong codes are free, the fifth starts 30 seconds, each further one twice as long, an hour at most."""
    failures = failed(wrong_codes, lane=lane)

    assert (NOW + wait if wait else None) == until(failures, lane=lane)
    assert not failures.blocked(DEFAULT)


def test_waits_for_a_strangers_recovery_codes_go_on_to_a_day() -> None:
    """They protect nothing that 75 random bits do not, and make it take months to use up a set's attempts."""
    waits = [
        (failed(times, lane="strangers").wait_until("strangers", DEFAULT, NOW, DEFAULT.longest_recovery_wait) or NOW)
        - NOW
        for times in (5, 12, 16, 17, 40)
    ]

    assert [30, 3840, 61_440, DAY, DAY] == waits


@pytest.mark.parametrize(("wrong_codes", "wait"), [(1, 60), (2, 120), (3, 240), (4, 300), (50, 300)])
def test_waits_follow_the_settings(wrong_codes: int, wait: int) -> None:
    """With no free failure, a first wait of a minute and a longest of five, the first wrong code waits already."""
    throttle = Throttle(free_failures=0, first_wait=60, longest_wait=300)

    assert NOW + wait == until(failed(wrong_codes), throttle=throttle)


def test_a_wait_ends_on_its_last_second() -> None:
    """One second before its end an attempt still waits; at its end it is looked at."""
    failures = failed(5)

    assert NOW + 30 == until(failures, NOW + 29)
    assert until(failures, NOW + 30) is None


@each_lane
def test_a_stranger_makes_no_known_browser_wait_and_the_other_way_round(lane: Any) -> None:
    """P13: each lane waits for its own wrong codes."""
    [other] = [each for each in LANES if each != lane]

    assert until(failed(12, lane=lane), lane=other) is None


# --- success -------------------------------------------------------------------------------------------------------


def test_a_success_clears_its_own_lanes_wait_and_the_count_in_a_row() -> None:
    """The other lane's wait goes on, and the wrong codes of the last 30 days still count."""
    failures = failed(7)
    for _ in range(6):
        failures = failures.counted("strangers", DEFAULT, NOW)
    cleared = failures.succeeded("known")

    assert (13, 0) == (failures.consecutive, cleared.consecutive)
    assert until(cleared) is None
    assert NOW + 60 == until(cleared, lane="strangers")
    assert 13 == cleared.within(NOW)


def test_a_success_takes_its_own_attempt_back() -> None:
    """The attempt that turned out right does not stay among the wrong ones, whatever else was counted meanwhile."""
    failures = failed(2, NOW - 10).counted("known", DEFAULT, NOW)
    own = failures.known.recent[-1]
    meanwhile = failures.counted("known", DEFAULT, NOW).counted("strangers", DEFAULT, NOW)

    assert 4 == meanwhile.succeeded("known", own).within(NOW)
    assert own not in meanwhile.succeeded("known", own).known.recent


@pytest.mark.parametrize("behind", [2, CLOCK_SKEW, HOUR])
def test_a_machine_that_is_behind_takes_no_attempts_name(behind: int) -> None:
    """An attempt is taken back by its own name, even if a machine with another clock has counted since."""
    failures = failed(1)
    own = failures.known.recent[-1]
    meanwhile = failures.counted("known", DEFAULT, NOW - behind)

    assert 2 == len(set(meanwhile.known.recent))
    assert 1 == meanwhile.succeeded("known", own).within(NOW)


@each_lane
def test_an_attempt_can_be_taken_back(lane: Any) -> None:
    """An attempt that was counted beforehand and was none leaves all counts as they were, never below nothing."""
    before = failed(3, NOW - 10, lane)
    counted = before.counted(lane, DEFAULT, NOW)
    after = counted.taken_back(lane, counted.lane(lane).recent[-1])

    assert replace(before.lane(lane), last=NOW) == after.lane(lane)
    assert before.consecutive == after.consecutive
    assert Failures() == Failures().taken_back(lane, NOW)


# --- refusal -------------------------------------------------------------------------------------------------------


def test_strangers_are_refused_from_eighty_in_a_row_until_a_month_later() -> None:
    """P13: they wait 30 days for each further attempt, and the known browser none of it."""
    failures = failed(79, lane="strangers")
    assert NOW + HOUR == until(failures, lane="strangers")
    failures = failures.counted("strangers", DEFAULT, NOW + DAY)

    assert NOW + DAY + MONTH == until(failures, NOW + DAY, "strangers")
    assert until(failures, NOW + DAY) is None
    assert until(failures, NOW + DAY + MONTH, "strangers") is None


def test_strangers_are_refused_from_eighty_in_a_month_although_success_lay_between() -> None:
    """The owner's logins give a guesser no fresh attempts."""
    failures = Failures()
    for day in range(20):
        for _ in range(4):
            failures = failures.counted("strangers", DEFAULT, NOW + day * DAY)
        failures = failures.succeeded("known").succeeded("strangers")

    assert NOW + MONTH == until(failures, NOW + 20 * DAY, "strangers")
    assert until(failures, NOW + MONTH, "strangers") is None


def test_a_known_browser_is_refused_from_a_hundred_in_a_month() -> None:
    """Success may lie between, as with strangers."""
    failures = failed(99).succeeded("known")
    assert until(failures) is None
    failures = failures.counted("known", DEFAULT, NOW + DAY).succeeded("known")

    assert NOW + MONTH == until(failures, NOW + DAY)


def test_a_change_of_the_password_ends_waits_and_grants_ten_attempts() -> None:
    """Whoever owns the account gets in at once, and the counts behind the block stay."""
    failures = failed(80, lane="strangers")
    changed = failures.password_changed(NOW)

    assert until(changed, lane="strangers") is None
    assert (80, 80) == (changed.consecutive, changed.within(NOW))
    assert until(failed(12).password_changed(NOW)) is None
    for _ in range(10):
        changed = changed.counted("strangers", DEFAULT, NOW)
    assert NOW + MONTH == until(changed, lane="strangers")


def test_the_mailbox_grants_twenty_attempts_a_month_at_most() -> None:
    """Someone who resets the password every day gains no more than two changes give."""
    failures = failed(80, lane="strangers").succeeded("known")
    guesses = 0
    for day in range(29):
        changed = failures.password_changed(NOW + day * DAY)
        guesses += attempts(changed, NOW + day * DAY)
        failures = exhausted(changed, NOW + day * DAY).succeeded("known")

    assert 20 == guesses


@pytest.mark.parametrize("limit", [4, 10, 100])
@pytest.mark.parametrize("logins", [False, True])
def test_the_owner_gets_in_by_a_new_password_however_long_a_stranger_has_tried(limit: int, logins: bool) -> None:
    """P13: at any time in four years with the password alone, a change of it leaves the owner all that it grants."""
    throttle = Throttle(block_after=limit)
    failures = Failures()
    for now in range(NOW, NOW + 4 * 365 * DAY, 2 * DAY):
        while until(failures, now, "strangers", throttle) is None:
            failures = failures.counted("strangers", throttle, now)
        if logins:
            failures = failures.succeeded("known")

        assert attempts(failures.password_changed(now), now, throttle=throttle) >= max(1, limit // 10)


def test_a_grant_that_began_before_the_attack_does_not_count_what_came_before() -> None:
    """Ninety wrong codes under an earlier change: a change a month later grants ten more attempts all the same."""
    failures = Failures().password_changed(NOW)
    for _ in range(80):
        failures = failures.counted("strangers", DEFAULT, NOW + 28 * DAY)
    failures = failures.password_changed(NOW + 28 * DAY)
    for _ in range(10):
        failures = failures.counted("strangers", DEFAULT, NOW + 28 * DAY)
    failures = failures.succeeded("known")
    now = NOW + 31 * DAY

    assert 0 == attempts(failures, now)
    assert 10 == attempts(failures.password_changed(now), now)


def test_a_change_of_the_password_under_which_nobody_failed_uses_up_no_grant() -> None:
    """Ten changes in a quiet week leave one that grants attempts when somebody begins to guess."""
    failures = Failures()
    for minute in range(10):
        failures = failures.password_changed(NOW + 60 * minute)
    for _ in range(80):
        failures = failures.counted("strangers", DEFAULT, NOW + DAY)

    assert 0 == attempts(failures, NOW + DAY)
    assert 10 == attempts(failures.password_changed(NOW + DAY), NOW + DAY)


def test_a_third_change_of_the_password_in_thirty_days_ends_no_wait() -> None:
    """Who controls the mailbox cannot hurry to the end of the attempts by changing the password after every fourth."""
    failures = Failures()
    for _ in range(2):
        failures = exhausted(failures.password_changed(NOW))
    third = failures.counted("strangers", DEFAULT, NOW + 3 * DAY)

    assert third is third.password_changed(NOW + 3 * DAY)


def test_a_success_takes_its_own_attempt_back_from_a_grant() -> None:
    """The owner's right recovery codes, counted beforehand, use up none of the attempts that were granted."""
    failures = failed(80, lane="strangers").password_changed(NOW)
    for _ in range(20):
        failures = failures.counted("strangers", DEFAULT, NOW)
        failures = failures.succeeded("strangers", failures.strangers.recent[-1])

    assert (80, 10) == (failures.within(NOW), attempts(failures))


@pytest.mark.parametrize("limit", range(4, 101))
def test_a_change_of_the_password_lets_the_owner_try_again_twice_a_month(limit: int) -> None:
    """P13: however few wrong codes block, each of two changes of the password gives a stranger one more attempt."""
    throttle = Throttle(block_after=limit)
    failures = Failures()
    while until(failures, lane="strangers", throttle=throttle) != NOW + MONTH:
        failures = replace(failures, strangers=replace(failures.strangers, in_a_row=0))
        failures = failures.counted("strangers", throttle, NOW)

    for _ in range(2):
        failures = failures.password_changed(NOW)
        assert until(failures, lane="strangers", throttle=throttle) is None
        while until(failures, lane="strangers", throttle=throttle) != NOW + MONTH:
            failures = replace(failures, strangers=replace(failures.strangers, in_a_row=0))
            failures = failures.counted("strangers", throttle, NOW)

    assert not failures.blocked(throttle)


# --- block ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 10, 100])
def test_too_many_in_a_row_block(limit: int) -> None:
    """NIST SP 800-63B-4 §3.2.2: the configured number of consecutive wrong codes blocks, one less does not."""
    throttle = Throttle(block_after=limit)

    assert not failed(limit - 1).blocked(throttle)
    assert failed(limit).blocked(throttle)


def test_both_lanes_count_towards_the_block() -> None:
    """The hundredth blocks, whoever made the ones before."""
    failures = failed(60, lane="strangers")
    for _ in range(40):
        failures = failures.counted("known", DEFAULT, NOW)

    assert failures.blocked(DEFAULT)


@pytest.mark.parametrize("limit", [2, 3, 10, 100])
@pytest.mark.parametrize("changes", [0, 1, 5])
def test_strangers_never_cause_the_block(limit: int, changes: int) -> None:
    """P13: however long they try, and whatever is granted, the last of the consecutive wrong codes is not theirs."""
    throttle = Throttle(block_after=limit)
    failures, now = Failures(), NOW
    for _ in range(changes):
        failures = failures.password_changed(now)
    for _ in range(3 * limit):
        wait = until(failures, now, "strangers", throttle)
        if wait is not None:
            now = wait
        if until(failures, now, "strangers", throttle) is None:
            failures = failures.counted("strangers", throttle, now)
        if not now % 7:
            failures = failures.password_changed(now)

    assert not failures.blocked(throttle)
    assert limit - 1 == failures.consecutive


def test_a_stricter_policy_starts_the_counts_anew() -> None:
    """P12: nobody is blocked, refused or made to wait for what happened under the looser one."""
    stricter = Throttle(block_after=10)
    failures = failed(50)

    assert Failures(block_after=10) == failures.under(stricter)
    assert 1 == failures.under(stricter).counted("known", stricter, NOW).consecutive
    assert failures is failures.under(DEFAULT)


def test_a_looser_policy_keeps_the_counts() -> None:
    """What was counted under the stricter one goes on to count."""
    failures = failed(9, throttle=Throttle(block_after=10))

    assert failures is failures.under(DEFAULT)


# --- the owner is warned -------------------------------------------------------------------------------------------


def test_an_attack_is_suspected_once_in_thirty_days() -> None:
    """Twenty wrong codes of strangers are worth a mail, and the next ones none for a month."""
    failures = failed(19, lane="strangers")
    assert not failures.is_suspicious(DEFAULT, NOW)
    failures = failures.counted("strangers", DEFAULT, NOW)
    assert failures.is_suspicious(DEFAULT, NOW)

    warned = failures.suspected(NOW)
    assert not warned.is_suspicious(DEFAULT, NOW + MONTH - 1)
    assert not replace(warned, suspected_at=NOW + CLOCK_SKEW).is_suspicious(DEFAULT, NOW)
    assert replace(warned, suspected_at=NOW + CLOCK_SKEW + 1).is_suspicious(DEFAULT, NOW)
    assert replace(warned, suspected_at=NOW - MONTH).is_suspicious(DEFAULT, NOW)


def test_the_owners_own_mistakes_are_no_attack() -> None:
    """Wrong codes in a known browser warn nobody."""
    assert not failed(99).is_suspicious(DEFAULT, NOW)


# --- 30 days -------------------------------------------------------------------------------------------------------


def test_the_month_is_exact_to_the_second() -> None:
    """A wrong code counts for 30 days less a second, and no longer counts when 30 days have passed."""
    first = failed(1)

    assert (NOW, NOW + MONTH - 1) == first.counted("known", DEFAULT, NOW + MONTH - 1).known.recent
    assert (NOW + MONTH,) == first.counted("known", DEFAULT, NOW + MONTH).known.recent
    assert 30 * DAY == MONTH


@each_lane
def test_no_list_grows_beyond_the_block(lane: Any) -> None:
    """A record stays small, whatever is counted: no list holds more times than the block allows failures."""
    assert 100 == len(failed(250, lane=lane).lane(lane).recent)


# --- a clock that moves --------------------------------------------------------------------------------------------


def test_a_clock_that_moved_back_never_stretches_a_wait() -> None:
    """However far back the clock goes, a wait lasts its own length from now at most."""
    for back in (1, HOUR, 10 * 365 * DAY):
        assert NOW - back + 30 == until(failed(5), NOW - back)


@each_lane
@pytest.mark.parametrize("back", [1, HOUR, DAY - 100])
def test_a_clock_that_moved_back_stretches_no_refusal(back: int, lane: Any) -> None:
    """A lane that is full is looked at again after 30 days from now, even if it was filled in what is now the future."""
    full = replace(failed(100, lane=lane), consecutive=0)

    assert NOW - back + MONTH == until(full, NOW - back, lane)


def test_an_anchored_wait_passes_on_the_moved_clock() -> None:
    """Once anchored to the earlier time the wait runs off on it, and anchoring changes nothing else."""
    moved = NOW - HOUR
    anchored = failed(5).anchored("known", moved)

    assert replace(failed(5).known, last=moved) == anchored.known
    assert moved + 30 == until(anchored, moved + 29)
    assert until(anchored, moved + 30) is None
    assert anchored == anchored.anchored("known", moved) == anchored.anchored("known", NOW)


@pytest.mark.parametrize(("back", "anchors"), [(CLOCK_SKEW, False), (CLOCK_SKEW + 1, True)])
def test_a_clock_that_is_a_little_behind_anchors_nothing(back: int, anchors: bool) -> None:
    """Of two machines, the one whose clock is up to a minute behind does not end the waits early."""
    assert anchors is (failed(5).anchored("known", NOW - back) != failed(5))


def test_a_clock_that_moved_forward_only_ends_waits() -> None:
    """A day later no wait is left, and the run goes on."""
    assert until(failed(50), NOW + DAY) is None
    assert 51 == failed(50).counted("known", DEFAULT, NOW + DAY).consecutive


def test_wrong_codes_of_a_far_future_age_from_now() -> None:
    """Counted on a clock that was wrong by more than a day, they are brought to the present and stay apart."""
    counted = failed(3, NOW + 2 * DAY).counted("known", DEFAULT, NOW).known.recent

    assert 4 == len(set(counted))
    assert counted[-1] == NOW + 1
    assert sorted(counted) == list(counted)


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
    lane=st.sampled_from(LANES),
    wrong_codes=st.integers(0, 100),
    now=st.integers(0, 2**40),
    last=st.integers(0, 2**40),
)
def test_no_wait_is_ever_out_of_bounds(throttle: Throttle, lane: Any, wrong_codes: int, now: int, last: int) -> None:
    """Whatever settings, count and clock: a wait lies in the future, and never further off than 30 days."""
    failures = replace(Failures(consecutive=wrong_codes), **{lane: Lane(in_a_row=wrong_codes, last=last)})
    wait = until(failures, now, lane, throttle)

    assert wait is None or now < wait <= now + MONTH
