"""RFC 4226 and 6238: the published codes, every edge of secret, code and time, and independent implementations."""

from __future__ import annotations

import base64
import copy
import hashlib
import math
import pickle
import re
import shutil
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from typing import Any, cast
from zoneinfo import ZoneInfo

import pyotp
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.twofactor import totp as cryptography_totp
from hypothesis import given, settings
from hypothesis import strategies as st
from leaks import frames, shown
from not_tested import not_here

from twofa import TOTP, hotp, otp
from twofa import _entropy as entropy
from twofa.errors import InvalidSecret, PolicyError
from twofa.otp import read_code

KEYS = {"SHA1": b"12345678901234567890", "SHA256": b"1234567890" * 3 + b"12", "SHA512": b"1234567890" * 6 + b"1234"}
"""The seeds of RFC 6238 appendix A's program: as long as the HMAC. That appendix B names 20 bytes is an erratum."""

CANARY = "CANARYSECRETCANARYSECRETCANARYSE"
"""A secret in base32 that no traceback may show."""
CANARY_RAW = b"canary secret of 32 bytes......."

HOTP = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
"""RFC 4226 appendix D: counters 0 to 9."""

TIMES = [59, 1111111109, 1111111111, 1234567890, 2000000000, 20000000000]
TOTP_CODES = {
    "SHA1": ["94287082", "07081804", "14050471", "89005924", "69279037", "65353130"],
    "SHA256": ["46119246", "68084774", "67062674", "91819424", "90698825", "77737706"],
    "SHA512": ["90693936", "25091201", "99943326", "93441116", "38618901", "47863826"],
}
"""RFC 6238 appendix B."""
WRONG_CODES = {
    "SHA256": ["32247374", "34756375", "74584430", "42829826", "78428693", "24142410"],
    "SHA512": ["69342147", "63049338", "54380122", "76671578", "56464532", "69481994"],
}
"""What a 20-byte seed gives, as the erratum misleads to."""

NOW = 1_800_000_000
STEP = NOW // 30
TWIN_STEP = 153_567
"""With the RFC's key, the first step whose code is that of the next but one: 468457."""


def totp(**settings: Any) -> TOTP:
    """The RFC's authenticator."""
    return TOTP(KEYS["SHA1"], **settings)


# --- the published vectors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("counter", "code"), list(enumerate(HOTP)))
def test_hotp_of_rfc_4226(counter: int, code: str) -> None:
    """Appendix D's ten codes, which are also the TOTP codes of the first ten time steps."""
    assert code == hotp(KEYS["SHA1"], counter)
    assert code == totp().code(30 * counter) == totp().code(30 * counter + 29.999)


