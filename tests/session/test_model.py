"""Any sequence of requests, held against a model of a few lines: several browsers and users, and cookies played again.

The model was written from the laws and knows nothing of the code. A cookie is the worst case: whoever has a copy of an
old one can bring it back at any time, in any browser. So the machine keeps every cookie that was ever set.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from strength import rounds
from support import ACCOUNT, Phone, World

from twofa.errors import (
    CodeRequired,
    MalformedCode,
    NoSetup,
    NotEnrolled,
    ProofRequired,
    ReenrolmentRequired,
    SetupExpired,
    SignInRequired,
)

USERS = ("alice", "bob")
BROWSERS = range(3)
TEN_MINUTES, DAY = 600, 86_400
CHANCE = st.integers(0, 11)


@dataclass(frozen=True)
class Cookie:
    """What a cookie stands for."""

    user: str
    generation: int
    since: int
    signed_in: bool
    verification: tuple[int, int] | None = None
    """Its number, and when it was given."""
    setup: int | None = None


@dataclass
class Account:
    """Where an account stands. Generation 0 is that of somebody who never had a second factor."""

    state: str = "none"
    generation: int = 0
    phone: Any = None
    codes: list[str] = field(default_factory=list)
    verification: int | None = None
    """The one that serves."""
    pending: tuple[int, int, Any] | None = None
    """A set-up's number, when it expires, and its phone."""


