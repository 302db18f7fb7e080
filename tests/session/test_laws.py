"""The laws of a browser's session, each over real frameworks and over bearer tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hosts import HOSTS, ON_THE_SERVER, AsyncBearer, Bearer, Browser, Host, StoreDown, running
from interleave import altered
from support import ACCOUNT

from twofa.errors import (
    CodeRequired,
    InvalidCode,
    NoSetup,
    ProofRequired,
    RecordDamaged,
    SignInRequired,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = [kind.name for kind in HOSTS]


@pytest.fixture(params=HOSTS, ids=NAMES)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    with running(request.param) as host:
        yield host


@pytest.fixture(params=[kind for kind in HOSTS if kind not in {Bearer, AsyncBearer}], ids=lambda kind: kind.name)
def framework(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host whose sessions have an id, and that may have a login of its own: all but bearer tokens."""
    with running(request.param) as host:
        yield host


@pytest.fixture
def browser(host: Host) -> Browser:
    return host.browser()


def everything(me: Any) -> dict[str, Any]:
    """Return every call that only somebody who is signed in may make."""
    return {
        "require": me.require,
        "browser_cookie": me.browser_cookie,
        "forget_browser": me.forget_browser,
        "begin_setup": lambda: me.begin_setup(ACCOUNT),
        "setup": me.setup,
        "confirm_setup": lambda: me.confirm_setup("123456"),
        "cancel_setup": me.cancel_setup,
        "reset_recovery_codes": me.reset_recovery_codes,
        "reset_authenticator": lambda: me.reset_authenticator(ACCOUNT),
        "disable": me.disable,
        "acknowledge_recovery_codes": me.acknowledge_recovery_codes,
        "end_other_sessions": me.end_other_sessions,
    }


def half(browser: Browser, user_id: str) -> Browser:
    """Give the password of somebody who has a second factor."""
    with pytest.raises(CodeRequired):
        browser.password(user_id)
    return browser


# --- 1 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", everything(type("Any", (), {"__getattr__": lambda _, name: name})()))
def test_half_signed_in_does_nothing(host: Host, name: str) -> None:
    """The password alone opens no method but those that lead on or out, whatever code is given with it."""
    phone, _ = host.enrol("alice")
    browser = half(host.browser(), "alice")
    before = host.store.load("alice")

    with pytest.raises(CodeRequired):
        browser.do(lambda me: everything(me)[name]())
    assert (None, "alice") == (browser.who(), browser.owes())
    assert before == host.store.load("alice")
    assert browser.do(lambda me: me.verify(phone.code())).user_id == "alice"
    assert "alice" == browser.who()


def test_half_signed_in_may_start_again_or_leave(host: Host) -> None:
    """Another password replaces the first, and signing out forgets it."""
    host.enrol("alice")
    phone, _ = host.enrol("bob")
    browser = half(half(host.browser(), "alice"), "bob")
    assert "bob" == browser.owes()
    browser.do(lambda me: me.verify(phone.code()))
    assert "bob" == browser.who()

    browser = half(host.browser(), "alice")
    browser.do(lambda me: me.sign_out())
    assert (None, None) == (browser.who(), browser.owes())


def test_half_signed_in_lasts_ten_minutes(host: Host) -> None:
    """A right code after that is not even looked at."""
    phone, _ = host.enrol("alice")
    browser = half(host.browser(), "alice")
    host.clock.advance(600)
    before = host.store.load("alice")
    with pytest.raises(SignInRequired) as refusal:
        browser.do(lambda me: me.verify(phone.code()))
    assert ("expired", before) == (refusal.value.reason, host.store.load("alice"))


# --- 2 -------------------------------------------------------------------------------------------------------------


def test_a_password_empties_the_session_first(host: Host, browser: Browser) -> None:
    """Whoever was signed in is not any more, even if everything after that fails."""
    host.enrol("bob")
    browser.sign_in("alice")
    host.store.down = True
    with pytest.raises(StoreDown):
        browser.password("bob")
    host.store.down = False
    assert (None, None) == (browser.who(), browser.owes())