def test_the_truncation_example_of_rfc_4226() -> None:
    """Section 5.4's HMAC truncates to 0x50ef7f19, whose last six decimal digits are 872921."""
    digest = bytes.fromhex("1f8698690e02ca16618550ef7f19da8e945b555a")

    class Keyed:
        def copy(self) -> Keyed:
            return self

        def update(self, data: bytes) -> None:
            assert bytes(8) == data

        def finalize(self) -> bytes:
            return digest

    truncated = otp._truncated(cast("HMAC", Keyed()), 0)
    assert 0x50EF7F19 == truncated
    assert 872921 == truncated % 10**6


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("row", range(len(TIMES)))
def test_totp_of_rfc_6238(algorithm: Any, row: int) -> None:
    """Appendix B's eighteen codes, their shorter forms, and the same from HOTP."""
    at, code = TIMES[row], TOTP_CODES[algorithm][row]
    for digits in (6, 7, 8):
        device = TOTP(KEYS[algorithm], algorithm=algorithm, digits=digits)
        assert code[-digits:] == device.code(at)
        assert code[-digits:] == hotp(KEYS[algorithm], at // 30, digits=digits, algorithm=algorithm)
        assert at // 30 == device.match(code[-digits:], at) == device.step(at)


@pytest.mark.parametrize("algorithm", WRONG_CODES)
def test_the_erratum_of_rfc_6238(algorithm: Any) -> None:
    """With a 20-byte seed for every hash, the codes are those of another key, and are refused."""
    for at, wrong in zip(TIMES, WRONG_CODES[algorithm], strict=True):
        assert wrong == TOTP(KEYS["SHA1"], algorithm=algorithm, digits=8).code(at)
        assert TOTP(KEYS[algorithm], algorithm=algorithm, digits=8).match(wrong, at, 2) is None


WIDE = [
    (2**31 - 1, "27223505"),
    (2**31, "04197202"),
    (2**32 - 1, "57117190"),
    (2**32, "55999456"),
    (2**40, "57445672"),
    (2**63 - 1, "50181742"),
]


@pytest.mark.parametrize(("counter", "code"), WIDE)
def test_wide_counters(counter: int, code: str) -> None:
    """Counters of more than 31, 32 and 40 bits; computed beforehand with another implementation."""
    assert code == hotp(KEYS["SHA1"], counter, digits=8)
    assert code[-6:] == hotp(KEYS["SHA1"], counter)
    if counter < 2**63 // 15:
        assert code == TOTP(KEYS["SHA1"], digits=8, period=15).code(15 * counter)


def test_the_ends_of_the_counter() -> None:
    """The last counter works; one beyond it and one below zero are refused."""
    assert pyotp.HOTP(base64.b32encode(KEYS["SHA1"]).decode()).at(2**64 - 1) == hotp(KEYS["SHA1"], 2**64 - 1)
    for wrong in (2**64, -1, 10**5000):
        with pytest.raises(ValueError, match=r"whole number from 0 to 2\*\*64 - 1 \(RFC 4226 §5.1\)"):
            hotp(KEYS["SHA1"], wrong)
    for kind in (True, 1.0, "1", None):
        with pytest.raises(TypeError, match=f"a counter is a whole number, not {type(kind).__name__}"):
            hotp(KEYS["SHA1"], kind)  # type: ignore[arg-type]  # the mistake is the test


def test_leading_zeros() -> None:
    """A code that begins with zeros keeps them, and is refused without them."""
    assert "07081804" == totp(digits=8).code(1111111109)
    assert "005924" == totp().code(1234567890)
    assert 1234567890 // 30 == totp().match("005924", 1234567890)
    assert totp().match("5924", 1234567890) is None


# --- time ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 30 * 2**31, 30 * 2**32, 30 * 2**40])
def test_no_end_in_2038_or_2106(at: int) -> None:
    """Before, at and after the ends of 32-bit seconds and 32-bit steps, another implementation agrees."""
    phone = pyotp.TOTP(base64.b32encode(KEYS["SHA1"]).decode())
    assert phone.generate_otp(at // 30) == totp().code(at)
    assert at // 30 == totp().match(phone.generate_otp(at // 30), at, 0)


def test_daylight_saving() -> None:
    """The hour that is repeated in autumn has 120 different steps, and the hour that is missing in spring has none."""
    berlin = ZoneInfo("Europe/Berlin")
    first, second = (datetime(2027, 10, 31, 2, 30, tzinfo=berlin, fold=fold).timestamp() for fold in (0, 1))
    assert 120 == totp().step(second) - totp().step(first)
    before, after = (datetime(2027, 3, 28, hour, 0, tzinfo=berlin).timestamp() - (hour == 3) for hour in (1, 3))
    assert 119 == totp().step(after) - totp().step(before)


def test_fractions_of_a_second() -> None:
    """A float is rounded down: the step changes with the full thirty seconds."""
    assert [0, 0, 0, 1, 1] == [totp().step(at) for at in (0, 0.5, 29.999_999, 30, 30.0)]
    assert STEP - 1 == totp().step(math.nextafter(NOW, 0))
    assert 1 == TOTP(KEYS["SHA1"], period=120).step(239)
    assert STEP == totp().match(totp().code(NOW), NOW + 29.999, 0)


class Second(IntEnum):
    """Times with names, as a host's test suite may have."""

    START = NOW


@pytest.mark.parametrize("wrong", [-1, -0.001, math.nan, math.inf, -math.inf, 2**64, 1e300, -(10**4000), 10**4000])
def test_no_time(wrong: float) -> None:
    """Before 1970, beyond all counters, NaN and infinity are refused by each method."""
    for use in (totp().step, totp().code, lambda at: totp().match("123456", at)):
        with pytest.raises(ValueError, match=r"a time is Unix seconds since 1970 \(RFC 6238 §4.2\), not "):
            use(wrong)


@pytest.mark.parametrize("wrong", [datetime.fromtimestamp(NOW, UTC), True, None, str(NOW), Decimal(NOW)])
def test_not_a_time(wrong: Any) -> None:
    """Anything but a number is a TypeError that shows the way from a datetime."""
    for use in (totp().step, totp().code, lambda at: totp().match("123456", at)):
        with pytest.raises(TypeError, match=re.escape("such as time.time() or datetime.timestamp(), not ")):
            use(wrong)


def test_numbers_of_other_classes_are_times() -> None:
    """A subclass of int or str is as good as the class itself."""

    class Typed(str):
        """A string with a class of its own, as some form libraries make."""

        __slots__ = ()

    assert STEP == totp().step(Second.START)
    assert STEP == totp().match(Typed(totp().code(NOW)), Second.START)


# --- matching ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [0, 1, 2])
def test_the_window(window: int) -> None:
    """A code is accepted up to `window` steps early or late, as the step that it belongs to, and no further."""
    for offset in range(-4, 5):
        code = totp().code(NOW + 30 * offset)
        assert (STEP + offset if abs(offset) <= window else None) == totp().match(code, NOW, window)


def test_the_usual_window_is_one_step() -> None:
    """RFC 6238 §5.2 recommends one step."""
    assert [None, -1, 0, 1, None] == [
        found and found - STEP for found in (totp().match(totp().code(NOW + 30 * n), NOW) for n in range(-2, 3))
    ]


@pytest.mark.parametrize("window", [-1, 3, True, 1.0, "1", None, 10**4000])
def test_no_window(window: Any) -> None:
    """Anything but 0, 1 or 2 is refused by the clause."""
    with pytest.raises(PolicyError, match=r"window must be 0, 1 or 2 time steps \(RFC 6238 §5.2 and §6\), not "):
        totp().match("123456", NOW, window)


def test_the_first_steps() -> None:
    """In the first seconds of 1970 the window ends at step 0."""
    for at, steps in [(0, [0, 1]), (30, [0, 1, 2]), (60, [1, 2, 3])]:
        assert steps == [n for n in range(5) if totp().match(HOTP[n], at) == n]
    assert [0, 1, 2] == [n for n in range(5) if totp().match(HOTP[n], 0, 2) == n]


def test_after() -> None:
    """Only a step later than `after` counts, so a code works once, and not after a later code was used."""
    code = totp().code(NOW)
    assert [STEP, STEP, None, None] == [
        totp().match(code, NOW, after=after) for after in (-1, STEP - 1, STEP, STEP + 10)
    ]
    assert STEP + 1 == totp().match(totp().code(NOW + 30), NOW, after=STEP)
    assert totp().match(totp().code(NOW - 30), NOW, after=STEP) is None
    assert 0 == totp().match(HOTP[0], 0, after=None)
    for wrong in (True, 1.0, str(STEP)):
        with pytest.raises(
            TypeError, match=f"after is the last accepted time step or None, not {type(wrong).__name__}"
        ):
            totp().match(code, NOW, after=wrong)  # type: ignore[arg-type]  # the mistake is the test


def test_the_latest_step_that_fits() -> None:
    """Where two steps have the same code, the later one is returned; with `after`, only the later one is left."""
    device, step = totp(), TWIN_STEP
    assert device.code(30 * step) == device.code(30 * step + 60) != device.code(30 * step + 30)
    for after, found in [(None, step + 2), (step, step + 2), (step + 1, step + 2), (step + 2, None)]:
        assert found == device.match(device.code(30 * step), 30 * step + 30, after=after)
    assert step == device.match(device.code(30 * step), 30 * step, 1)


@pytest.mark.parametrize("offset", [-1, 0, 1, None], ids=["the first fits", "the second", "the last", "none"])
@pytest.mark.parametrize("after", [None, STEP + 5], ids=["fresh", "spent"])
def test_every_step_is_computed(monkeypatch: pytest.MonkeyPatch, offset: int | None, after: int | None) -> None:
    """Whichever step fits, the same three HMACs are computed, and one is keyed per object (ASVS 5.0 11.2.4)."""
    calls: list[str] = []

    class Counting:
        def __init__(self, keyed: HMAC) -> None:
            self._keyed = keyed

        def copy(self) -> Counting:
            return Counting(self._keyed.copy())

        def update(self, data: bytes) -> None:
            self._keyed.update(data)

        def finalize(self) -> bytes:
            calls.append("finalize")
            return self._keyed.finalize()

    def keyed(secret: bytes, algorithm: hashes.HashAlgorithm) -> Counting:
        calls.append("keyed")
        return Counting(HMAC(secret, algorithm))

    code = "000000" if offset is None else totp().code(NOW + 30 * offset)
    monkeypatch.setattr(otp, "HMAC", keyed)
    found = totp().match(code, NOW, after=after)
    assert (None if offset is None or after else STEP + offset) == found
    assert ["keyed", *["finalize"] * 3] == calls


# --- what people type ----------------------------------------------------------------------------------------------

READABLE = [
    "123456",
    "123 456",
    " 123456\r\n",
    "1 2 3 4 5 6",
    "123\u00a0456",
    "123\u202f456",
    "123\u3000456",
    "123-456",
    "123\u2011456",
    "123\u2013456",
    "123\u2212456",
    "１２３４５６",
    "١٢٣٤٥٦",
    "۱۲۳۴۵۶",
    "१२३४५६",
    "๑๒๓ ๔๕๖",
    "12٣۴५๖",
    "123456" + " " * 58,
]
UNREADABLE = [
    "",
    " ",
    "------",
    "12345",
    "1234567",
    "12345 ",
    "+12345",
    "-12345",
    "+123456",
    "1e5000",
    "0x1234",
    "123.456",
    "123,456",
    "123_456",
    "12345a",
    "abcdef",
    "12345²",
    "12345①",
    "一二三四五六",
    "ⅠⅡⅢⅣⅤⅥ",
    "12345\0",
    "123456\0",
    "\ufeff123456",
    "12345🔑",
    "🔑🔑🔑🔑🔑🔑",
    "12345\ud800",
    "123456" + " " * 59,
    "1" * 1_000_000,
]


@pytest.mark.parametrize("typed", READABLE)
def test_readable_codes(typed: str) -> None:
    """Spaces and hyphens do not matter, and decimal digits of any script count by their value."""
    assert 123456 == read_code(typed, 6)


@pytest.mark.parametrize("typed", UNREADABLE, ids=lambda typed: ascii(typed[:16]))
def test_unreadable_codes(typed: str) -> None:
    """Anything else is not a code: it gives neither a number nor an error."""
    assert read_code(typed, 6) is None
    assert totp().match(typed, NOW) is None


@pytest.mark.parametrize("typed", ["287082", "287 082", "２８７０８２", "٢٨٧٠٨٢", "۲۸۷-۰۸۲"])
def test_matching_what_people_type(typed: str) -> None:
    """Every spelling of the right code is the right code."""
    assert 1 == totp().match(typed, 59)


@given(
    st.text(max_size=80) | st.text(st.characters(categories=["Nd", "Zs", "Pd", "Cf"]), max_size=12),
    st.sampled_from([6, 7, 8]),
)
def test_read_code_never_fails(typed: str, digits: int) -> None:
    """Any text reads as a number of that many digits or as `None`."""
    number = read_code(typed, digits)
    assert number is None or 0 <= number < 10**digits


@pytest.mark.parametrize("wrong", [b"123456", 123456, None, ["1"] * 6])
def test_a_code_is_text(wrong: Any) -> None:
    """Another type is a TypeError that names the type and not the value."""
    with pytest.raises(TypeError, match=f"a code is str, not {type(wrong).__name__}") as refusal:
        totp().match(wrong, NOW)
    assert "123456" not in shown(refusal.value)


# --- secrets -------------------------------------------------------------------------------------------------------

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        SECRET.lower(),
        "gezd gnbv gy3t qojq gezd gnbv gy3t qojq",
        "GEZD-GNBV-GY3T-QOJQ-GEZD-GNBV-GY3T-QOJQ",
        "GEZD\u00a0GNBV\u2011GY3T\u2013QOJQ\u202fGEZD GNBV GY3T QOJQ",
        f"  {SECRET}\r\n",
        f"{SECRET}======",
        " ".join(SECRET),
    ],
)
def test_base32_as_people_copy_it(written: str) -> None:
    """Case, spaces, hyphens and padding do not matter."""
    assert KEYS["SHA1"] == TOTP(written).secret
    assert SECRET == TOTP(written).base32


