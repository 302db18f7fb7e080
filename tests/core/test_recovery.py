"""Recovery codes: made without bias, read with goodwill and no guesswork, hashed as other implementations do."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

import argon2.low_level as reference
import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf import argon2
from hypothesis import given
from hypothesis import strategies as st
from support import USER, World

from twofa import Argon2id, ByRecoveryCode, Policy, Scrypt
from twofa import _entropy as entropy
from twofa._hidden import Hidden
from twofa._record.recovery import (
    ALPHABET,
    LONGEST_INPUT,
    NewCodes,
    Scheme,
    check_available,
    hash_at,
    pack,
    read_recovery_code,
    salt_at,
    written,
)
from twofa.errors import CodeReused, InvalidCode, MalformedCode, PolicyError, Throttled, UnsupportedRecord

if TYPE_CHECKING:
    from collections.abc import Callable

CODE = "7KQXM4TZN8BW2HJV"
SPACES = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
DASHES = "-\xad\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"


def _read(typed: str, length: int = 16) -> str | None:
    read = read_recovery_code(Hidden(typed), length)
    return None if read is None else read.value


# --- reading -------------------------------------------------------------------------------------------------------

READABLE = [
    "7KQX-M4TZ-N8BW-2HJV",
    "7kqx-m4tz-n8bw-2hjv",
    "7KQXM4TZN8BW2HJV",
    "  7KQX M4TZ\tN8BW\n2HJV\r\n",
    "7KQX\u00a0M4TZ\u202fN8BW\u30002HJV",
    "7KQX\u2011M4TZ\u2013N8BW\u22122HJV",
    "7KQX\u00adM4TZ\uff0dN8BW\u20142HJV",
    "7-K-Q-X-M-4-T-Z-N-8-B-W-2-H-J-V",
    "-7KQXM4TZN8BW2HJV-",
]
UNREADABLE = [
    "",
    " ",
    "----",
    "7KQX-M4TZ-N8BW-2HJ",
    "7KQX-M4TZ-N8BW-2HJVX",
    "7KQX-M4TZ-N8BW-2HJU",
    "7KQX_M4TZ_N8BW_2HJV",
    "7KQX.M4TZ.N8BW.2HJV",
    "7KQX-M4TZ-N8BW-2HJV\0",
    "7KQX-M4TZ-N8BW-2HJ\0",
    "7KQX-M4TZ-N8BW-2HJ\u00df",
    "7KQX-M4TZ-N8BW-2H\u00df",
    "7KQX-M4TZ-N8BW-2HJ\u0131",
    "7KQX-M4TZ-N8BW-2HJ\u017f",
    "7KQX-M4TZ-N8BW-2HJ\u212a",
    "7KQX-M4TZ-N8BW-2HJ\uff36",
    "7KQX-M4TZ-N8BW-2HJ\u0667",
    "7KQX-M4TZ-N8BW-2HJV\u200b",
    "\ufeff7KQX-M4TZ-N8BW-2HJV",
    "7KQX-M4TZ-N8BW-2HJ\ud800",
    "7KQX-M4TZ-N8BW-2HJ\U0001f511",
    "123456",
]


@pytest.mark.parametrize("typed", READABLE)
def test_case_and_separators_do_not_matter(typed: str) -> None:
    """However it is grouped and whatever its case, the same code is read."""
    assert CODE == _read(typed)


@pytest.mark.parametrize("typed", UNREADABLE, ids=ascii)
def test_anything_else_is_no_code(typed: str) -> None:
    """A wrong length, a U, punctuation, NUL, and every letter or digit outside ASCII is refused."""
    assert _read(typed) is None


@pytest.mark.parametrize(("typed", "meant"), [("O", "0"), ("o", "0"), ("I", "1"), ("i", "1"), ("L", "1"), ("l", "1")])
def test_what_looks_like_a_digit_is_one(typed: str, meant: str) -> None:
    """O reads as 0, I and L as 1, in both cases and at any place."""
    assert meant * 16 == _read(typed * 16)


def test_exactly_these_characters_are_symbols() -> None:
    """Of all characters of the basic plane 67 are read as a symbol: the alphabet in both cases, and the look-alikes."""
    prefix = CODE[:-1]
    read = {symbol for symbol in map(chr, range(0x10000)) if _read(prefix + symbol)}

    assert set(ALPHABET + ALPHABET.lower() + "OILoil") == read


def test_exactly_these_characters_are_separators() -> None:
    """Of all characters of the basic plane only white space and hyphens are passed over."""
    passed_over = {symbol for symbol in map(chr, range(0x10000)) if _read(CODE + symbol)}

    assert set(SPACES + DASHES) == passed_over


def test_raw_input_is_capped_before_it_is_looked_at() -> None:
    """ASVS 5.0 2.2.1: 64 characters are read, separators included; one more is refused whatever it is."""
    assert CODE == _read(CODE.ljust(LONGEST_INPUT))
    assert _read(CODE.ljust(LONGEST_INPUT + 1)) is None
    assert _read(CODE * 100_000) is None


@given(
    st.integers(14, 32).flatmap(lambda length: st.text(ALPHABET, min_size=length, max_size=length)),
    st.sampled_from([str.upper, str.lower, str.swapcase]),
    st.sampled_from(SPACES + DASHES),
)
def test_what_is_written_can_be_read(code: str, case: Callable[[str], str], separator: str) -> None:
    """Whatever its length, a code as it is shown reads back as itself, with any one separator in either case."""
    shown = written(Hidden(code))

    assert all(1 <= len(group) <= 4 for group in shown.split("-"))
    assert len(shown) <= LONGEST_INPUT
    assert code == _read(case(shown).replace("-", separator), len(code))


# --- making --------------------------------------------------------------------------------------------------------


def test_the_alphabet_is_crockfords() -> None:
    """Thirty-two symbols: ten digits and the letters without I, L, O and U."""
    assert 32 == len(set(ALPHABET)) == len(ALPHABET)
    assert sorted(ALPHABET) == list(ALPHABET)
    assert set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") - set("ILOU") == set(ALPHABET)


@pytest.mark.parametrize("count", [1, 2, 10, 32])
def test_slots_are_distinct(count: int) -> None:
    """Each code of a set begins with a symbol of its own, up to the largest set."""
    new = NewCodes.draw(Policy(recovery_codes=count))

    assert ALPHABET[:count] == new.slots == "".join(code[0] for code in new.written())


@pytest.mark.parametrize("length", [14, 16, 23, 24, 32])
def test_codes_have_the_length_that_the_policy_wants(length: int) -> None:
    """Every code is as long as asked for, and readable."""
    for code in NewCodes.draw(Policy(recovery_code_length=length)).written():
        assert length == len(_read(code, length) or "")


def test_no_symbol_is_more_likely() -> None:
    """Of the 256 values of a random byte exactly eight become each symbol."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entropy, "random_bytes", lambda count: bytes(range(256))[:count].ljust(count, b"\0"))
        new = NewCodes.draw(Policy(recovery_codes=16, recovery_code_length=17))
    symbols = "".join(code.value[1:] for code in new.codes)

    assert dict.fromkeys(ALPHABET, 8) == {symbol: symbols.count(symbol) for symbol in ALPHABET}


