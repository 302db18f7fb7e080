"""A year of attack on one account: the tables in docs/throttling.md.

`python benchmarks/attack_year.py [DAYS]`. It is no measurement: every run prints the same. The library is the real one,
on a `MemoryStore` and a clock that the simulation sets. Recovery codes have 24 symbols, which need no slow hash; how
they are hashed has no part in how they are counted.

The attacker sends a wrong code of either kind whenever one is looked at, in each lane that is open to them. One who
controls the mailbox also has the password reset, once a day, while a kind is refused for more than a day. One who has a
known browser, and would rather guess than lock out, is sparing: they guess only after the owner's daily sign-in, and so
that the known lane stays open.

Each day a copy of the account is asked what would become of an owner who changes the password now, and signs in with a
browser that is not known.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from measure import NOW, print_lines

from twofa import TOTP, Change, KeyRing, Policy, TwoFactor
from twofa.errors import InvalidCode, RecoveryCodesExhausted, ReenrolmentRequired, Throttled
from twofa.events import EventKind
from twofa.stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twofa import Verification

USER = "user-42"
HOUR, DAY = 3600, 86_400
POLICY = Policy(recovery_code_length=24)
KEYS = KeyRing("QmVuY2htYXJrcyBzZWFsIHdpdGggdGhpcyBvbmUga2U")

ODDS = (2 * POLICY.window + 1) / 10**POLICY.digits
"""Of one guess at a TOTP code: so many codes are right at a time."""
MOST_ODDS = 0.008
"""Of a guess in a year (docs/throttling.md)."""

Factor: TypeAlias = Literal["app", "recovery code"]
FACTORS: tuple[Factor, ...] = ("app", "recovery code")
BLOCKS = (EventKind.AUTHENTICATOR_BLOCKED, EventKind.RECOVERY_CODES_BLOCKED)


class Account:
    """An enrolled user, the owner's phone and recovery codes, and the time."""

    def __init__(self) -> None:
        self.now = NOW
        self.store = MemoryStore()
        self.two_factor = TwoFactor(self.store, keys=KEYS, issuer="Example", policy=POLICY, clock=lambda: self.now)
        setup = self.two_factor.begin_setup(USER, account_name="alice@example.com")
        self.phone = TOTP.from_uri(setup.uri)
        codes = self.two_factor.confirm_setup(USER, self.phone.code(self.now), handle=setup.handle)
        self.two_factor.acknowledge_recovery_codes(USER)
        self.codes, self.generation = tuple(codes), codes.generation
        self.now += 60

    def sign_in(self, factor: Factor, browser: str | None) -> Verification:
        """Sign in as the owner does."""
        if factor == "app":
            return self.two_factor.verify(USER, self.phone.code(self.now), browser=browser)
        return self.two_factor.redeem_recovery_code(USER, self.codes[0], browser=browser)

    def guess(self, factor: Factor, browser: str | None) -> None:
        """Send a code that is surely wrong."""
        if factor == "app":
            shown = {self.phone.code(self.now + 30 * steps) for steps in range(-2, 3)}
            code = next(code for number in range(9) if (code := str(number) * 6) not in shown)
            self.two_factor.verify(USER, code, browser=browser)
        else:
            wrong = "0" if self.codes[0][-1] != "0" else "1"
            self.two_factor.redeem_recovery_code(USER, self.codes[0][:-1] + wrong, browser=browser)

    def wait_after_new_password(self, factor: Factor) -> int | None:
        """Return how many seconds the owner would wait who changed the password now; `None` if in vain."""
        copy = MemoryStore()
        copy.swap(USER, Change(None, self.store.load(USER)))
        face = self.two_factor
        self.two_factor = TwoFactor(copy, keys=KEYS, issuer="Example", policy=POLICY, clock=lambda: self.now)
        try:
            self.two_factor.password_changed(USER)
            self.sign_in(factor, None)
        except Throttled as wait:
            seconds = int(wait.retry_at.timestamp()) - self.now
            return seconds if seconds <= DAY else None
        except (ReenrolmentRequired, RecoveryCodesExhausted):
            return None
        finally:
            self.two_factor = face
        return 0

    def blocked_on(self) -> int | None:
        """Return the day on which the first factor was blocked."""
        blocks = [event.at.timestamp() for event in self.store.events(USER) if event.kind in BLOCKS]
        return (int(blocks[0]) - NOW) // DAY + 1 if blocks else None


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a year came to."""

    attacker: str
    owner: str
    looked_at: dict[Factor, int] = field(default_factory=lambda: dict.fromkeys(FACTORS, 0))
    """The attacker's wrong codes that were looked at."""
    logins: int = 0
    waits: list[int] = field(default_factory=list[int])
    """Seconds that the owner had to wait in a known browser, for each login there that was refused."""
    elsewhere: dict[Factor, list[int | None]] = field(default_factory=lambda: {factor: [] for factor in FACTORS})
    """For each day what `Account.wait_after_new_password` said."""
    blocked_on: int | None = None

    @property
    def odds(self) -> float:
        """Of a right guess at a code of the app, in all that was looked at."""
        return float(1 - (1 - ODDS) ** self.looked_at["app"])

    def closed_on(self, factor: Factor) -> int | None:
        """Return the first day on which an owner with a new password waited in vain in an unknown browser."""
        waits = self.elsewhere[factor]
        return waits.index(None) + 1 if None in waits else None