@pytest.mark.parametrize("length", range(16, 129))
def test_base32_of_every_length(length: int) -> None:
    """With or without padding, a secret comes back; the library writes it unpadded and in upper case."""
    raw = bytes(range(100, 100 + length))
    padded = base64.b32encode(raw).decode()
    assert raw == TOTP(padded).secret == TOTP(padded.rstrip("=")).secret == TOTP(raw).secret
    assert padded.rstrip("=") == TOTP(raw).base32


@pytest.mark.parametrize(
    ("raw", "written"),
    [
        ("f", "MY"),
        ("fo", "MZXQ"),
        ("foo", "MZXW6"),
        ("foob", "MZXW6YQ"),
        ("fooba", "MZXW6YTB"),
        ("foobar", "MZXW6YTBOI"),
    ],
)
def test_the_vectors_of_rfc_4648(raw: str, written: str) -> None:
    """Section 10's texts, each after fifteen bytes that make it long enough for a secret."""
    assert b"fooba" * 3 + raw.encode() == TOTP("MZXW6YTB" * 3 + written).secret
    assert "MZXW6YTB" * 3 + written == TOTP(b"fooba" * 3 + raw.encode()).base32


FOREIGN = [
    *"0189!@#$%&*()_+[]{}:;'\",.<>/?|\\~`",
    "\n",
    "\t",
    "\0",
    "ı",
    "ſ",
    "\u212a",
    "é",
    "Ａ",
    "２",
    "٢",
    "\ud800",
    "🔑",
    "\u200b",
]


