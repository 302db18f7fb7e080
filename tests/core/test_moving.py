"""Users who come from another library: their app, their recovery codes in any alphabet, and the way out again."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pyotp
import pytest
from support import ACCOUNT, USER, World

from twofa import ByCode, ByRecoveryCode, Policy, Vouched
from twofa._hidden import Hidden
from twofa._record import recovery
from twofa._record.imported_codes import ImportedCodes, read_imported_code
from twofa.errors import (
    AlreadyEnrolled,
    CodeReused,
    InvalidCode,
    InvalidSecret,
    MalformedCode,
    NotEnrolled,
    PolicyError,
    RecoveryCodesExhausted,
    Throttled,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = bytes(range(20))
WORD = {"by": "ops:carol", "reason": "moved from elsewhere"}
CODES = ("abcd-2345", "efgh-6789", "jkmn-2468")
SLOW = Policy(recovery_codes=2)


class OldTOTP(pyotp.TOTP):
    """pyotp's, as it was when it made secrets of 16 characters."""

    min_secret_length_bits = 80


def app(secret: bytes = SECRET, **parameters: Any) -> OldTOTP:
    """Return the user's app."""
    return OldTOTP(base64.b32encode(secret).decode().rstrip("="), **parameters)


def move(world: World, secret: bytes | str = SECRET, **options: Any) -> str:
    """Import a user."""
    return world.face.import_authenticator(USER, secret, **{**WORD, **options})


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is hashed slowly from here on, by the name of the scheme; nothing takes long."""
    done: list[str] = []

    class Fast:
        def __init__(self, salt: bytes) -> None:
            self._salt = salt

        def derive(self, code: bytes) -> bytes:
            done.append("argon2id")
            return recovery.Scheme.fast().digest(self._salt, Hidden(code.decode()))

    monkeypatch.setattr(recovery, "_argon2id", lambda salt, *_: Fast(salt))
    return done


# --- the app -------------------------------------------------------------------------------------------------------


def test_the_same_app_signs_in(world: World) -> None:
    """It is active at once, under a new generation, and no code is spent."""
    generation = move(world)

    status = world.face.status(USER)
    assert ("active", True, generation) == (status.state, status.required, status.generation)
    assert (None, 0, False) == (status.last_used_at, status.recovery_codes_remaining, status.short_secret)
    assert "totp" == world.face.verify(USER, app().at(world.clock.now)).method
    assert world.clock.now == world.face.status(USER).last_used_at.timestamp()


@pytest.mark.parametrize(("length", "short"), [(10, True), (15, True), (16, False), (20, False), (128, False)])
def test_secrets_from_ten_bytes(length: int, short: bool, world: World) -> None:
    """What is too short for a new secret is taken here, and the status says so, for as long as it is in use."""
    secret = bytes(range(length))
    move(world, secret)

    assert "totp" == world.face.verify(USER, app(secret).at(world.clock.now)).method
    assert short is world.face.status(USER).short_secret
    world.face.disable(USER, proof=Vouched(**WORD))
    assert not world.face.status(USER).short_secret


@pytest.mark.parametrize("length", [0, 9, 129])
def test_secrets_of_other_lengths(length: int, world: World) -> None:
    """Below 80 bits, and beyond what HMAC takes, there is nothing to import."""
    with pytest.raises(InvalidSecret, match=rf"10 to 128 bytes.*{length} bytes"):
        move(world, bytes(length))
    assert world.record() is None


def test_a_short_secret_is_taken_nowhere_else(world: World) -> None:
    """Neither the calculator nor the Key URI takes what only an import does."""
    from twofa import TOTP

    move(world, SECRET[:10])
    exported = world.face.export_authenticator(USER, account_name=ACCOUNT, **WORD)

    with pytest.raises(InvalidSecret, match="RFC 4226"):
        TOTP(exported.secret)
    with pytest.raises(InvalidSecret):
        TOTP.from_uri(exported.uri)


@pytest.mark.parametrize(
    "spelled",
    [
        "JBSWY3DPEHPK3PXPJBSWY3DPEE======",
        "jbswy3dpehpk3pxpjbswy3dpee",
        " JBSW Y3DP-EHPK 3PXP JBSW Y3DP EE\n",
        "JBSWY3DPEHPK3PXPJBSWY3DPEH",  # stray bits at its end, as apps read it
    ],
)
def test_odd_spellings_of_base32(spelled: str, world: World) -> None:
    """However a library has written it down, it is the same secret."""
    move(world, spelled)

    phone = OldTOTP("JBSWY3DPEHPK3PXPJBSWY3DPEE")
    assert "totp" == world.face.verify(USER, phone.at(world.clock.now)).method


@pytest.mark.parametrize(
    ("algorithm", "digest", "digits", "period"),
    [("SHA1", "sha1", 6, 60), ("SHA256", "sha256", 8, 30), ("SHA512", "sha512", 7, 120)],
)
def test_parameters_come_along(algorithm: Any, digest: str, digits: int, period: int, world: World) -> None:
    """They stay with the user, whatever the policy says for new ones."""
    import hashlib

    move(world, algorithm=algorithm, digits=digits, period=period)

    phone = app(digits=digits, interval=period, digest=getattr(hashlib, digest))
    assert "totp" == world.face.verify(USER, phone.at(world.clock.now)).method
    status = world.face.status(USER)
    assert (algorithm, digits, period) == (status.algorithm, status.digits, status.period)


@pytest.mark.parametrize("wrong", [{"digits": 5}, {"period": 121}, {"algorithm": "MD5"}])
def test_parameters_that_no_app_has(wrong: dict[str, Any], world: World) -> None:
    """What `TOTP` refuses is refused here too."""
    with pytest.raises(PolicyError):
        move(world, **wrong)


def test_a_code_that_was_used_elsewhere_is_not_used_here(world: World) -> None:
    """P1: with the last accepted step, neither its code nor an earlier one serves, and the next one does."""
    step = world.clock.now // 30
    move(world, last_step=step)

    with pytest.raises(CodeReused):
        world.face.verify(USER, app().at(world.clock.now))
    with pytest.raises(InvalidCode):
        world.face.verify(USER, app().at(world.clock.now - 30))
    assert "totp" == world.face.verify(USER, app().at(world.clock.now + 30)).method


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"last_step": 1 << 40}, ValueError, "at most a day in the future"),
        ({"last_step": -2}, ValueError, "last_step"),
        ({"last_step": "1"}, TypeError, "whole number"),
        ({"last_step": True}, TypeError, "whole number"),
        ({"confirmed_at": datetime(2027, 1, 1)}, ValueError, "time zone"),
        ({"confirmed_at": datetime(2027, 1, 15, 8, 2, tzinfo=UTC)}, ValueError, "between 1970 and now"),
        ({"confirmed_at": datetime(1969, 1, 1, tzinfo=UTC)}, ValueError, "between 1970 and now"),
        ({"by": ""}, ValueError, "Vouched needs by"),
        ({"reason": 5}, TypeError, "Vouched needs reason"),
        ({"recovery_codes": "12345678"}, TypeError, "list or tuple of str, not str"),
        ({"recovery_codes": [12345678]}, TypeError, "each of recovery_codes must be str, not int"),
        ({"recovery_codes": ["12345"]}, ValueError, "recovery code 1 must have at least 6"),
        ({"recovery_codes": ["123456", "1" * 65]}, ValueError, "recovery code 2 must have .* at most 64"),
        ({"recovery_codes": ["abcdef", " abc-def "]}, ValueError, "recovery code 2 is the same"),
        ({"recovery_codes": [f"{number:06}" for number in range(33)]}, ValueError, "at most 32"),
        ({"secret": 12345678}, TypeError, "a secret is bytes"),
    ],
)
def test_what_cannot_be_imported(wrong: dict[str, Any], error: type[Exception], message: str, world: World) -> None:
    """Every argument is checked before anything is read, and no message contains a secret."""
    with pytest.raises(error, match=message):
        move(world, **wrong)
    assert world.record() is None


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, 1_800_000_000),
        (datetime(2020, 2, 29, 12, tzinfo=timezone(timedelta(hours=2))), 1_582_970_400),
        (datetime(2027, 1, 15, 8, 0, 59, tzinfo=UTC), 1_800_000_000),  # a clock that is a little ahead
    ],
)
def test_when_it_was_confirmed(given: datetime | None, seconds: int, world: World) -> None:
    """The date comes along; now, if nobody knows."""
    move(world, confirmed_at=given)

    assert seconds == world.face.status(USER).confirmed_at.timestamp()


def test_what_was_pending_dies(world: World) -> None:
    """A set-up that the user began here ends with the import."""
    setup = world.begin()
    move(world)

    assert world.face.status(USER).setup_expires_at is None
    with pytest.raises(Exception, match="no set-up"):
        world.face.confirm_setup(USER, world.phone(setup).code(), handle=setup.handle)


@pytest.mark.parametrize("state", ["active", "imported", "reenrol"])
def test_an_import_never_replaces_anything(state: str, world: World) -> None:
    """Whoever is enrolled stays as they are, so that a move can be run again."""
    if state == "imported":
        move(world)
    else:
        world.enrol()
    if state == "reenrol":
        world.face.reset_authenticator(USER, account_name=ACCOUNT, proof=Vouched(**WORD))
    before = world.record()

    with pytest.raises(AlreadyEnrolled):
        move(world, recovery_codes=CODES)
    assert before == world.record()


def test_the_word_is_on_record(world: World) -> None:
    """Who moved the user, why, and what came along."""
    move(world, SECRET[:10], recovery_codes=["0123456789abcdef0123456789abcdef"], source="a script")

    event = world.events[-1]
    assert ("authenticator_imported", "a script") == (event.kind, event.source)
    assert {"recovery_codes": 1, "short_secret": True, "proof": "vouched", **WORD} == event.detail
    assert [event] == list(world.store.events(USER))  # type: ignore[attr-defined]


# --- recovery codes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codes", "typed"),
    [
        (("12345678", "23456789"), " 1234 5678"),
        (("abcd2345", "bcde3456"), "ABCD-2345"),
        (("ABCDE-FGHJK", "BCDEF-GHJKM"), "abcdefghjk"),
        (("AbCdEf12", "bCdEfG23"), "AbCdEf12"),
        (("пароль12", "парочка3"), "ПАРОЛЬ12"),
        (("１２３４５６７８", "23456789"), "12345678"),
        (("a1_b2.c3!", "d4_e5.f6!"), "A1_B2.C3!"),
        (("correct horse battery", "staple horse correct"), "correct horse battery"),
    ],
)
def test_any_alphabet(codes: tuple[str, ...], typed: str, world: World, hashed: list[str]) -> None:
    """Digits, hex, words, two cases, other scripts: each printed code works once, however it is typed."""
    world.face = world.new_face(SLOW)
    move(world, recovery_codes=codes)

    assert 1 == world.face.redeem_recovery_code(USER, typed).recovery_codes_remaining
    with pytest.raises(InvalidCode):
        world.face.redeem_recovery_code(USER, typed)
    assert 0 == world.face.redeem_recovery_code(USER, codes[1]).recovery_codes_remaining
    with pytest.raises(RecoveryCodesExhausted):
        world.face.redeem_recovery_code(USER, codes[1])
    assert "argon2id" in hashed


def test_without_recovery_codes_the_app_is_the_only_way_in(world: World) -> None:
    """P14: who was moved without any recovery codes keeps the old app until there is another way in."""
    move(world)

    with pytest.raises(RecoveryCodesExhausted):
        world.face.reset_authenticator(USER, account_name=ACCOUNT, proof=ByCode(app().at(world.clock.now)))
    assert "active" == world.face.status(USER).state


def test_case_matters_where_the_codes_mix_it(world: World) -> None:
    """Of a set with both cases nobody knows whether the old library looked at case, so this one does."""
    move(world, recovery_codes=["AbCdEf12", "bCdEfG23"])

    with pytest.raises(InvalidCode):
        world.face.redeem_recovery_code(USER, "abcdef12")


@pytest.mark.parametrize("typed", ["", "-", "123", "1234567890", "x" * 65, "\ufdfa" * 60])
def test_what_cannot_be_a_code(typed: str, world: World, hashed: list[str]) -> None:
    """P10: what has another length than every code costs no hash and is not counted."""
    move(world, recovery_codes=["12345678", "23456789"])
    del hashed[:]
    before = world.record()

    with pytest.raises(MalformedCode):
        world.face.redeem_recovery_code(USER, typed)
    assert [] == hashed
    assert before == world.record()


def test_codes_of_different_lengths(world: World, hashed: list[str]) -> None:
    """Then any length may be one."""
    move(world, recovery_codes=["123456", "12345678"])

    assert 1 == world.face.redeem_recovery_code(USER, "123456").recovery_codes_remaining
    with pytest.raises(InvalidCode):
        world.face.redeem_recovery_code(USER, "1234567")


def test_an_attempt_costs_a_hash_for_each_code_that_is_left(world: World, hashed: list[str]) -> None:
    """They have no slot, so a wrong code is compared with all; a right one with those before it; a spent one with none."""
    world.face = world.new_face(SLOW)
    move(world, recovery_codes=CODES)
    assert 3 == len(hashed)

    def cost(call: Callable[[], object]) -> int:
        del hashed[:]
        call()
        return len(hashed)

    def wrong() -> None:
        with pytest.raises(InvalidCode):
            world.face.redeem_recovery_code(USER, "zzzz-2345")

    assert 3 == cost(wrong)
    assert 2 == cost(lambda: world.face.redeem_recovery_code(USER, CODES[1]))
    assert 2 == cost(wrong)
    assert 1 == cost(lambda: world.face.redeem_recovery_code(USER, CODES[0]))
    assert 1 == cost(wrong)


def test_an_attempt_counts_as_one(world: World) -> None:
    """The throttle counts attempts, not comparisons: the fifth wrong code starts the first wait."""
    move(world, recovery_codes=CODES)
    for _ in range(4):
        with pytest.raises(InvalidCode) as refusal:
            world.face.redeem_recovery_code(USER, "zzzz-2345")
        assert refusal.value.retry_at is None
    with pytest.raises(InvalidCode) as refusal:
        world.face.redeem_recovery_code(USER, "zzzz-2345")
    assert refusal.value.retry_at is not None
    with pytest.raises(Throttled):
        world.face.redeem_recovery_code(USER, CODES[0])
    assert 5 == world.face.status(USER).failures
    world.clock.advance(30)
    assert 2 == world.face.redeem_recovery_code(USER, CODES[0]).recovery_codes_remaining


def test_they_end_with_the_next_set(world: World) -> None:
    """P7: after any new set the imported codes are dead."""
    move(world, recovery_codes=CODES)
    new = world.face.reset_recovery_codes(USER, proof=ByRecoveryCode(CODES[2]))

    with pytest.raises(InvalidCode):
        world.face.redeem_recovery_code(USER, CODES[0])
    assert 9 == world.face.redeem_recovery_code(USER, new[0]).recovery_codes_remaining


def test_the_user_is_known_to_hold_them(world: World) -> None:
    """Codes that somebody printed elsewhere need no acknowledgement, and are a way back in."""
    move(world, recovery_codes=CODES)

    assert world.face.status(USER).recovery_codes_acknowledged
    assert world.face.reset_authenticator(USER, account_name=ACCOUNT, proof=ByRecoveryCode(CODES[0])).uri


@pytest.mark.parametrize("count", [1, 2, 32])
def test_as_many_as_a_set_of_our_own(count: int, world: World) -> None:
    """Up to 32 codes come along, and the last of them works."""
    codes = [f"{number:024x}{number:010}" for number in range(count)]
    move(world, recovery_codes=codes)

    assert count - 1 == world.face.redeem_recovery_code(USER, codes[-1]).recovery_codes_remaining


@pytest.mark.parametrize(
    ("codes", "fast"),
    [
        (["0123456789abcdef0123456789abcdef"], True),
        (["0123456789abcdef0123456789ab"], True),  # 112 bits
        (["0123456789abcdef0123456789a"], False),
        (["12345678", "0123456789abcdef0123456789abcdef"], False),
        (["0123456789" * 4], True),
        (["0123456789" * 3], False),
        (["abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"], False),  # letters may be words
        (["1111111111111111111111111111111111111111"], False),
        ([], False),
    ],
)
def test_long_random_codes_are_hashed_fast(codes: list[str], fast: bool) -> None:
    """NIST SP 800-63B-4 §3.1.2.2: from 112 bits on, by what can be told from the codes alone."""
    imported = ImportedCodes.checked([Hidden(code) for code in codes], Policy())

    assert ("sha256" if fast else "argon2id") == imported.codes.scheme.name


def test_how_a_code_is_read() -> None:
    """Spaces, hyphens and width go; case goes where it does not matter; other marks stay."""
    read = read_imported_code(Hidden(" Ａｂ\u2011c\u00a0d_1 "), 0, any_case=True)
    exact = read_imported_code(Hidden(" Ab-cd_1 "), 6, any_case=False)

    assert read is not None
    assert exact is not None
    assert ("abcd_1", "Abcd_1") == (read.value, exact.value)
    assert read_imported_code(Hidden("Abcd_1"), 5, any_case=False) is None


@pytest.mark.parametrize(
    ("codes", "typed", "method"),
    [
        (("12345678", "23456789"), "12345678", "recovery_code"),
        (("123456", "234567"), "123456", "totp"),
        (("abc234", "bcd345"), "abc234", "recovery_code"),
        (("abcdefghij", "bcdefghijk"), "abcdefghij", "recovery_code"),
    ],
)
def test_one_field_for_both(codes: tuple[str, ...], typed: str, method: str, world: World) -> None:
    """A short imported code is known by not being one that the app would show; what looks like one is taken for one."""
    move(world, recovery_codes=codes)

    if method == "totp":
        with pytest.raises(InvalidCode):
            world.face.authenticate(USER, typed)
        assert "totp" == world.events[-1].detail["method"]
    else:
        assert "recovery_code" == world.face.authenticate(USER, typed).method
    assert "totp" == world.face.authenticate(USER, app().at(world.clock.now)).method


def test_one_field_without_an_app(world: World) -> None:
    """Where there is no app, every short code is a recovery code."""
    move(world, recovery_codes=["123456", "234567"])
    world.face.reset_authenticator(USER, account_name=ACCOUNT, proof=Vouched(**WORD))

    assert "recovery_code" == world.face.authenticate(USER, "123456").method


# --- the way out ---------------------------------------------------------------------------------------------------


def test_an_export_is_all_that_another_library_needs(world: World) -> None:
    """The Key URI, the secret, and what was used already; the account stays as it is, but for the record of it."""
    phone, _ = world.enrol()
    world.login(phone)
    before = world.face.status(USER)

    exported = world.face.export_authenticator(USER, account_name=ACCOUNT, source="192.0.2.1", **WORD)

    elsewhere = pyotp.parse_uri(exported.uri)
    assert phone.code() == elsewhere.at(world.clock.now)  # type: ignore[attr-defined]
    assert ("Example", ACCOUNT) == (elsewhere.issuer, elsewhere.name)
    assert exported.secret == base64.b32decode(phone.secret)
    assert ("SHA1", 6, 30) == (exported.algorithm, exported.digits, exported.period)
    assert (world.clock.now - 30) // 30 == exported.last_step
    assert before == world.face.status(USER)
    event = world.events[-1]
    assert ("authenticator_exported", "192.0.2.1") == (event.kind, event.source)
    assert {"proof": "vouched", **WORD} == event.detail


def test_an_export_comes_back(world: World) -> None:
    """What was exported can be imported, with the last step, so that no code works in both places."""
    phone, _ = world.enrol()
    code = phone.code()
    world.face.verify(USER, code)
    exported = world.face.export_authenticator(USER, account_name=ACCOUNT, issuer="Other", **WORD)

    world.face.import_authenticator("another", exported.secret, last_step=exported.last_step, **WORD)

    with pytest.raises(CodeReused):
        world.face.verify("another", code)
    assert "Other" in exported.uri


def test_nobody_exports_without_a_word(world: World) -> None:
    """Where there is nothing to export, or no word, nothing is shown and nothing written."""
    with pytest.raises(NotEnrolled):
        world.face.export_authenticator(USER, account_name=ACCOUNT, **WORD)
    world.enrol()
    before = world.record()
    with pytest.raises(ValueError, match="Vouched needs reason"):
        world.face.export_authenticator(USER, account_name=ACCOUNT, by="carol", reason=" ")
    assert before == world.record()


def test_without_codes_nothing_is_hashed(world: World, hashed: list[str]) -> None:
    """An import of an app alone is one read and one write."""
    world.face = world.new_face(SLOW)
    loads, writes = world.store.loads, world.store.writes  # type: ignore[attr-defined]
    move(world)

    assert [] == hashed
    assert (loads + 1, writes + 1) == (world.store.loads, world.store.writes)  # type: ignore[attr-defined]