@dataclass(slots=True, kw_only=True)
class Attacker:
    """Someone who knows the password."""

    knows: str = "password"
    mailbox: bool = False
    """Whether they can have the password reset."""
    browser: bool = False
    """Whether they have stolen the token of a known browser."""
    sparing: bool = False
    """Whether they leave the owner's browser alone enough to go on for the whole year."""

    def lanes(self, account: Account) -> Iterator[str | None]:
        """Yield what they can send along with a code."""
        yield None
        if self.browser:
            yield account.two_factor.browser_token(USER, generation=account.generation)


PASSWORD = Attacker()
MAILBOX = Attacker(knows="password and mailbox", mailbox=True)
BROWSER = Attacker(knows="password and a known browser", browser=True)
SPARING = Attacker(knows="the same, guessing sparingly", browser=True, sparing=True)
YEARS = (
    (PASSWORD, True),
    (PASSWORD, False),
    (MAILBOX, True),
    (MAILBOX, False),
    (BROWSER, True),
    (BROWSER, False),
    (SPARING, True),
)
"""Each attacker, and whether the owner signs in daily."""
MOST_A_DAY = 20
MOST_IN_A_MONTH = POLICY.throttle.block_after - 1


class Year:
    """One attacker, one owner, and what happens in which order."""

    def __init__(self, attacker: Attacker, *, logs_in: bool) -> None:
        self.account, self.attacker, self.logs_in = Account(), attacker, logs_in
        self.outcome = Outcome(attacker=attacker.knows, owner="signs in daily" if logs_in else "is away")
        self._lanes = list(attacker.lanes(self.account))
        self._browser = self._known_browser()
        self._changed_at = 0
        self._guessed_at: dict[tuple[Factor, str | None], list[int]] = {}

    def run(self, days: int) -> Outcome:
        """Let the days pass."""
        for day in range(days):
            end = NOW + (day + 1) * DAY
            for factor in FACTORS:
                self.outcome.elsewhere[factor].append(self.account.wait_after_new_password(factor))
            if self.attacker.sparing:
                self.account.now = end - 12 * HOUR
            self._attack_until(end - 12 * HOUR)
            if self.logs_in:
                self._owner_signs_in()
            self._attack_until(end)
        self.outcome.blocked_on = self.account.blocked_on()
        return self.outcome

    def _known_browser(self) -> str:
        return self.account.two_factor.browser_token(USER, generation=self.account.generation)

    def _change_password(self) -> None:
        self.account.generation = self.account.two_factor.password_changed(USER)

    # --- the attacker -----------------------------------------------------------------------------------------------

    def _attack_until(self, end: int) -> None:
        account = self.account
        while account.now < end:
            openings = [self._guess(factor, lane) for factor in FACTORS for lane in self._lanes]
            refused = any(at > account.now + DAY for at in openings)
            if self.attacker.mailbox and refused and account.now >= self._changed_at + DAY:
                self._changed_at = account.now
                self._change_password()
            else:
                account.now = min(*openings, end)

    def _guess(self, factor: Factor, lane: str | None) -> int:
        """Guess until it is refused; return when the next guess may be looked at."""
        now, guessed_at = self.account.now, self._guessed_at.setdefault((factor, lane), [])
        while not (lane and self.attacker.sparing and self._is_enough(guessed_at)):
            try:
                self.account.guess(factor, lane)
            except Throttled as wait:
                return int(wait.retry_at.timestamp())
            except (ReenrolmentRequired, RecoveryCodesExhausted):
                break
            except InvalidCode:
                self.outcome.looked_at[factor] += 1
                guessed_at.append(now)
        return now + DAY

    def _is_enough(self, guessed_at: list[int]) -> bool:
        today, month = (sum(at > self.account.now - days * DAY for at in guessed_at) for days in (1, 31))
        return today >= MOST_A_DAY or month >= MOST_IN_A_MONTH

    # --- the owner --------------------------------------------------------------------------------------------------

    def _owner_signs_in(self) -> None:
        """Sign in with the app; an owner whose password somebody else has changed has it changed again before."""
        if self._changed_at:
            self._change_password()
        try:
            self.account.sign_in("app", self._browser)
        except Throttled as wait:
            self.outcome.waits.append(int(wait.retry_at.timestamp()) - self.account.now)
        except ReenrolmentRequired:
            self.outcome.waits.append(DAY)
        else:
            self.outcome.logins += 1
            self._browser = self._known_browser()