@pytest.mark.parametrize("symbol", FOREIGN, ids=ascii)
def test_foreign_characters(symbol: str) -> None:
    """A character outside the alphabet is named with its place, and nothing else of the secret is."""
    with pytest.raises(InvalidSecret) as refusal:
        TOTP(f" {CANARY[:8]}-{symbol}{CANARY[8:]}")
    assert f"character 10 of the base32 secret is {symbol!r}, which is not in its alphabet" in str(refusal.value)
    assert "(RFC 4648 §6)" in str(refusal.value)
    assert "CANARY" not in shown(refusal.value).upper()


@pytest.mark.parametrize("last", "BCDEFGHIJKLMNOP")
def test_stray_bits(last: str) -> None:
    """One secret has one spelling: `MZ` would decode to the same byte as `MY` (RFC 4648 §3.5)."""
    prefix = "MZXW6YTB" * 4
    assert b"fooba" * 4 + b"\0" == TOTP(f"{prefix}AA").secret
    assert TOTP(f"{prefix}MY").secret != TOTP(f"{prefix}ME").secret
    with pytest.raises(InvalidSecret, match=r"stray bits at its end \(RFC 4648 §3.5\): its last symbol is wrong"):
        TOTP(f"{prefix}M{chr(ord('Y') + 1)}")
    if last not in "AEIM":
        with pytest.raises(InvalidSecret, match="stray bits"):
            TOTP(f"{prefix}A{last}")


