"""How long to wait after wrong codes, and when to block (NIST SP 800-63B-4 §3.2.2).

Two counts, kept with the factor that they protect:

- wrong codes in a row: the first few are free, then waits grow from 30 seconds to an hour, and the hundredth blocks;
- wrong codes of the last 30 days, which success does not clear. Otherwise someone who knows the password gets a few
  fresh guesses after each of the owner's logins: 4 to 13 % a year at 1 to 10 logins a day, against 0.4 % with it.

Both counts belong to one authenticator or set and end with it. Someone who does get it blocked has had a hundred
guesses, three chances in 10,000; the owner is told, and should change the password, which that someone knows, before
enrolling anew.
"""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from twofa.policy import Throttle

CLOCK_SKEW = 60
"""Seconds that the clocks of two machines of one application may differ without consequence."""

LONG_RUN = 30 * 86_400
"""Seconds over which the second count runs."""


class Failures(NamedTuple):
    """The wrong codes of one factor. Times are Unix seconds."""

    in_a_row: int = 0
    last: int = 0
    """When the latest of them was counted."""
    recent: tuple[int, ...] = ()
    """When each of the last 30 days was counted, success or not."""

    def counted(self, now: int) -> "Failures":
        """Return these and one more, now."""
        return Failures(self.in_a_row + 1, now, (*self._recent(now), now))

    def cleared(self, counted_at: int | None = None) -> "Failures":
        """Return what a success leaves; `counted_at` is its own attempt, if that was counted beforehand."""
        return Failures(0, 0, self._without(counted_at))

    def taken_back(self, counted_at: int) -> "Failures":
        """Return these less the attempt that was counted beforehand and turned out to be none."""
        return Failures(max(0, self.in_a_row - 1), self.last, self._without(counted_at))

    def anchored(self, now: int) -> "Failures":
        """Return these with no time in the future, so that a clock that moved back cannot stretch a wait.

        A clock that is a little behind moves nothing: of two machines, it would be the one that ends the wait early.
        """
        return self if self.last <= now + CLOCK_SKEW else self._replace(last=now)

    def blocked(self, throttle: "Throttle") -> bool:
        """Whether there were too many, either way."""
        return max(self.in_a_row, len(self.recent)) >= throttle.block_after

    def wait_until(self, throttle: "Throttle", now: int) -> int | None:
        """Return when the next attempt is looked at, or `None` if that is now. Never further off than its length."""
        until = min(self.last, now) + self._wait(throttle)
        return until if until > now else None

    def _wait(self, throttle: "Throttle") -> int:
        doublings = self.in_a_row - throttle.free_failures - 1
        return 0 if doublings < 0 else min(throttle.first_wait << doublings, throttle.longest_wait)

    def _recent(self, now: int) -> tuple[int, ...]:
        return tuple(min(at, now) for at in self.recent if at > now - LONG_RUN)

    def _without(self, counted_at: int | None) -> tuple[int, ...]:
        if counted_at not in self.recent:
            return self.recent
        at = self.recent.index(counted_at)
        return self.recent[:at] + self.recent[at + 1 :]