def all_years(days: int) -> Iterator[Outcome]:
    """Yield what becomes of each."""
    for attacker, logs_in in YEARS:
        yield Year(attacker, logs_in=logs_in).run(days)


def length(seconds: int) -> str:
    """Return a time as people say it."""
    if not seconds:
        return "none"
    return f"{seconds / DAY:.1f} days" if seconds >= DAY else f"{seconds / 60:.0f} min"


def line(outcome: Outcome) -> tuple[str, bool]:
    """Return a line of the table, and whether it keeps to what docs/throttling.md promises."""
    closed = [outcome.closed_on(factor) for factor in FACTORS]
    kept = outcome.odds <= MOST_ODDS
    if outcome.attacker == PASSWORD.knows:
        kept = kept and not outcome.waits and closed == [None, None] and outcome.blocked_on is None
    known = length(max(outcome.waits, default=0)) if outcome.logins or outcome.waits else "–"
    looked_at = " and ".join(str(count) for count in outcome.looked_at.values())
    ways = ", ".join(
        f"{factor}: {'always' if day is None else 'never' if day == 1 else f'until day {day - 1}'}"
        for factor, day in zip(FACTORS, closed, strict=True)
    )
    blocked = "no" if outcome.blocked_on is None else f"day {outcome.blocked_on}"
    return (
        f"| {outcome.attacker} | {outcome.owner} | {looked_at} | {outcome.odds:.2%} | {known} | {ways} | {blocked} |"
        f"{'' if kept else '  <-- over'}",
        kept,
    )


def main() -> None:
    """Print the table, and fail if the account is not what docs/throttling.md promises."""
    days = int(sys.argv[1]) if len(sys.argv) > 1 else 365
    head = (
        "| the attacker has | the owner | wrong codes looked at, app and recovery | odds of a guess "
        "| owner's longest wait, in the browser of the last sign-in "
        "| gets in elsewhere, after a new password | blocked |"
    )
    print_lines(head, map(line, all_years(days)))


if __name__ == "__main__":
    main()