@pytest.mark.parametrize("length", [27, 33, 35, 38])
def test_lengths_that_cannot_be(length: int) -> None:
    """One, three or six symbols beyond a multiple of eight hold no whole number of bytes."""
    with pytest.raises(
        InvalidSecret, match=rf"no base32 secret has {length} symbols \(RFC 4648 §6\): it was cut short"
    ):
        TOTP("A" * length)


def test_padding_in_the_middle() -> None:
    """Two secrets one after the other are not one."""
    with pytest.raises(InvalidSecret, match="padding \\(=\\) before its end"):
        TOTP("GEZDGNBVGY3TQOJQGEZDGNBVGY======GEZDGNBVGY3TQOJQGEZDGNBVGY======")


def test_only_so_much_text_is_looked_at() -> None:
    """A text of a megabyte is refused before any work."""
    with pytest.raises(InvalidSecret, match="at most 512 characters"):
        TOTP("A" * 1_000_000)
    assert 128 == len(TOTP((" " + "A" * 205).ljust(512)).secret)


@pytest.mark.parametrize("length", [0, 1, 10, 15, 129, 1000])
def test_too_short_or_too_long(length: int) -> None:
    """A secret has 16 to 128 bytes, in whichever form it comes; the message names the clause and the length."""
    with pytest.raises(InvalidSecret, match=rf"16 to 128 bytes.*\(RFC 4226 §4 R6\), but this one has {length} bytes"):
        TOTP(bytes(length))
    with pytest.raises(InvalidSecret, match=rf"this one has {length} bytes"):
        hotp(bytes(length), 0)
    if length <= 129:
        with pytest.raises(InvalidSecret, match=rf"this one has {length} bytes"):
            TOTP(base64.b32encode(bytes(length)).decode())