def test_the_password_of_one_and_then_of_another(host: Host, browser: Browser) -> None:
    """The session is the second one's alone: neither the code, the verification nor the set-up of the first serves."""
    alices_phone, _ = host.enrol("alice")
    bobs_phone, _ = host.enrol("bob")
    browser.sign_in("alice", alices_phone)
    browser.do(lambda me: me.begin_setup(ACCOUNT))
    half(browser, "bob")
    with pytest.raises(InvalidCode):
        browser.do(lambda me: me.verify(alices_phone.code(1)))
    host.clock.advance(30)
    browser.do(lambda me: me.verify(bobs_phone.code()))
    assert "bob" == browser.who()
    with pytest.raises(NoSetup):
        browser.do(lambda me: me.setup())


# --- 3 -------------------------------------------------------------------------------------------------------------


def test_signed_in_ends_a_day_after_the_password(host: Host, browser: Browser) -> None:
    """From the password on, whatever happened in between."""
    phone, _ = host.enrol("alice")
    half(browser, "alice")
    host.clock.advance(300)
    browser.do(lambda me: me.verify(phone.code()))
    host.clock.advance(86_400 - 301)
    assert "alice" == browser.who()
    host.clock.advance(1)
    assert browser.who() is None
    with pytest.raises(SignInRequired) as refusal:
        browser.do(lambda me: me.require())
    assert "expired" == refusal.value.reason


def test_signed_in_ends_with_the_generation(host: Host, browser: Browser) -> None:
    """Whatever changes the second factor elsewhere ends this session, which is told so."""
    browser.sign_in("alice")
    host.enrol("alice")
    with pytest.raises(SignInRequired) as refusal:
        browser.do(lambda me: me.require())
    assert "ended" == refusal.value.reason


def test_a_state_that_cannot_be_read_is_nobody(host: Host) -> None:
    """Keys that have left the ring, another namespace: signed out, without an error."""
    browser = host.browser().sign_in("alice")
    for other in ({"keys": type(host.world.keys)(type(host.world.keys).generate_key())}, {"namespace": "shop"}):
        mine, host.face = host.face, other_face(host, **other)
        assert browser.who() is None
        host.face = mine
    assert "alice" == browser.who()


def other_face(host: Host, **options: Any) -> Any:
    kind = type(host.face)
    store = host.face._store
    return kind(store, **{"keys": host.world.keys, "issuer": "Example", "clock": host.clock} | options)


@pytest.mark.parametrize("question", ["user_id", "awaiting", "status", "needs_code", "signed_in_at", "trusted_until"])
def test_a_store_that_fails_raises(host: Host, question: str) -> None:
    """It never reads as "signed out", nor does a damaged record."""
    host.enrol("alice")
    signed_in, owing = host.browser().sign_in("bob"), half(host.browser(), "alice")
    host.store.down = True
    for browser in (signed_in, owing):
        with pytest.raises(StoreDown):
            browser.do(lambda me: getattr(me, question))
    host.store.down = False
    damage(host, "alice")
    with pytest.raises(RecordDamaged):
        owing.do(lambda me: getattr(me, question))


def damage(host: Host, user_id: str) -> None:
    stored = host.store.load(user_id)
    assert stored is not None
    host.store._records[user_id] = type(stored)(stored.version, stored.document[:-4] + "AAAA")


# --- 4 -------------------------------------------------------------------------------------------------------------


def test_half_signed_in_is_bound_to_its_generation(host: Host) -> None:
    """Once outdated, it spends no code and counts none."""
    phone, codes = host.enrol("alice")
    browser = half(host.browser(), "alice")
    host.world.face.end_sessions("alice")
    before = host.store.load("alice")
    for code in (phone.code(), codes[0], phone.wrong_code(), "junk"):
        with pytest.raises(SignInRequired) as refusal:
            browser.do(lambda me, code=code: me.verify(code))
        assert "ended" == refusal.value.reason
    assert before == host.store.load("alice")


# --- 5 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ON_THE_SERVER, ids=[kind.name for kind in ON_THE_SERVER])
@pytest.mark.parametrize("whose", ["signed out", "signed in"])
def test_a_session_that_was_planted_is_worthless(kind: type[Host], whose: str) -> None:
    """Whoever knows the id from before the password, or from before the code, has nobody's session afterwards."""
    with running(kind) as host:
        phone, _ = host.enrol("alice")
        mallory = host.browser()
        mallory.sign_in("mallory")
        if whose == "signed out":
            mallory.do(lambda me: me.sign_out())
            mallory.do(lambda me: me._slot._held.__setitem__("cart", "3 pears"))
        planted = mallory.copy()
        alice = half(mallory.copy(), "alice")
        half_way = alice.copy()
        alice.do(lambda me: me.verify(phone.code()))

        assert "alice" == alice.who()
        for stolen in (planted, half_way):
            assert (None, None) == (stolen.who(), stolen.owes())