class Sessions(RuleBasedStateMachine):
    """Browsers that do what they like, and the model that says what they may."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World("blocking")
        self.numbers = count(1)
        self.held: dict[int, dict[str, str]] = {number: {} for number in BROWSERS}
        self.cookies: dict[str, Cookie | None] = {}
        """Every cookie that was ever set, and what it stands for."""
        self.accounts = {user: Account() for user in USERS}

    # --- what the model says ----------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        return int(self.world.clock.now)

    def cookie(self, browser: int) -> Cookie | None:
        """Return who the browser is: somebody under the account's present generation, and not for too long."""
        cookie = self.cookies.get(self.held[browser].get("twofa", ""))
        if cookie is None or cookie.generation != self.accounts[cookie.user].generation:
            return None
        return cookie if self.now < cookie.since + (DAY if cookie.signed_in else TEN_MINUTES) else None

    def pick(self, chance: int) -> int:
        """Return a browser: mostly one that is somebody."""
        lively = [browser for browser in BROWSERS if self.cookie(browser)]
        return lively[chance % len(lively)] if lively and chance < 10 else chance % len(BROWSERS)

    def signed_in(self, browser: int) -> tuple[Cookie, Account] | type[SignInRequired]:
        cookie = self.cookie(browser)
        if cookie is None:
            return SignInRequired
        return (cookie, self.accounts[cookie.user]) if cookie.signed_in else CodeRequired

    def may_change(self, cookie: Cookie, account: Account, code: str | None) -> type[Exception] | None:
        """Return why a change is refused, if it is. What is offered as a proof is spent."""
        if account.state in {"none", "pending"} or code is not None:
            return None
        given, account_has = cookie.verification, account.verification
        fresh = given is not None and given[0] == account_has and self.now < given[1] + TEN_MINUTES
        if fresh:
            account.verification = None
        return None if fresh else ProofRequired

    def renew(self, account: Account) -> int:
        account.generation = next(self.numbers)
        account.pending = account.verification = None
        return account.generation

    # --- how a request goes -----------------------------------------------------------------------------------------

    def request(self, browser: int, action: Any, *, keeps: Cookie | None, fails: type[Exception] | None = None) -> Any:
        """Send a request; its answer has to be `fails`, and the cookie afterwards has to stand for `keeps`."""
        held = dict(self.held[browser])
        me = self.world.face.session(held, rotate=None)
        value = None
        if fails is None:
            value = action(me)
        else:
            with pytest.raises(fails) as refusal:
                action(me)
            assert fails is refusal.type
        text = held.get("twofa")
        if text is not None and text != self.held[browser].get("twofa"):
            self.cookies[text] = keeps
        self.held[browser] = held
        assert (None if self.cookie(browser) is None else keeps) == self.cookie(browser)
        return value

    def refused(self, browser: int, action: Any, fails: type[Exception]) -> None:
        """Send a request that is refused: the cookie stays as it is, to the letter."""
        before = self.held[browser].get("twofa")
        cookie = self.cookies.get(before or "")
        self.request(browser, action, keeps=cookie, fails=fails)
        assert before == self.held[browser].get("twofa")

    def fresh_code(self, user: str) -> str | None:
        """Return a code that serves, if there is one."""
        account = self.accounts[user]
        self.world.clock.advance(30)
        if account.state == "active":
            return account.phone.code()
        return account.codes.pop() if account.state == "reenrol" and len(account.codes) > 3 else None

    # --- rules ------------------------------------------------------------------------------------------------------

    @initialize(enrolled=st.booleans())
    def begin(self, enrolled: bool) -> None:
        if enrolled:
            account, (account.phone, codes) = self.accounts["alice"], self.world.enrol("alice")
            self.world.face.acknowledge_recovery_codes("alice")
            account.state, account.codes = "active", list(codes)
            self.renew(account)

    @rule(browser=st.sampled_from(BROWSERS), user=st.sampled_from(USERS))
    def password(self, browser: int, user: str) -> None:
        account = self.accounts[user]
        enough = account.state in {"none", "pending"}
        self.request(
            browser,
            lambda me: me.password_accepted(user),
            keeps=Cookie(user, account.generation, self.now, enough),
            fails=None if enough else CodeRequired,
        )

    @rule(browser=st.sampled_from(BROWSERS), user=st.sampled_from(USERS))
    def sign_in(self, browser: int, user: str) -> None:
        self.password(browser, user)
        if self.accounts[user].state in {"active", "reenrol"}:
            self.give_code(browser, right=True)

    @rule(browser=st.sampled_from(BROWSERS), user=st.sampled_from(USERS))
    def enrol(self, browser: int, user: str) -> None:
        self.sign_in(browser, user)
        self._change(browser, False, "begin")
        self.confirm_in(browser, right=True)

    @rule(chance=CHANCE, right=st.booleans())
    def code(self, chance: int, right: bool) -> None:
        self.give_code(self.pick(chance), right=right)

    def give_code(self, browser: int, *, right: bool) -> None:
        cookie = self.cookie(browser)
        code = self.fresh_code(cookie.user) if cookie and right else "123"
        cookie = self.cookie(browser)  # time has passed
        if cookie is None:
            self.refused(browser, lambda me: me.verify(code or "123456"), SignInRequired)
        elif self.accounts[cookie.user].state in {"none", "pending"}:
            self.refused(browser, lambda me: me.verify("123456"), NotEnrolled)
        elif code is None or not right:
            reenrol = self.accounts[cookie.user].state == "reenrol"
            self.refused(browser, lambda me: me.verify("123"), ReenrolmentRequired if reenrol else MalformedCode)
        else:
            number = next(self.numbers)
            self.accounts[cookie.user].verification = number
            self.request(
                browser,
                lambda me: me.verify(code),
                keeps=replace(cookie, signed_in=True, verification=(number, self.now)),
            )

    @rule(chance=CHANCE, with_code=st.booleans())
    def begin_setup(self, chance: int, with_code: bool) -> None:
        browser = self.pick(chance)
        self._change(browser, with_code, "begin")

    @rule(chance=CHANCE, with_code=st.booleans())
    def disable(self, chance: int, with_code: bool) -> None:
        browser = self.pick(chance)
        self._change(browser, with_code, "disable")

    @rule(chance=CHANCE, with_code=st.booleans())
    def reset_codes(self, chance: int, with_code: bool) -> None:
        browser = self.pick(chance)
        self._change(browser, with_code, "codes")

    @rule(chance=CHANCE, with_code=st.booleans())
    def reset_app(self, chance: int, with_code: bool) -> None:
        browser = self.pick(chance)
        self._change(browser, with_code, "app")

    def _change(self, browser: int, with_code: bool, what: str) -> None:
        """A change to the account, whose proof is a code that is given or the session's verification."""
        cookie = self.cookie(browser)
        code = self.fresh_code(cookie.user) if cookie and with_code else None
        who = self.signed_in(browser)
        action = {
            "begin": lambda me: me.begin_setup(ACCOUNT, code),
            "disable": lambda me: me.disable(code),
            "codes": lambda me: me.reset_recovery_codes(code),
            "app": lambda me: me.reset_authenticator(ACCOUNT, code),
        }[what]
        if not isinstance(who, tuple):
            self.refused(browser, action, who)
            return
        cookie, account = who
        unprotected = account.state in {"none", "pending"}
        if what in {"codes", "app"} and unprotected:
            self.refused(browser, action, NotEnrolled)
        elif what == "codes" and account.state == "reenrol":
            self.refused(browser, action, ReenrolmentRequired)
        elif problem := self.may_change(cookie, account, code):
            self.request(browser, action, keeps=replace(cookie, verification=None), fails=problem)
        else:
            spent = replace(cookie, verification=cookie.verification if code or unprotected else None)
            getattr(self, f"_{what}")(browser, action, spent, account)

    def _begin(self, browser: int, action: Any, cookie: Cookie, account: Account) -> None:
        number = next(self.numbers)
        setup = self.request(browser, action, keeps=replace(cookie, setup=number))
        account.pending = (number, self.now + TEN_MINUTES, self.world.phone(setup))
        account.state = "pending" if account.state == "none" else account.state

    def _disable(self, browser: int, action: Any, cookie: Cookie, account: Account) -> None:
        if account.state in {"none", "pending"}:
            account.state, account.pending = "none", None
        else:
            self.renew(account)
            account.state = "none"
        self.request(
            browser, action, keeps=replace(cookie, generation=account.generation, verification=None, setup=None)
        )

    def _codes(self, browser: int, action: Any, cookie: Cookie, account: Account) -> None:
        self.renew(account)
        account.verification = next(self.numbers)
        kept = replace(cookie, generation=account.generation, verification=(account.verification, self.now), setup=None)
        account.codes = list(self.request(browser, action, keeps=kept))
        self.world.face.acknowledge_recovery_codes(cookie.user)

    def _app(self, browser: int, action: Any, cookie: Cookie, account: Account) -> None:
        self.renew(account)
        number = next(self.numbers)
        kept = replace(cookie, generation=account.generation, verification=None, setup=number)
        setup = self.request(browser, action, keeps=kept)
        account.state, account.pending = "reenrol", (number, self.now + TEN_MINUTES, self.world.phone(setup))

    @rule(chance=CHANCE, right=st.booleans())
    def confirm(self, chance: int, right: bool) -> None:
        self.confirm_in(self.pick(chance), right=right)

    def confirm_in(self, browser: int, *, right: bool) -> None:
        who = self.signed_in(browser)
        pending = self.accounts[who[0].user].pending if isinstance(who, tuple) else None
        code = pending[2].code() if pending else "123456"
        action = lambda me: me.confirm_setup(code if right else "123")  # noqa: E731
        problem = self._setup_problem(who)
        if problem is not None or not right:
            self.refused(browser, action, problem or MalformedCode)
            return
        assert isinstance(who, tuple)
        assert pending
        cookie, account = who
        self.renew(account)
        account.verification, account.state, account.phone = next(self.numbers), "active", pending[2]
        kept = replace(cookie, generation=account.generation, verification=(account.verification, self.now), setup=None)
        account.codes = list(self.request(browser, action, keeps=kept))
        self.world.face.acknowledge_recovery_codes(cookie.user)

    def _setup_problem(self, who: Any) -> type[Exception] | None:
        if not isinstance(who, tuple):
            return who
        cookie, account = who
        if cookie.setup is None or account.pending is None or account.pending[0] != cookie.setup:
            return NoSetup
        return SetupExpired if self.now >= account.pending[1] else None

    @rule(chance=CHANCE)
    def cancel(self, chance: int) -> None:
        browser = self.pick(chance)
        who = self.signed_in(browser)
        if not isinstance(who, tuple):
            self.refused(browser, lambda me: me.cancel_setup(), who)
            return
        cookie, account = who
        if account.pending and account.pending[0] == cookie.setup:
            account.pending = None
            account.state = "none" if account.state == "pending" else account.state
        self.request(browser, lambda me: me.cancel_setup(), keeps=replace(cookie, setup=None))

    @rule(chance=CHANCE)
    def end_other_sessions(self, chance: int) -> None:
        browser = self.pick(chance)
        who = self.signed_in(browser)
        if not isinstance(who, tuple):
            self.refused(browser, lambda me: me.end_other_sessions(), who)
            return
        cookie, account = who
        self.renew(account)
        account.state = "none" if account.state == "pending" else account.state
        kept = replace(cookie, generation=account.generation, verification=None, setup=None)
        self.request(browser, lambda me: me.end_other_sessions(), keeps=kept)

    @rule(user=st.sampled_from(USERS), by_password=st.booleans())
    def end_all_sessions(self, user: str, by_password: bool) -> None:
        account = self.accounts[user]
        (self.world.face.password_changed if by_password else self.world.face.end_sessions)(user)
        self.renew(account)
        account.state = "none" if account.state == "pending" else account.state

    @rule(chance=CHANCE, everywhere=st.booleans())
    def sign_out(self, chance: int, everywhere: bool) -> None:
        browser = self.pick(chance)
        who = self.signed_in(browser)
        problem = who if everywhere and not isinstance(who, tuple) else None
        self.request(browser, lambda me: me.sign_out(everywhere=everywhere), keeps=None, fails=problem)
        assert {} == self.held[browser]
        if everywhere and isinstance(who, tuple):
            self.renew(who[1])
            who[1].state = "none" if who[1].state == "pending" else who[1].state

    @rule(browser=st.sampled_from(BROWSERS), which=st.integers(0, 99))
    def replay(self, browser: int, which: int) -> None:
        """Bring back a cookie that was set at any time, rather one of the latest."""
        if self.cookies:
            cookies = list(self.cookies)
            self.held[browser] = {"twofa": cookies[-1 - which % len(cookies)]}

    @rule(seconds=st.sampled_from([1, 1, 60, 60, TEN_MINUTES - 60, TEN_MINUTES, DAY // 2, DAY]))
    def wait(self, seconds: int) -> None:
        self.world.clock.advance(seconds)

    # --- what has to hold after every step --------------------------------------------------------------------------

    @invariant()
    def everybody_is_who_the_model_says(self) -> None:
        writes = self.world.store.writes
        for browser in BROWSERS:
            held = dict(self.held[browser])
            me = self.world.face.session(held, rotate=None)
            cookie = self.cookie(browser)
            user, signed_in = (cookie.user, cookie.signed_in) if cookie else (None, False)
            assert (user if signed_in else None, None if signed_in else user) == (me.user_id, me.awaiting)
            if cookie and signed_in:
                account = self.accounts[cookie.user]
                given = cookie.verification
                fresh = given is not None and self.now < given[1] + TEN_MINUTES
                assert me.needs_code is (account.state in {"active", "reenrol"} and not fresh)
                live = account.pending is not None and self.now < account.pending[1]
                shown = "none" if account.state == "pending" and not live else account.state
                assert shown == me.status.state
                self._look_at_the_setup(me, browser)
            assert self.held[browser] == held, "looking writes nothing"
        assert writes == self.world.store.writes or self._an_expired_secret_was_erased()

    def _look_at_the_setup(self, me: Any, browser: int) -> None:
        problem = self._setup_problem(self.signed_in(browser))
        if problem is None:
            pending = self.accounts[me.user_id].pending
            assert pending
            assert pending[2].secret == Phone(me.setup().uri, self.world.clock).secret
        else:
            with pytest.raises(problem):
                me.setup()

    def _an_expired_secret_was_erased(self) -> bool:
        return any(account.pending and self.now >= account.pending[1] for account in self.accounts.values())


def test_sessions_do_what_the_laws_say() -> None:
    """No sequence of requests, of cookies that are played again and of hours that pass, leads anywhere else."""
    run_state_machine_as_test(
        Sessions,
        settings=settings(max_examples=rounds(60, 2000), stateful_step_count=40, deadline=None, derandomize=True),
    )