def test_the_published_80_bit_secret() -> None:
    """The Key URI format's own example is below the floor."""
    with pytest.raises(InvalidSecret, match=r"at least 128 bits \(RFC 4226 §4 R6\), but this one has 10 bytes"):
        TOTP("JBSWY3DPEHPK3PXP")


@pytest.mark.parametrize("wrong", [None, bytearray(20), memoryview(bytes(20)), 20, ["A"] * 32])
def test_a_secret_is_bytes_or_text(wrong: Any) -> None:
    """Another type is a TypeError."""
    with pytest.raises(
        TypeError, match=f"a secret is bytes, or for TOTP base32 text as str, not {type(wrong).__name__}"
    ):
        TOTP(wrong)
    with pytest.raises(TypeError, match=f"a secret is bytes.* not {type(wrong).__name__}"):
        hotp(wrong, 0)


def test_hotp_takes_bytes_only() -> None:
    """The bare function does not guess what a text means."""
    with pytest.raises(TypeError, match="not str"):
        hotp(SECRET, 0)  # type: ignore[arg-type]  # the mistake is the test


# --- settings ------------------------------------------------------------------------------------------------------

BOUNDS = [
    (
        "digits",
        [6, 7, 8],
        [5, 9, 0, -6, 10**30, True, 6.0, "6", None],
        r"digits must be 6, 7 or 8 \(RFC 4226 §5.3\), not ",
    ),
    (
        "period",
        [15, 30, 60, 120],
        [14, 121, 0, -30, 10**30, True, 30.0, math.nan, "30", None],
        r"period must be 15 to 120 seconds \(NIST SP 800-63B-4 §3.1.4.1\), not ",
    ),
    (
        "algorithm",
        ["SHA1", "SHA256", "SHA512"],
        ["sha1", "SHA-1", "SHA224", "MD5", "", None, 1, ["SHA1"]],
        r"algorithm must be one of SHA1, SHA256, SHA512 \(RFC 6238 §1.2\)",
    ),
]


@pytest.mark.parametrize(("setting", "right", "wrong", "message"), BOUNDS)
def test_settings(setting: str, right: list[Any], wrong: list[Any], message: str) -> None:
    """What the standards allow passes, in every way to make one; the rest is refused by the clause."""
    for value in right:
        for device in (totp(**{setting: value}), TOTP(SECRET, **{setting: value}), TOTP.generate(**{setting: value})):
            assert value == getattr(device, setting)
    for value in wrong:
        for make in (totp, lambda **named: TOTP(SECRET, **named), TOTP.generate):
            with pytest.raises(PolicyError, match=message):
                make(**{setting: value})
        if setting != "period":
            with pytest.raises(PolicyError, match=message):
                hotp(KEYS["SHA1"], 0, **{setting: value})


