"""How long to wait after wrong codes, when to refuse strangers, and when to block (NIST SP 800-63B-4 §3.2.2).

Wrong codes are counted per factor: the authenticator has its counts, and the recovery set has its own. Each factor
counts in two lanes. An attempt that comes with a token of a browser that the owner has used before is in the lane
`known`; all others are in the lane `strangers`. Three rules follow:

- **Waits.** In each lane the first few wrong codes in a row start no wait; then waits double. A stranger's wrong codes
  never make a known browser wait.
- **Refusal.** A stranger who knows the password can send wrong codes for months. From 80 wrong codes in 30 days, or in
  a row, strangers are refused, and the factor stays as it is. So they can neither guess it (80 guesses in 30 days are
  odds of 0.3 % a year) nor destroy it. If none came for 30 days, one more attempt is looked at.
- **Grant.** A change of the password ends the waits, and the next ten attempts of strangers are looked at, however many
  there were before: the owner gets in from any browser. Only two changes in 30 days do so: otherwise someone who
  controls the owner's mailbox could guess without end. A change after which nobody has failed is none of the two.
- **Block.** 100 wrong codes in a row, in both lanes together, block the factor for good, as NIST asks. Strangers cannot
  bring about the last of them.

A success clears the waits of its lane and the count in a row. It does not clear the counts of the last 30 days:
otherwise an attacker would get a few fresh guesses after each of the owner's logins.

All counts belong to one authenticator or set and end with it. The numbers above are those of the default policy; with
another `Throttle.block_after` they are the same shares of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from twofa.policy import Throttle

CLOCK_SKEW = 60
"""Seconds that the clocks of two machines of one application may differ without consequence."""

MONTH = 30 * 86_400
"""Seconds over which the count of a lane runs."""

_CLOCK_WENT_BACK = 86_400
"""Seconds: a failure dated further in the future than this shows that the clock was wrong when it was counted."""

_MOST_GRANTS = 2
"""Changes of the password within 30 days that let strangers try again."""

_FEWEST_SUSPICIOUS = 3
"""Under a policy that blocks after few wrong codes, so many of strangers are worth a warning: one is a typo."""

LaneName: TypeAlias = Literal["known", "strangers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The wrong codes of one lane. Times are Unix seconds."""

    in_a_row: int = 0
    """Since the last success in this lane: the length of the next wait depends on it."""
    last: int = 0
    """When the latest of them was counted."""
    recent: tuple[int, ...] = ()
    """One time for each wrong code of the last 30 days, ascending. No two are equal, so a time names its attempt."""

    def counted(self, now: int, at_most: int) -> Lane:
        """Return the lane with one more failure now, and no more than `at_most` times on record."""
        kept = self.within(now)
        at = max(now, kept[-1] + 1) if kept else now
        return Lane(in_a_row=self.in_a_row + 1, last=now, recent=(*kept, at)[-at_most:])

    def within(self, now: int) -> tuple[int, ...]:
        """Return the times of the last 30 days. A time that only a wrong clock can have written is moved to now."""
        if self.recent and self.recent[-1] > now + _CLOCK_WENT_BACK:
            # The latest comes last; the ones before it keep their order and stay distinct.
            highest = len(self.recent) - 1
            moved = (min(at, now - highest + place) for place, at in enumerate(self.recent))
            return tuple(at for at in moved if at > now - MONTH)
        return tuple([at for at in self.recent if at > now - MONTH])

    def without(self, counted_at: int) -> Lane:
        """Return the lane without the one attempt that was counted at this time."""
        return replace(self, recent=tuple([at for at in self.recent if at != counted_at]))