def test_symbols_are_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chi-square over a hundred thousand seeded symbols stays below the 99.9 % quantile for 31 degrees."""
    monkeypatch.setattr(entropy, "random_bytes", random.Random(20_270_115).randbytes)
    policy = Policy(recovery_codes=32, recovery_code_length=32)
    symbols = "".join(code.value[1:] for _ in range(101) for code in NewCodes.draw(policy).codes)
    expected = len(symbols) / 32

    assert 100_000 <= len(symbols)
    assert 61.1 > sum((symbols.count(symbol) - expected) ** 2 / expected for symbol in ALPHABET)


def test_every_code_and_salt_is_its_own() -> None:
    """Over two sets no code and no salt comes twice, and each salt has 16 bytes."""
    sets = [NewCodes.draw(Policy(recovery_codes=32)) for _ in range(2)]
    salts = [salt for new in sets for salt in new.salts]

    assert 64 == len({code[1:] for new in sets for code in new.written()}) == len(set(salts))
    assert {16} == set(map(len, salts))


def test_new_codes_hide_themselves() -> None:
    """P11: the repr of a drawn set and of its codes shows none of them."""
    new = NewCodes.draw(Policy())

    assert "(" + "<hidden>, " * 9 + "<hidden>)" == repr(new.codes)
    assert not any(code.value in repr(new) for code in new.codes)


# --- hashing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "scheme", "slow"),
    [
        (Policy(), Scheme("argon2id", (19_456, 2)), True),
        (Policy(hashing=Argon2id(memory_kib=65_536, iterations=3)), Scheme("argon2id", (65_536, 3)), True),
        (Policy(hashing=Scrypt(n=2**16, p=2)), Scheme("scrypt", (2**16, 8, 2)), True),
        (Policy(recovery_code_length=23), Scheme("argon2id", (19_456, 2)), True),
        (Policy(recovery_code_length=24), Scheme("sha256", ()), False),
        (Policy(recovery_code_length=24, hashing=Scrypt()), Scheme("sha256", ()), False),
    ],
)
def test_the_policy_names_the_scheme(policy: Policy, scheme: Scheme, slow: bool) -> None:
    """Short codes get the policy's slow hash, long ones SHA-256; and what is written reads back."""
    assert scheme == Scheme.of(policy)
    assert slow is scheme.slow
    assert scheme == Scheme.read(str(scheme))