def test_the_defaults_are_what_every_app_reads() -> None:
    """SHA-1, six digits, thirty seconds."""
    device = TOTP.generate()
    assert ("SHA1", 6, 30) == (device.algorithm, device.digits, device.period)


def test_the_period_counts() -> None:
    """With another period the same instant is another step."""
    device = totp(period=60)
    assert HOTP[1] == device.code(60) == device.code(119)
    assert 2 == device.match(HOTP[2], 60)


@pytest.mark.parametrize(("algorithm", "length"), [("SHA1", 20), ("SHA256", 32), ("SHA512", 64)])
def test_generated_secrets(monkeypatch: pytest.MonkeyPatch, algorithm: Any, length: int) -> None:
    """A new secret has the HMAC's length (RFC 6238 §5.1) and comes from the one source of randomness."""
    drawn: list[int] = []

    def random_bytes(count: int) -> bytes:
        drawn.append(count)
        return bytes(range(count))

    assert 1000 == len({TOTP.generate(algorithm=algorithm).secret for _ in range(1000)})
    monkeypatch.setattr(entropy, "random_bytes", random_bytes)
    assert bytes(range(length)) == TOTP.generate(algorithm=algorithm).secret
    assert [length] == drawn


# --- the object ----------------------------------------------------------------------------------------------------


def test_equality() -> None:
    """Two with the same content are equal, however their secret was written; any difference makes them unequal."""
    same = [totp(), TOTP(SECRET), TOTP(SECRET.lower(), algorithm="SHA1", digits=6, period=30)]
    assert 1 == len(set(same))
    others = [totp(digits=8), totp(period=60), totp(algorithm="SHA256"), TOTP(bytes(20))]
    assert 5 == len({*others, *same})
    assert totp() != KEYS["SHA1"]


def test_it_is_immutable() -> None:
    """No attribute can be set, replaced or deleted."""
    for name in ("secret", "digits", "_secret", "colour"):
        with pytest.raises((AttributeError, TypeError)):  # TypeError: Python before 3.14 trips over its own slots
            setattr(totp(), name, 1)
        with pytest.raises((AttributeError, TypeError)):
            delattr(totp(), name)
    assert totp() == TOTP(totp().secret)


def test_its_repr_hides_the_secret() -> None:
    """`repr`, `str` and formatting show the settings only."""
    device = TOTP(CANARY_RAW, algorithm="SHA256", digits=8, period=60)
    assert "TOTP(<hidden>, algorithm='SHA256', digits=8, period=60)" == repr(device) == str(device) == f"{device}"


def test_it_is_not_pickled_or_copied() -> None:
    """A secret does not leave by way of a pickle, a queue or a cache."""
    for leave in (pickle.dumps, copy.deepcopy, asdict):
        with pytest.raises(TypeError, match="carries a secret and cannot be pickled"):
            leave(TOTP(CANARY_RAW))


SPILLS: list[Any] = [
    lambda: hotp(CANARY_RAW, -1),
    lambda: hotp(CANARY_RAW, 0, digits=5),
    lambda: hotp(CANARY_RAW[:15], 0),
    lambda: hotp(CANARY_RAW, 0, algorithm="MD5"),  # type: ignore[arg-type]  # the mistake is the test
    lambda: hotp(CANARY, 0),  # type: ignore[arg-type]  # the mistake is the test
    lambda: TOTP(CANARY_RAW[:15]),
    lambda: TOTP(CANARY_RAW * 5),
    lambda: TOTP(CANARY_RAW, digits=9),
    lambda: TOTP(CANARY_RAW, period=0),
    lambda: TOTP(CANARY, period=0),
    lambda: TOTP(CANARY[:16]),
    lambda: TOTP(CANARY + "0"),
    lambda: TOTP(CANARY + "A"),
    lambda: TOTP(CANARY + "AB"),
    lambda: TOTP(CANARY + "=" + CANARY),
    lambda: TOTP(CANARY * 20),
    lambda: TOTP([CANARY]),  # type: ignore[arg-type]  # the mistake is the test
    lambda: TOTP(SECRET).match("CANARY", -1),
    lambda: TOTP(SECRET).match("CANARY", NOW, 3),
    lambda: TOTP(SECRET).match("CANARY", NOW, "CANARY"),  # type: ignore[arg-type]  # the mistake is the test
    lambda: TOTP(SECRET).match("CANARY", NOW, after="CANARY"),  # type: ignore[arg-type]  # the mistake is the test
    lambda: TOTP(SECRET).match(["CANARY"], NOW),  # type: ignore[arg-type]  # the mistake is the test
    lambda: TOTP(SECRET).match(NOW, "CANARY"),  # type: ignore[arg-type]  # the mistake is the test
    lambda: pickle.dumps(TOTP(CANARY_RAW)),
]
"""Every way to fail, with a secret or a code at hand."""