def test_an_id_that_does_not_change_signs_nobody_in(framework: Host) -> None:
    """A rotation that fails is raised, at the password and at the code, and nobody is signed in."""
    host = framework
    phone, _ = host.enrol("alice")

    def fail() -> None:
        raise StoreDown

    owing = half(host.browser(), "alice")
    host.rotation = fail
    for browser, action in (
        (host.browser(), lambda me: me.password_accepted("bob")),
        (owing, lambda me: me.verify(phone.code())),
    ):
        with pytest.raises(StoreDown):
            browser.do(action)
        host.rotation = None
        assert browser.who() is None
        host.rotation = fail


# --- 6 -------------------------------------------------------------------------------------------------------------


def test_looking_writes_nothing(host: Host) -> None:
    """No attribute, and no look at a set-up, sends a cookie or writes to the store."""
    phone, _ = host.enrol("alice")
    signed_in = host.browser().sign_in("alice", phone)
    signed_in.do(lambda me: me.begin_setup(ACCOUNT))
    owing, outdated, stranger = half(host.browser(), "alice"), host.browser().sign_in("bob"), host.browser()
    host.world.face.end_sessions("bob")
    host.store.writes = 0
    for browser in (signed_in, owing, outdated, stranger):
        for question in (
            "user_id",
            "awaiting",
            "status",
            "needs_code",
            "signed_in_at",
            "trusted_until",
            "require",
            "setup",
        ):
            assert not changes(browser, lambda me, question=question: ask(me, question))
    assert 0 == host.store.writes


def ask(me: Any, question: str) -> Any:
    found = getattr(me, question)
    return found() if callable(found) else found


def changes(browser: Browser, action: Any) -> bool:
    """Return whether a request made the browser keep anything new; whatever it raises is no matter."""
    before = dict(browser.cookies)
    _, answer = browser.host.send(action, browser.cookies, browser.host_user)
    browser.take(answer)
    return before != browser.cookies or (bool(answer) and "bearer" not in browser.host.name)


def test_a_refusal_writes_nothing_to_the_session(host: Host) -> None:
    """A wrong code, at the second step and as a proof, leaves the session as it was."""
    phone, _ = host.enrol("alice")
    owing, signed_in = half(host.browser(), "alice"), host.browser().sign_in("alice", phone)
    assert not changes(owing, lambda me: me.verify(phone.wrong_code()))
    for action in (
        lambda me: me.verify(phone.wrong_code()),
        lambda me: me.disable(phone.wrong_code()),
        lambda me: me.confirm_setup("123456"),
        lambda me: me.reset_authenticator(ACCOUNT, "junk"),
    ):
        assert not changes(signed_in, action)
    assert not signed_in.do(lambda me: me.needs_code)


def test_a_verification_that_was_refused_is_dropped(host: Host) -> None:
    """When it has served elsewhere, the next form asks for a code instead of failing again."""
    phone, _ = host.enrol("alice")
    browser = host.browser().sign_in("alice", phone)
    copy = browser.copy()
    browser.do(lambda me: me.begin_setup(ACCOUNT))
    if not host.replays:  # both browsers show one session
        assert copy.do(lambda me: me.needs_code)
        return
    assert not copy.do(lambda me: me.needs_code)
    with pytest.raises(ProofRequired):
        copy.do(lambda me: me.begin_setup(ACCOUNT))
    assert copy.do(lambda me: me.needs_code)


# --- 7 -------------------------------------------------------------------------------------------------------------