@pytest.mark.parametrize(("memory", "iterations"), [(19_456, 2), (12_288, 3), (47_104, 1)])
def test_argon2id_is_the_reference_implementations(memory: int, iterations: int) -> None:
    """`argon2-cffi`, which binds the reference implementation of RFC 9106, makes the same hash."""
    salt = bytes(range(16))

    assert reference.hash_secret_raw(
        CODE.encode(), salt, iterations, memory, 1, hash_len=32, type=reference.Type.ID
    ) == Scheme("argon2id", (memory, iterations)).digest(salt, Hidden(CODE))


@pytest.mark.parametrize(("n", "r", "p"), [(2**17, 8, 1), (2**15, 8, 3), (16, 9, 2)])
def test_scrypt_is_the_standard_librarys(n: int, r: int, p: int) -> None:
    """`hashlib` makes the same hash by RFC 7914."""
    salt = bytes(range(16))

    assert hashlib.scrypt(CODE.encode(), salt=salt, n=n, r=r, p=p, maxmem=2**28, dklen=32) == Scheme(
        "scrypt", (n, r, p)
    ).digest(salt, Hidden(CODE))


def test_the_fast_hash_is_salted_sha256() -> None:
    """`hashlib` makes the same hash of the salt followed by the code."""
    salt = bytes(range(16))

    assert hashlib.sha256(salt + CODE.encode()).digest() == Scheme("sha256", ()).digest(salt, Hidden(CODE))


def test_packed_rows_come_back() -> None:
    """Each place gives the salt and the hash that were packed there, in 64 characters of base64 a row."""
    salts = tuple(bytes([place]) * 16 for place in range(3))
    digests = [bytes([place + 100]) * 32 for place in range(3)]
    packed = pack(salts, digests)

    assert 3 * 64 == len(packed)
    assert list(zip(salts, digests, strict=True)) == [
        (salt_at(packed, index), hash_at(packed, index)) for index in range(3)
    ]