@pytest.mark.parametrize("spill", SPILLS)
def test_no_failure_shows_a_secret(spill: Any) -> None:
    """No message and no local variable of any frame holds the secret or the code, and there is no hidden cause."""
    with pytest.raises((ValueError, TypeError)) as refusal:
        spill()
    assert 2 <= frames(refusal.value)
    assert "CANARY" not in shown(refusal.value).upper()
    assert refusal.value.__context__ is None


# --- independent phones --------------------------------------------------------------------------------------------

secrets = st.binary(min_size=16, max_size=128)
times = st.integers(0, 2**33) | st.integers(0, 2**44)
algorithms = st.sampled_from(["SHA1", "SHA256", "SHA512"])
HASHES: dict[str, Any] = {"SHA1": hashes.SHA1(), "SHA256": hashes.SHA256(), "SHA512": hashes.SHA512()}


@given(secrets, times, algorithms, st.sampled_from([6, 7, 8]), st.integers(15, 120))
def test_pyotp_agrees(secret: bytes, at: int, algorithm: Any, digits: int, period: int) -> None:
    """For any secret, time and settings, pyotp shows the same code."""
    phone = pyotp.TOTP(
        base64.b32encode(secret).decode(), digits=digits, digest=getattr(hashlib, algorithm.lower()), interval=period
    )
    device = TOTP(secret, algorithm=algorithm, digits=digits, period=period)
    assert phone.generate_otp(at // period) == device.code(at)
    assert device.match(phone.generate_otp(at // period), at) in {at // period, at // period + 1}


@given(secrets, times, algorithms, st.sampled_from([6, 7, 8]), st.integers(15, 120))
def test_cryptography_agrees(secret: bytes, at: int, algorithm: Any, digits: int, period: int) -> None:
    """For any secret, time and settings, the TOTP of `cryptography` shows the same code."""
    phone = cryptography_totp.TOTP(secret, digits, HASHES[algorithm], period)
    assert phone.generate(at).decode() == TOTP(secret, algorithm=algorithm, digits=digits, period=period).code(at)


@settings(max_examples=40)
@given(secrets, st.integers(0, 2**33), algorithms, st.sampled_from([6, 7, 8]), st.integers(15, 120))
def test_oathtool_agrees(secret: bytes, at: int, algorithm: Any, digits: int, period: int) -> None:
    """For any secret, time and settings, the command `oathtool` shows the same code."""
    tool = shutil.which("oathtool")
    if tool is None:
        not_here("oathtool", "install oathtool, or oath-toolkit")
    command = [
        tool,
        f"--totp={algorithm.lower()}",
        f"--digits={digits}",
        f"--time-step-size={period}s",
        f"--now=@{at}",
        "-",
    ]
    answer = subprocess.run(command, input=secret.hex(), capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == TOTP(secret, algorithm=algorithm, digits=digits, period=period).code(at)


@given(secrets, times, st.integers(-3, 3), st.integers(0, 2), st.none() | st.integers(-4, 4))
def test_matching_by_definition(secret: bytes, at: int, offset: int, window: int, after: int | None) -> None:
    """`match` does what its docstring says: it returns the latest step in the window, later than `after`, with this code."""
    device = TOTP(secret)
    now = at // 30
    code = hotp(secret, max(0, now + offset))
    last = None if after is None else now + after
    steps = [n for n in range(max(0, now - window), now + window + 1) if hotp(secret, n) == code]
    assert max((n for n in steps if last is None or n > last), default=None) == device.match(code, at, window, last)