CHANGES: dict[str, Any] = {
    "confirm_setup": None,
    "reset_recovery_codes": lambda me: me.reset_recovery_codes(),
    "reset_authenticator": lambda me: me.reset_authenticator(ACCOUNT),
    "disable": lambda me: me.disable(),
    "end_other_sessions": lambda me: me.end_other_sessions(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_keeps_this_session_and_ends_the_others(host: Host, name: str) -> None:
    """Only the browser that made the new generation has it."""
    phone, _ = host.enrol("alice")
    other, browser = (host.browser().sign_in("alice", phone) for _ in range(2))
    action = CHANGES[name]
    if action is None:
        new = host.world.phone(browser.do(lambda me: me.begin_setup(ACCOUNT)))
        action = lambda me: me.confirm_setup(new.code())  # noqa: E731
    browser.do(action)

    assert "alice" == browser.who()
    assert (None, None) == (other.who(), other.owes())


def test_nothing_to_turn_off_adopts_nothing(host: Host, browser: Browser) -> None:
    """An account without a second factor stays as it is, and so does the session."""
    browser.sign_in("alice")
    browser.do(lambda me: me.disable())
    assert "alice" == browser.who()


# --- 8 -------------------------------------------------------------------------------------------------------------


def test_a_code_that_was_given_is_the_only_proof_tried(host: Host) -> None:
    """A wrong one is refused though a fresh verification is there, which then still serves; an empty one is none."""
    phone, codes = host.enrol("alice")
    browser = host.browser().sign_in("alice", phone)
    for code in (phone.wrong_code(), altered(codes[0]), "junk"):
        with pytest.raises(InvalidCode):
            browser.do(lambda me, code=code: me.reset_recovery_codes(code))
    assert 10 == len(browser.do(lambda me: me.reset_recovery_codes("  ")))


def test_a_change_without_a_proof_is_refused(host: Host) -> None:
    """The verification is good once, and for ten minutes; after that the form asks for a code of either kind."""
    phone, codes = host.enrol("alice")
    browser = host.browser().sign_in("alice", phone)
    assert not browser.do(lambda me: me.needs_code)
    browser.do(lambda me: me.begin_setup(ACCOUNT))
    assert browser.do(lambda me: me.needs_code)
    for action in list(CHANGES.values())[1:4]:
        with pytest.raises(ProofRequired):
            browser.do(action)
    browser.do(lambda me: me.verify(codes[0]))
    host.clock.advance(599)
    assert not browser.do(lambda me: me.needs_code)
    host.clock.advance(1)
    assert browser.do(lambda me: me.needs_code)
    with pytest.raises(ProofRequired):
        browser.do(lambda me: me.disable())
    browser.do(lambda me: me.reset_authenticator(ACCOUNT, codes[1]))
    assert "reenrol" == browser.do(lambda me: me.status).state


# --- 9 -------------------------------------------------------------------------------------------------------------


def test_a_setup_is_visible_to_the_session_that_began_it(host: Host) -> None:
    """Another session of the same user neither sees it, nor confirms it, nor cancels it."""
    browser, other = (host.browser().sign_in("alice") for _ in range(2))
    setup = browser.do(lambda me: me.begin_setup(ACCOUNT))
    code = host.world.phone(setup).code()
    assert [True, False] == [each.do(lambda me: me.has_setup) for each in (browser, other)]
    for action in (lambda me: me.setup(), lambda me: me.confirm_setup(code)):
        with pytest.raises(NoSetup):
            other.do(action)
    other.do(lambda me: me.cancel_setup())
    assert setup.uri == browser.do(lambda me: me.setup()).uri
    browser.do(lambda me: me.cancel_setup())
    assert not browser.do(lambda me: me.has_setup)
    with pytest.raises(NoSetup):
        browser.do(lambda me: me.setup())


# --- 10 ------------------------------------------------------------------------------------------------------------


def test_whom_the_host_names_passes_only_without_a_second_factor(framework: Host) -> None:
    """Who came in by another door is nobody once they have enrolled, and stays so after turning it off."""
    host = framework
    browser = host.browser()
    browser.host_user = "alice"
    assert "alice" == browser.who()
    assert browser.do(lambda me: me.signed_in_at) is None
    new = host.world.phone(browser.do(lambda me: me.begin_setup(ACCOUNT)))
    browser.do(lambda me: me.confirm_setup(new.code()))
    assert "alice" == browser.who()

    by_another_door = host.browser()
    by_another_door.host_user = "alice"
    assert by_another_door.who() is None
    browser.do(lambda me: me.disable())
    assert by_another_door.who() is None


def test_the_host_and_the_state_have_to_agree(framework: Host) -> None:
    """Signed out at the host, or somebody else there: nobody. While a code is owed the host names nobody yet."""
    host = framework
    phone, _ = host.enrol("alice")
    host.enrol("bob")
    browser = half(host.browser(), "alice")
    browser.host_user = "nobody"
    assert "alice" == browser.owes()
    browser.do(lambda me: me.verify(phone.code()))
    for named, who in (("alice", "alice"), ("nobody", None), ("bob", None), ("carol", "carol")):
        browser.host_user = named
        assert who == browser.who()


# --- 11 ------------------------------------------------------------------------------------------------------------


def test_strings_open_for_their_own_purpose_only(host: Host) -> None:
    """No browser's, ticket's, client's or session's string serves in another's place."""
    host.enrol("alice")
    tickets = host.world.face.login_ticket("alice")
    known = host.browser().sign_in("bob").do(lambda me: me.browser_cookie())["value"]
    bearer = host.world.face.bearer(None)
    bearer.password_accepted("bob")
    held: dict[str, str] = {}
    host.world.face.session(held, rotate=None).password_accepted("bob")
    strings = {"ticket": tickets, "browser": known, "bearer": bearer.token, "session": held["twofa"]}
    assert 4 == len({text.split(".")[0] for text in strings.values()})
    for name, text in strings.items():
        if name != "session":
            assert host.world.face.session({"twofa": text}, rotate=None).user_id is None
        if name != "bearer":
            assert host.world.face.bearer(text).user_id is None
        if name != "ticket":
            with pytest.raises(SignInRequired):
                host.world.face.verify_ticket(text, "123456")


# --- 12 ------------------------------------------------------------------------------------------------------------


def trusted(host: Host, phone: Any, days: int = 30) -> dict[str, str]:
    """Sign in, trust the browser, and return the cookie that it has then."""
    cookie = host.browser().sign_in("alice", phone).do(lambda me: me.browser_cookie(trust_days=days))
    return {cookie["key"]: cookie["value"]}


def test_a_trusted_browser_needs_only_the_password(host: Host) -> None:
    """It proves nothing: changes still take a code."""
    phone, codes = host.enrol("alice")
    cookies = trusted(host, phone)
    browser = host.browser()
    browser.password("alice", cookies=cookies)
    assert "alice" == browser.who()
    assert browser.do(lambda me: me.needs_code)
    with pytest.raises(ProofRequired):
        browser.do(lambda me: me.disable())
    browser.do(lambda me: me.disable(codes[0]))


def test_trust_is_not_renewed(host: Host) -> None:
    """A sign-in without a code keeps the moment at which it ends, and cannot ask for more."""
    phone, _ = host.enrol("alice")
    cookies = trusted(host, phone, days=2)
    host.clock.advance(2 * 86_400 - 1)
    browser = host.browser()
    browser.password("alice", cookies=cookies)
    with pytest.raises(ProofRequired):
        browser.do(lambda me: me.browser_cookie(trust_days=30))
    again = browser.do(lambda me: me.browser_cookie())
    cookies = {again["key"]: again["value"]}
    host.browser().password("alice", cookies=cookies)
    host.clock.advance(1)
    with pytest.raises(CodeRequired):
        host.browser().password("alice", cookies=cookies)


@pytest.mark.parametrize("days", [-1, 91, 1.5, True, "30"])
def test_trust_lasts_whole_days_and_90_at_most(host: Host, days: Any) -> None:
    """Anything else is refused as the mistake that it is."""
    phone, _ = host.enrol("alice")
    browser = host.browser().sign_in("alice", phone)
    with pytest.raises(ValueError, match="a whole number from 1 to 90"):
        browser.do(lambda me: me.browser_cookie(trust_days=days))


@pytest.mark.parametrize("end", ["a change", "everywhere", "another user", "forgotten"])
def test_trust_ends(host: Host, end: str) -> None:
    """With the generation, and it never was another user's; a browser that is forgotten is asked again."""
    phone, _ = host.enrol("alice")
    host.enrol("bob")
    cookies = trusted(host, phone)
    user_id = "bob" if end == "another user" else "alice"
    if end == "a change":
        host.browser().sign_in("alice", phone).do(lambda me: me.reset_recovery_codes())
    if end == "everywhere":
        host.world.face.end_sessions("alice")
    if end == "forgotten":
        browser = host.browser()
        browser.password("alice", cookies=cookies)
        forgotten = browser.do(lambda me: me.forget_browser())
        assert ("", 0) == (forgotten["value"], forgotten["max_age"])
        assert browser.do(lambda me: me.trusted_until) is None
        cookies = {forgotten["key"]: browser.do(lambda me: me.browser_cookie())["value"]}
    with pytest.raises(CodeRequired):
        host.browser().password(user_id, cookies=cookies)


# --- 13 and 14 -----------------------------------------------------------------------------------------------------


def test_signing_out_works_while_the_store_is_down(host: Host) -> None:
    """From every stage; and a record that is damaged keeps nobody in."""
    phone, _ = host.enrol("alice")
    browsers = [host.browser(), half(host.browser(), "alice"), host.browser().sign_in("alice", phone)]
    host.store.down = True
    for browser in browsers:
        browser.do(lambda me: me.sign_out())
    host.store.down = False
    assert [(None, None)] * 3 == [(browser.who(), browser.owes()) for browser in browsers]

    browser = host.browser().sign_in("alice", phone)
    damage(host, "alice")
    browser.do(lambda me: me.sign_out())
    assert (None, None) == (browser.who(), browser.owes())


def test_signing_out_everywhere_ends_copies_too(host: Host) -> None:
    """A copy of the cookie is worth nothing afterwards, wherever the session is kept."""
    phone, _ = host.enrol("alice")
    browser, other = (host.browser().sign_in("alice", phone) for _ in range(2))
    copy = browser.copy()
    browser.do(lambda me: me.sign_out(everywhere=True))
    assert [None] * 3 == [each.who() for each in (browser, copy, other)]


def test_signing_out_everywhere_takes_being_signed_in(host: Host) -> None:
    """The password alone ends nobody's sessions; this browser is signed out all the same, also if the store is down."""
    phone, _ = host.enrol("alice")
    signed_in, owing = host.browser().sign_in("alice", phone), half(host.browser(), "alice")
    with pytest.raises(CodeRequired):
        owing.do(lambda me: me.sign_out(everywhere=True))
    assert ("alice", None) == (signed_in.who(), owing.owes())
    host.store.down = True
    with pytest.raises(StoreDown):
        signed_in.do(lambda me: me.sign_out(everywhere=True))
    host.store.down = False
    assert signed_in.who() is None


@pytest.mark.parametrize("junk", ["", "twofa", "session1.AAAAAAAA.AAAA", "é", "x" * 3000])
def test_junk_is_not_looked_up(host: Host, junk: str) -> None:
    """Whatever a client makes up in place of a state is nobody, and costs the store nothing."""
    if "bearer" in host.name:
        assert host._run(host._open(junk).user_id) is None
    else:
        browser = host.browser()
        browser.do(lambda me: me._slot._held.__setitem__("twofa", junk))
        host.store.loads = 0
        assert browser.who() is None
    assert 0 == host.store.loads


def test_a_page_reads_the_store_once(host: Host) -> None:
    """For somebody who is signed in or owes a code; a browser that is nobody costs no read."""
    phone, _ = host.enrol("alice")
    browsers = [host.browser(), half(host.browser(), "alice"), host.browser().sign_in("alice", phone)]
    counts = []
    for browser in browsers:
        host.store.loads = 0
        browser.do(lambda me: (me.user_id, me.awaiting, me.user_id and me.status, me.trusted_until))
        counts.append(host.store.loads)
    assert [0, 1, 1] == counts


# --- what else is promised -----------------------------------------------------------------------------------------


def test_a_second_click_on_confirm_locks_nobody_out(host: Host) -> None:
    """The codes were not seen, so new ones can be made at once, without a code, and the page knows that they are due."""
    browser = host.browser().sign_in("alice")
    phone = host.world.phone(browser.do(lambda me: me.begin_setup(ACCOUNT)))
    browser.do(lambda me: me.confirm_setup(phone.code()))  # the answer is not seen
    with pytest.raises(NoSetup):
        browser.do(lambda me: me.confirm_setup(phone.code()))
    status = browser.do(lambda me: me.status)
    assert (True, False) == (status.required, status.recovery_codes_acknowledged)
    assert not browser.do(lambda me: me.needs_code)
    codes = browser.do(lambda me: me.reset_recovery_codes())
    browser.do(lambda me: me.acknowledge_recovery_codes())
    assert browser.do(lambda me: me.status).recovery_codes_acknowledged
    half(browser, "alice")
    browser.do(lambda me: me.verify(codes[0]))
    assert "alice" == browser.who()