def test_a_row_without_its_hash_is_never_packed() -> None:
    """Salts and hashes that do not pair up are refused rather than cut."""
    with pytest.raises(ValueError, match="zip"):
        pack((bytes(16), bytes(16)), [bytes(32)])


def test_a_build_without_argon2id_is_noticed_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where OpenSSL lacks Argon2id the application does not start with it, and is told of `Scrypt`."""

    def lacking(**_parameters: object) -> None:
        raise UnsupportedAlgorithm("This version of OpenSSL does not support argon2id")

    check_available(Argon2id())
    monkeypatch.setattr(argon2, "Argon2id", lacking)

    with pytest.raises(PolicyError, match=r"pass Policy\(hashing=Scrypt\(\)\)"):
        World("blocking")
    World("blocking", policy=Policy(hashing=Scrypt()))


# --- what an attempt costs -----------------------------------------------------------------------------------------


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The schemes of the hashes that are computed from here on."""
    calls: list[str] = []
    digest = Scheme.digest

    def counting(scheme: Scheme, salt: bytes, code: Hidden) -> bytes:
        calls.append(scheme.name)
        return digest(scheme, salt, code)

    monkeypatch.setattr(Scheme, "digest", counting)
    return calls


def _other(code: str) -> str:
    """Return a code of the same slot that is not this one."""
    return code[:-1] + ("0" if code[-1] != "0" else "1")


SLOW = Policy(recovery_codes=4)


def test_an_attempt_costs_one_slow_hash_at_most(hashed: list[str]) -> None:
    """P10: hit, miss and reuse cost one hash; a slot that the set does not have, junk and a wait cost none."""
    world = World("blocking", policy=SLOW)
    _, codes = world.enrol()
    costs = []

    def cost(code: str, outcome: type[Exception] | None = None) -> None:
        hashed.clear()
        if outcome is None:
            world.face.redeem_recovery_code(USER, code)
        else:
            with pytest.raises(outcome) as refusal:
                world.face.redeem_recovery_code(USER, code)
            assert outcome is refusal.type
        costs.append(len(hashed))

    cost(_other(codes[0]), InvalidCode)
    cost(codes[0])
    cost(codes[0], CodeReused)
    cost(_other(codes[0]), InvalidCode)
    cost("Z" + codes[0][1:], InvalidCode)
    cost("junk", MalformedCode)
    cost(_other(codes[1]), InvalidCode)
    cost(_other(codes[2]), InvalidCode)
    cost(codes[1], Throttled)

    assert [1, 1, 1, 1, 0, 0, 1, 1, 0] == costs


def test_a_set_costs_one_hash_a_code(hashed: list[str]) -> None:
    """A confirmed set-up hashes each new code once; a TOTP login hashes nothing."""
    world = World("blocking", policy=SLOW)
    phone, _ = world.enrol()
    assert ["argon2id"] * 4 == hashed

    hashed.clear()
    world.login(phone)
    assert [] == hashed


def test_a_proof_by_a_wrong_recovery_code_hashes_no_new_set(hashed: list[str]) -> None:
    """A wrong recovery code as a proof costs its one hash, a right one that and the new set."""
    world = World("blocking", policy=SLOW)
    _, codes = world.enrol()

    hashed.clear()
    with pytest.raises(InvalidCode):
        world.face.reset_recovery_codes(USER, proof=ByRecoveryCode(_other(codes[0])))
    assert ["argon2id"] == hashed

    hashed.clear()
    world.face.reset_recovery_codes(USER, proof=ByRecoveryCode(codes[0]))
    assert ["argon2id"] * 5 == hashed


def test_a_scheme_of_a_newer_version_is_refused() -> None:
    """A set that is hashed in a way that this version does not know is refused, before anything is counted."""
    with pytest.raises(UnsupportedRecord, match="hashed with 'argon3': upgrade"):
        Scheme.read("argon3:1")
