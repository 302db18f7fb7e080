"""What an application's own tests get: a phone, a clock, a cheap policy, and fixtures to enrol a user in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import Phone as IndependentPhone

from twofa import Policy, TwoFactor, errors
from twofa.stores import SQLiteStore
from twofa.testing import FOR_TESTS_ONLY, Clock, Phone

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("policy", [Policy(), Policy(algorithm="SHA512", digits=8, period=60)])
def test_the_phone_shows_what_another_library_calculates(policy: Policy, world) -> None:
    """The phone reads a Key URI and shows the codes of pyotp, now and in other time steps."""
    setup = world.new_face(policy).begin_setup("user-42", account_name="alice")
    phone, other = Phone(setup.uri, world.clock), IndependentPhone(setup.uri, world.clock)
    for _ in range(3):
        assert [other.code(steps) for steps in (-1, 0, 1, 7)] == [phone.code(steps) for steps in (-1, 0, 1, 7)]
        world.clock.advance(policy.period)
    assert policy.period == phone.period


def test_a_wrong_code_of_the_phone_is_wrong_in_every_window(world) -> None:
    """What the phone gives as a wrong code has the right form, and is refused."""
    setup = world.begin()
    phone = Phone(setup.uri, world.clock)
    wrong = phone.wrong_code()
    assert (6, True) == (len(wrong), wrong.isdecimal())
    assert wrong not in {phone.code(steps) for steps in range(-10, 11)}
    with pytest.raises(errors.InvalidCode) as refused:
        world.face.confirm_setup("user-42", wrong, handle=setup.handle)
    assert errors.InvalidCode is refused.type


def test_a_phone_refuses_what_no_app_could_scan() -> None:
    """A text that is no Key URI is refused when it is scanned, not when a code is wanted."""
    with pytest.raises(errors.InvalidKeyUri):
        Phone("https://example.com", Clock())


def test_a_phone_hides_its_secret(world) -> None:
    """Printed by a failing test, the phone tells nothing, and the clock tells the time."""
    phone = Phone(world.begin().uri, world.clock)
    assert "Phone(<hidden>)" == repr(phone)
    assert "Clock(1800000000)" == repr(Clock())


def test_the_clock_stands_still_until_it_is_moved() -> None:
    """Time passes when the test says so, in either direction."""
    clock = Clock(1000)
    assert [1000, 1000] == [clock(), clock()]
    clock.advance(30)
    assert 1030 == clock()
    clock.advance(-60)
    assert 970 == clock()


def test_the_cheap_policy_differs_in_the_length_of_codes_alone() -> None:
    """It needs no slow hash since its codes are long, and judges attempts as the default does."""
    assert Policy(recovery_code_length=24) == FOR_TESTS_ONLY
    assert not FOR_TESTS_ONLY.slow_hashing


HOST_TEST = """
import asyncio

import pytest
from twofa import errors


def test_a_login_takes_each_code_once(two_factor, enrol, twofa_clock, twofa_events):
    phone, codes = enrol("user-42")
    code = phone.code()
    assert two_factor.verify("user-42", code).method == "totp"
    with pytest.raises(errors.CodeReused):
        two_factor.verify("user-42", code)
    with pytest.raises(errors.InvalidCode):
        two_factor.verify("user-42", phone.wrong_code())
    twofa_clock.advance(30)
    assert two_factor.verify("user-42", phone.code()).failed_before == 1
    assert two_factor.redeem_recovery_code("user-42", codes[0]).recovery_codes_remaining == 9
    assert "recovery_code_used" in [str(event.kind) for event in twofa_events]


def test_the_asynchronous_face_is_on_the_same_records(async_two_factor, enrol, twofa_events):
    phone, codes = enrol("user-42")
    assert asyncio.run(async_two_factor.verify("user-42", phone.code())).method == "totp"
    assert "code_accepted" in [str(event.kind) for event in twofa_events]


def test_each_test_starts_anew(two_factor, twofa_events):
    assert not two_factor.status("user-42").required
    assert twofa_events == []
"""


def test_the_fixtures_serve_a_host(pytester: pytest.Pytester) -> None:
    """A host that names the module in its conftest enrols a user in one line."""
    pytester.makeconftest('pytest_plugins = ["twofa.testing.fixtures"]')
    pytester.makepyfile(HOST_TEST)
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=3)


def test_a_host_puts_its_own_store_under_the_fixtures(pytester: pytest.Pytester) -> None:
    """The store of the fixtures is one that a host overrides."""
    pytester.makeconftest(
        "import pytest\n"
        "from twofa.stores import SQLiteStore\n"
        'pytest_plugins = ["twofa.testing.fixtures"]\n'
        "@pytest.fixture\n"
        "def twofa_store(tmp_path):\n"
        '    with SQLiteStore(tmp_path / "app.db") as store:\n'
        "        yield store\n"
    )
    pytester.makepyfile(
        HOST_TEST,
        test_store="def test_it_is_there(twofa_store, enrol):\n"
        "    enrol('user-42')\n"
        "    assert [event.kind for event in twofa_store.events('user-42')]\n",
    )
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=4)


def test_a_failing_law_says_what_is_wrong(pytester: pytest.Pytester) -> None:
    """Who writes a store reads what it did wrong, and the law that it broke, in a sentence each."""
    pytester.makepyfile(
        "from twofa.stores import MemoryStore\n"
        "from twofa.testing import StoreConformance\n"
        "class Forgetful(MemoryStore):\n"
        "    def load(self, user_id):\n"
        "        return None\n"
        "class TestForgetful(StoreConformance):\n"
        "    def make_store(self):\n"
        "        return Forgetful()\n"
        "    def make_peer(self, store):\n"
        "        return store\n"
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-k", "only_an_absent")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*A creator loses against a record that is there*",
            "E   *load('user-42') returned None (no record) instead of the record with 'document 1'*must not change*",
        ]
    )


def test_the_face_works_on_a_file_too(tmp_path: Path) -> None:
    """What the fixtures put together can be put together by hand."""
    from twofa import KeyRing

    clock = Clock()
    with SQLiteStore(tmp_path / "app.db") as store:
        two_factor = TwoFactor(store, keys=KeyRing(KeyRing.generate_key()), issuer="Example", clock=clock)
        setup = two_factor.begin_setup("user-42", account_name="alice")
        assert 10 == len(two_factor.confirm_setup("user-42", Phone(setup.uri, clock).code(), handle=setup.handle))