NO_LANE = Lane()
"""Nobody has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """The wrong codes of one factor."""

    consecutive: int = 0
    """In both lanes together, since the last success in either: what blocks."""
    known: Lane = NO_LANE
    strangers: Lane = NO_LANE
    block_after: int = 0
    """The policy's limit when the last failure was counted; 0 before the first."""
    since_grant: int = 0
    """Wrong codes of strangers since the last change of the password that granted them attempts."""
    grants: tuple[int, ...] = ()
    """When the password was changed in the last 30 days, as far as that granted strangers attempts."""
    suspected_at: int = 0
    """When the owner was last warned of an attack; 0 if never."""

    # --- what a call writes ----------------------------------------------------------------------------------------

    def under(self, throttle: Throttle) -> Failures:
        """Return what counts under this policy: under a stricter one, nothing that happened before it (P12)."""
        if throttle.block_after < self.block_after:
            return Failures(block_after=throttle.block_after, suspected_at=self.suspected_at)
        return self

    def counted(self, lane: LaneName, throttle: Throttle, now: int) -> Failures:
        """Return these and one more failure, now."""
        counted = self.lane(lane).counted(now, throttle.block_after)
        return replace(
            self._with(lane, counted),
            consecutive=self.consecutive + 1,
            block_after=throttle.block_after,
            since_grant=self.since_grant + (lane == "strangers"),
            grants=self._grants_within(now),
        )

    def succeeded(self, lane: LaneName, counted_at: int | None = None) -> Failures:
        """Return what a success leaves; `counted_at` names its own attempt, if that was counted beforehand."""
        failures = self if counted_at is None else self.taken_back(lane, counted_at)
        if failures is NO_FAILURES:  # as at most sign-ins: there is nothing to clear
            return failures
        return replace(failures._with(lane, replace(failures.lane(lane), in_a_row=0, last=0)), consecutive=0)

    def taken_back(self, lane: LaneName, counted_at: int) -> Failures:
        """Return these less an attempt that was counted beforehand and turned out to be none."""
        before = self.lane(lane).without(counted_at)
        return replace(
            self._with(lane, replace(before, in_a_row=max(0, before.in_a_row - 1))),
            consecutive=max(0, self.consecutive - 1),
            since_grant=max(0, self.since_grant - (lane == "strangers")),
        )

    def anchored(self, lane: LaneName, now: int) -> Failures:
        """Return these with no wait that begins in the future: a clock that went back cannot stretch one.

        A clock that is only a little behind moves nothing. Of two machines it would be the one that ends waits early.
        """
        waiting = self.lane(lane)
        return self if waiting.last <= now + CLOCK_SKEW else self._with(lane, replace(waiting, last=now))

    def password_changed(self, now: int) -> Failures:
        """Return these without waits, and with a few more attempts for strangers; a third change grants neither.

        The count in a row stays.
        """
        grants = self._grants_within(now)
        if not self.since_grant:
            # Nobody has failed since the latest grant: it is renewed, and counts once.
            grants = grants[:-1]
        if len(grants) == _MOST_GRANTS:
            return self
        return replace(
            self,
            known=replace(self.known, in_a_row=0),
            strangers=replace(self.strangers, in_a_row=0),
            since_grant=0,
            grants=(*grants, now),
        )

    def suspected(self, now: int) -> Failures:
        """Return these with a note that the owner was warned now."""
        return replace(self, suspected_at=now)

    # --- what a call asks ------------------------------------------------------------------------------------------

    def lane(self, lane: LaneName) -> Lane:
        """Return the counts of one lane."""
        return self.known if lane == "known" else self.strangers

    def blocked(self, throttle: Throttle) -> bool:
        """Whether the factor has had all the consecutive failures that it may have."""
        return self.consecutive >= throttle.block_after

    def within(self, now: int) -> int:
        """Return how many wrong codes there were in the last 30 days, in both lanes."""
        return len(self.known.within(now)) + len(self.strangers.within(now))

    def wait_until(self, lane: LaneName, throttle: Throttle, now: int, longest_wait: int) -> int | None:
        """Return when the next attempt is looked at, in Unix seconds, or `None` if that is now.

        `longest_wait` is the longest wait between two attempts, in seconds. A lane that is refused waits longer.
        """
        if self is NO_FAILURES:
            return None
        waiting = self.lane(lane)
        doublings = waiting.in_a_row - throttle.free_failures - 1
        wait = 0 if doublings < 0 else min(throttle.first_wait << doublings, longest_wait)
        # Never further off than its own length, whatever the clock did.
        until = max(min(waiting.last, now) + wait, self._refused_until(lane, throttle, now))
        return until if until > now else None

    def is_suspicious(self, throttle: Throttle, now: int) -> bool:
        """Whether strangers have failed often enough to warn the owner, who was not warned in the last 30 days."""
        warned = self.suspected_at and now - MONTH < self.suspected_at <= now + CLOCK_SKEW
        return not warned and len(self.strangers.within(now)) >= max(_FEWEST_SUSPICIOUS, throttle.block_after // 5)

    def _refused_until(self, lane: LaneName, throttle: Throttle, now: int) -> int:
        if lane == "known":
            return _room_at(self.known.within(now), throttle.block_after, now)
        # However few wrong codes block: a change of the password lets the owner try once more, twice in 30 days.
        share = max(1, min(throttle.block_after * 4 // 5, throttle.block_after - 1 - _MOST_GRANTS))
        grant = max(1, throttle.block_after // 10)
        strangers_most = throttle.block_after - 1
        if self.consecutive >= strangers_most > 0:
            # Whatever is granted, the failure that would block is not for strangers to make.
            return now + MONTH
        if self._grants_within(now) and self.since_grant < grant:
            return 0
        in_a_month = _room_at(self.strangers.within(now), share, now)
        if self.consecutive < share:
            return in_a_month
        if self.consecutive >= strangers_most - grant:
            # The attempts that are left are kept for the owner, who has to change the password.
            return now + MONTH
        return max(in_a_month, min(self.strangers.last, now) + MONTH)

    def _grants_within(self, now: int) -> tuple[int, ...]:
        return tuple([min(at, now) for at in self.grants if at > now - MONTH])

    def _with(self, name: LaneName, lane: Lane) -> Failures:
        return replace(self, known=lane) if name == "known" else replace(self, strangers=lane)


NO_FAILURES = Failures()
"""Nobody has failed, in either lane: what a record without failures is read as."""


def _room_at(times: tuple[int, ...], most: int, now: int) -> int:
    """Return when fewer than `most` of the times are within 30 days; 0 if that is so already."""
    # Never further off than 30 days, whatever the clock did.
    return min(times[-most], now) + MONTH if len(times) >= most else 0
