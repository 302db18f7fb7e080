"""Two clicks at the same instant, on real frameworks: both requests have opened the session before either does anything."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from hosts import HOSTS, Browser, Host, Value, running
from support import ACCOUNT

from twofa import RecoveryCodes
from twofa.errors import CodeRequired, CodeReused, NoSetup, SignInRequired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.cookies import SimpleCookie


@pytest.fixture(params=HOSTS, ids=lambda kind: kind.name)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    with running(request.param) as host:
        yield host


def click_twice(browser: Browser, action: Callable[[Any], Any]) -> list[tuple[Any, SimpleCookie]]:
    """Send two requests with the same cookies; neither acts before both have opened the session."""
    both = Barrier(2)

    def together(me: Any) -> Any:
        both.wait(timeout=30)
        return action(me)

    with ThreadPoolExecutor(2) as threads:
        sent = [threads.submit(browser.host.send, together, dict(browser.cookies), None) for _ in range(2)]
        return [each.result() for each in sent]


def in_either_order(browser: Browser, answers: list[tuple[Any, SimpleCookie]]) -> Iterator[Browser]:
    """Return the browser as it is after both answers, whichever came last."""
    for order in permutations(answers):
        after = browser.copy()
        for _, answer in order:
            after.take(answer)
        yield after


def test_verify_twice(host: Host) -> None:
    """One click signs in, the other reads as a double click, and the browser is signed in, whichever came last."""
    phone, _ = host.enrol("alice")
    browser = host.browser()
    with pytest.raises(CodeRequired):
        browser.password("alice")
    code = phone.code()
    answers = click_twice(browser, lambda me: me.verify(code))

    outcomes = [outcome for outcome, _ in answers]
    assert 1 == sum(isinstance(outcome, Value) for outcome in outcomes)
    assert 1 == sum(isinstance(outcome, CodeReused) for outcome in outcomes)
    for after in in_either_order(browser, answers):
        assert "alice" == after.who()


def test_confirm_twice(host: Host) -> None:
    """One click gets the codes. If that answer is not seen, new codes can be made at once, and nobody is locked out."""
    browser = host.browser().sign_in("alice")
    phone = host.world.phone(browser.do(lambda me: me.begin_setup(ACCOUNT)))
    code = phone.code()
    answers = click_twice(browser, lambda me: me.confirm_setup(code))

    outcomes = [outcome.value if isinstance(outcome, Value) else outcome for outcome, _ in answers]
    assert 1 == sum(isinstance(outcome, RecoveryCodes) for outcome in outcomes)
    assert 1 == sum(isinstance(outcome, NoSetup | SignInRequired) for outcome in outcomes)
    after = next(in_either_order(browser, answers))
    assert "alice" == after.who()
    assert not after.do(lambda me: me.status).recovery_codes_acknowledged
    assert not after.do(lambda me: me.needs_code)
    codes = after.do(lambda me: me.reset_recovery_codes())

    host.clock.advance(30)
    elsewhere = host.browser()
    for way_in in (phone.code(), codes[0]):
        with pytest.raises(CodeRequired):
            elsewhere.password("alice")
        elsewhere.do(lambda me, way_in=way_in: me.verify(way_in))
        assert "alice" == elsewhere.who()


def test_an_answer_that_is_lost_locks_nobody_out(host: Host) -> None:
    """Whose browser never got the answer to the confirm signs in again, with the app that was scanned."""
    browser = host.browser().sign_in("alice")
    phone = host.world.phone(browser.do(lambda me: me.begin_setup(ACCOUNT)))
    host.send(lambda me: me.confirm_setup(phone.code()), dict(browser.cookies), None)  # nobody sees what came back

    assert (browser.who() is None) is host.replays  # on the server the session has gone on
    host.clock.advance(30)
    browser.sign_in("alice", phone)
    assert "alice" == browser.who()
    assert not browser.do(lambda me: me.status).recovery_codes_acknowledged
    assert 10 == len(browser.do(lambda me: me.reset_recovery_codes()))
