"""The otpauth Key URI: the published examples, what apps write, and what no app could read."""

from __future__ import annotations

import inspect
import pickle
import re
import unicodedata
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaks import frames, shown

from twofa import TOTP, key_uri
from twofa._hidden import Hidden
from twofa.errors import InvalidKeyUri, InvalidSecret, PolicyError
from twofa.key_uri import KeyUri, build, check_label, parse

SECRET = "HXDMVJECJJWSRB3HWIZR4IFUGFTMXBOZ"
DEVICE = TOTP(SECRET)
PUBLISHED = (
    f"otpauth://totp/ACME%20Co:john.doe@email.com?secret={SECRET}&issuer=ACME%20Co&algorithm=SHA1&digits=6&period=30"
)
"""The format's example with every optional parameter."""
CANARY = "CANARYSECRETCANARYSECRETCANARYSE"


def _key_uri(device: TOTP, account_name: str, issuer: str) -> KeyUri:
    """Return what the parser is to read of an authenticator."""
    return KeyUri(
        account_name=account_name,
        issuer=issuer,
        _secret=Hidden(device.secret),
        algorithm=device.algorithm,
        digits=device.digits,
        period=device.period,
    )


LONGEST = {"account_name": "a" * 330, "issuer": "b" * 210}


# --- out -----------------------------------------------------------------------------------------------------------


def test_the_published_example() -> None:
    """The builder writes it character by character, and the parser reads it back."""
    assert bytes.fromhex("3dc6caa4824a6d288767b2331e20b43166cb85d9") == DEVICE.secret
    assert PUBLISHED == DEVICE.uri(account_name="john.doe@email.com", issuer="ACME Co")
    assert _key_uri(DEVICE, "john.doe@email.com", "ACME Co") == parse(PUBLISHED)
    assert DEVICE == TOTP.from_uri(PUBLISHED)


@pytest.mark.parametrize(
    ("account_name", "issuer", "label", "parameter"),
    [
        ("alice", "Example", "Example:alice", "Example"),
        ("alice+work@example.com", "A&B=C?", "A%26B%3DC%3F:alice%2Bwork@example.com", "A%26B%3DC%3F"),
        ("a/b#c%d", "50% off", "50%25%20off:a%2Fb%23c%25d", "50%25%20off"),
        ("zoë", "東京", "%E6%9D%B1%E4%BA%AC:zo%C3%AB", "%E6%9D%B1%E4%BA%AC"),
        ("~a-b_c.d", "@home", "@home:~a-b_c.d", "%40home"),
        ("🔑", "'\"<>", "%27%22%3C%3E:%F0%9F%94%91", "%27%22%3C%3E"),
    ],
)
def test_what_is_escaped(account_name: str, issuer: str, label: str, parameter: str) -> None:
    """Everything but letters, digits, `-._~` and the label's `@` is percent-encoded; a space never becomes `+`."""
    uri = build(DEVICE.secret, account_name=account_name, issuer=issuer)
    assert uri.startswith(f"otpauth://totp/{label}?secret={SECRET}&issuer={parameter}&algorithm=SHA1&")
    assert (account_name, issuer) == (parse(uri).account_name, parse(uri).issuer)


def test_settings_are_spelled_out() -> None:
    """Algorithm, digits and period are always in the URI, and the secret has no padding."""
    device = TOTP(bytes(range(64)), algorithm="SHA512", digits=8, period=60)
    uri = device.uri(account_name="alice", issuer="Example")
    assert uri.endswith("&issuer=Example&algorithm=SHA512&digits=8&period=60")
    assert f"?secret={device.base32}&" in uri
    assert "=&" not in uri
    assert device == TOTP.from_uri(uri)


def test_the_longest_uri() -> None:
    """With the longest of everything a URI has 1,024 characters."""
    device = TOTP(bytes(128), algorithm="SHA512", digits=8, period=120)
    uri = device.uri(**LONGEST)
    assert len(uri) == 1024
    assert _key_uri(device, **LONGEST) == parse(uri)


texts = st.text(
    st.characters(
        exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"],
        exclude_characters=":\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0",
    ),
    min_size=1,
    max_size=20,
)
labels = texts.map(str.strip).filter(bool)
devices = st.builds(
    TOTP,
    st.binary(min_size=16, max_size=128),
    algorithm=st.sampled_from(["SHA1", "SHA256", "SHA512"]),
    digits=st.sampled_from([6, 7, 8]),
    period=st.integers(15, 120),
)


@given(devices, labels, labels)
def test_there_and_back(device: TOTP, account_name: str, issuer: str) -> None:
    """Whatever the builder takes, the parser reads back, and pyotp reads the same authenticator and labels."""
    uri = device.uri(account_name=account_name, issuer=issuer)
    assert len(uri) <= 1024
    assert uri.isascii()
    assert _key_uri(device, account_name, issuer) == parse(uri)
    if device.digits != 7:  # which pyotp does not read
        phone = pyotp.parse_uri(uri)
        assert isinstance(phone, pyotp.TOTP)
        assert (account_name, issuer) == (phone.name, phone.issuer)
        assert phone.at(1_800_000_000) == device.code(1_800_000_000)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"secret": bytes(15)}, InvalidSecret),
        ({"secret": SECRET}, TypeError),
        ({"algorithm": "MD5"}, PolicyError),
        ({"digits": 5}, PolicyError),
        ({"period": 121}, PolicyError),
        ({"issuer": ""}, InvalidKeyUri),
    ],
)
def test_a_uri_is_built_from_plain_values(changed: dict[str, Any], error: type[Exception]) -> None:
    """The builder takes a secret with its parameters, checks each as `TOTP` does, and shows no secret when it refuses."""
    values: dict[str, Any] = {"secret": DEVICE.secret, "account_name": "john.doe@email.com", "issuer": "ACME Co"}

    assert PUBLISHED == build(**values)
    with pytest.raises(error) as refusal:
        build(**values | changed)
    assert repr(DEVICE.secret) not in shown(refusal.value)
    assert SECRET not in shown(refusal.value)


UNSEEN = "must not contain characters that do not show or that change the direction of text: it contains"
REFUSED_LABELS = [
    ("", "must not be empty"),
    (" ", "must not begin or end with a space"),
    (" a", "must not begin or end with a space"),
    ("a\u00a0", "must not begin or end with a space"),
    ("a\n", "must not begin or end with a space"),
    ("a:b", "must not contain a colon: it separates issuer and account"),
    (":", "must not contain a colon"),
    ("a\0b", f"{UNSEEN} U\\+0000$"),
    ("a\nb", f"{UNSEEN} U\\+000A$"),
    ("a\x7fb", f"{UNSEEN} U\\+007F$"),
    ("a\x9fb", f"{UNSEEN} U\\+009F$"),
    ("a\u2028b", f"{UNSEEN} U\\+2028 \\(LINE SEPARATOR\\)$"),
    ("a\ud800b", f"{UNSEEN} U\\+D800$"),
    ("alice\u202emoc.elpmaxe@", f"{UNSEEN} U\\+202E \\(RIGHT-TO-LEFT OVERRIDE\\)$"),
    ("a\u2066b", f"{UNSEEN} U\\+2066 \\(LEFT-TO-RIGHT ISOLATE\\)$"),
    ("a\u061cb", f"{UNSEEN} U\\+061C"),
    ("a\u200bb", f"{UNSEEN} U\\+200B \\(ZERO WIDTH SPACE\\)$"),
    ("a\u200db", f"{UNSEEN} U\\+200D"),
    ("a\ufeffb", f"{UNSEEN} U\\+FEFF"),
    ("a\u00adb", f"{UNSEEN} U\\+00AD \\(SOFT HYPHEN\\)$"),
    ("a\u3164b", f"{UNSEEN} U\\+3164 \\(HANGUL FILLER\\)$"),
    ("a\u2800b", f"{UNSEEN} U\\+2800"),
    ("a\U000e0061b", f"{UNSEEN} U\\+E0061 \\(TAG LATIN SMALL LETTER A\\)$"),
]
SHOWN_LABELS = ["❤️", "日本語", "שלום", "سلام", "e\u0301", "🏳️", "한국", "ไทย", "\u00a1 a\u00a0b", "\u00d6"]
"""What shows: letters of every direction, marks on letters, emoji with the selector of their form, odd spaces inside."""


@pytest.mark.parametrize(("part", "message"), REFUSED_LABELS, ids=lambda value: ascii(value[:12]))
def test_refused_labels(part: str, message: str) -> None:
    """A label that no app could show or read back is refused, with the name of the part."""
    for name, labels in [
        ("account_name", {"account_name": part, "issuer": "Example"}),
        ("issuer", {"account_name": "alice", "issuer": part}),
    ]:
        for use in (check_label, DEVICE.uri):
            with pytest.raises(InvalidKeyUri, match=f"^{name} {message}"):
                use(**labels)


@pytest.mark.parametrize("label", SHOWN_LABELS)
def test_labels_of_the_world(label: str) -> None:
    """Letters and emoji of the whole world are taken in both parts and read back."""
    read = parse(DEVICE.uri(account_name=label, issuer=label))
    assert (label, label) == (read.account_name, read.issuer)


@given(st.characters())
def test_no_label_has_a_format_character(symbol: str) -> None:
    """Of the characters that Python does not print, a label takes only spaces, private ones and those not assigned yet."""
    taken = True
    try:
        check_label(f"a{symbol}b", "Example")
    except InvalidKeyUri:
        taken = False
    unprintable = not symbol.isprintable() and unicodedata.category(symbol) not in {"Zs", "Cn", "Co"}
    assert not (taken and unprintable)


@pytest.mark.parametrize(("name", "longest"), [("account_name", 330), ("issuer", 210)])
def test_the_length_of_labels(name: str, longest: int) -> None:
    """Counted as they stand in the URI: an ASCII letter is one character, others six to twelve."""
    for right in ("a" * longest, "ä" * (longest // 6), "東" * (longest // 9), " ".join("a" * (longest // 4))):
        check_label(**{"account_name": "alice", "issuer": "Example", name: right})
    for wrong, length in [
        ("a" * (longest + 1), longest + 1),
        ("ä" * longest, 6 * longest),
        ("@" * longest, 3 * longest),
    ]:
        with pytest.raises(
            InvalidKeyUri, match=f"{name} must have at most {longest} characters .*, not {length}: the QR"
        ):
            check_label(**{"account_name": "alice", "issuer": "Example", name: wrong})


@pytest.mark.parametrize("wrong", [None, b"alice", 42])
def test_labels_are_text(wrong: Any) -> None:
    """Another type is a TypeError that names the part."""
    with pytest.raises(TypeError, match=f"account_name must be str, not {type(wrong).__name__}"):
        check_label(wrong, "Example")
    with pytest.raises(TypeError, match=f"issuer must be str, not {type(wrong).__name__}"):
        DEVICE.uri(account_name="alice", issuer=wrong)


# --- in ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "query", "account_name", "issuer"),
    [
        ("Example:alice", "", "alice", "Example"),
        ("Example%3Aalice", "", "alice", "Example"),
        ("Example%3aalice", "", "alice", "Example"),
        ("Example:%20%20alice", "", "alice", "Example"),
        ("Example%3A%20alice", "", "alice", "Example"),
        ("Example:alice", "&issuer=Example", "alice", "Example"),
        ("ACME%20Co:alice", "&issuer=ACME%20Co", "alice", "ACME Co"),
        ("ACME+Co:john+doe", "&issuer=ACME+Co", "john doe", "ACME Co"),
        ("ACME+Co:john+doe", "", "john doe", "ACME Co"),
        ("ACME Co:john doe", "&issuer=ACME Co", "john doe", "ACME Co"),
        ("Example:alice+work@example.com", "", "alice+work@example.com", "Example"),
        ("Example:alice+work%40example.com", "", "alice+work@example.com", "Example"),
        ("Example:alice%2Bwork@example.com", "", "alice+work@example.com", "Example"),
        ("Example%2B:alice", "", "alice", "Example+"),
        ("alice", "", "alice", None),
        ("alice@example.com", "&issuer=Example", "alice@example.com", "Example"),
        ("Old:alice", "&issuer=New", "alice", "New"),
        ("Example:alice", "&issuer=", "alice", "Example"),
        ("Example:alice", "&issuer=%20", "alice", "Example"),
        (":alice", "", "alice", None),
        ("Example:", "", "", "Example"),
        ("", "&issuer=Example", "", "Example"),
        ("Example:a%3Ab", "", "a:b", "Example"),
        ("Example/alice", "", "Example/alice", None),
        ("zo%C3%AB", "&issuer=%E6%9D%B1%E4%BA%AC", "zoë", "東京"),
        ("zoë", "&issuer=東京", "zoë", "東京"),
        ("%FF", "", "\ufffd", None),
        ("%D9%85%E2%80%8C%D9%87", "", "\u0645\u200c\u0647", None),
    ],
)
def test_labels_as_apps_write_them(label: str, query: str, account_name: str, issuer: str | None) -> None:
    """Every separator and space that apps write is read, with the issuer in one place, the other, both or none."""
    read = parse(f"otpauth://totp/{label}?secret={SECRET}{query}")
    assert (account_name, issuer, DEVICE.secret) == (read.account_name, read.issuer, read.secret)


@pytest.mark.parametrize(
    "uri",
    [
        f"otpauth://totp/alice?secret={SECRET}",
        f"  otpauth://totp/alice?secret={SECRET}\r\n",
        f"OTPAUTH://TOTP/alice?SECRET={SECRET}&Digits=6",
        f"otpauth://totp/alice?secret={SECRET.lower()}",
        f"otpauth://totp/alice?secret={SECRET}======",
        f"otpauth://totp/alice?secret={SECRET}%3D%3D%3D%3D%3D%3D",
        f"otpauth://totp/alice?secret={'+'.join(SECRET)}",
        f"otpauth://totp/alice?secret={'%20'.join(SECRET)}",
        f"otpauth://totp/alice?period=30&digits=06&algorithm=sha1&secret={SECRET}&issuer=",
        f"otpauth://totp/alice?algorithm=SHA-1&secret={SECRET}",
        f"otpauth://totp/alice?secret={SECRET}&image=a%26b&counter=7&image=twice&&=&x",
        f"otpauth://totp/?secret={SECRET}",
    ],
)
def test_spellings_of_one_authenticator(uri: str) -> None:
    """Case, spaces, padding, the order of parameters and unknown parameters do not matter."""
    assert DEVICE == TOTP.from_uri(uri)
    assert _key_uri(DEVICE, "", "") == replace(parse(uri), account_name="", issuer="")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("algorithm=sha256", ("SHA256", 6, 30)),
        ("algorithm=Sha-512&digits=8", ("SHA512", 8, 30)),
        ("digits=7&period=15", ("SHA1", 7, 15)),
        ("period=120", ("SHA1", 6, 120)),
    ],
)
def test_settings_are_read(settings: str, expected: tuple[str, int, int]) -> None:
    """What the URI says counts, and the default where it says nothing."""
    totp = TOTP.from_uri(f"otpauth://totp/alice?{settings}&secret={SECRET}")
    assert expected == (totp.algorithm, totp.digits, totp.period)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", r"a Key URI has the form otpauth://totp/Issuer:account\?secret=…"),
        ("alice", "has the form"),
        (f"https://totp/alice?secret={CANARY}", "has the form"),
        (f"otpauth:totp/alice?secret={CANARY}", "has the form"),
        (f"otpauth://totp?secret={CANARY}", "has the form"),
        (f"otpauth://totp/alice&secret={CANARY}", "has the form"),
        (f"otpauth://hotp/alice?secret={CANARY}&counter=1", r"counter-based authenticator \(HOTP\)"),
        (f"otpauth://HOTP/alice?secret={CANARY}&counter=1", r"counter-based authenticator \(HOTP\)"),
        (f"otpauth://{CANARY}/alice?secret={CANARY}", "the type of a Key URI must be totp"),
        ("otpauth://totp/alice?issuer=Example", "the URI has no secret"),
        ("otpauth://totp/alice?secret=&issuer=Example", "the URI has no secret"),
        (f"otpauth://totp/alice?secret={CANARY}&secret={CANARY}", "the parameter secret stands in the URI twice"),
        (f"otpauth://totp/alice?secret={CANARY}&Secret=", "the parameter secret stands in the URI twice"),
        (f"otpauth://totp/alice?issuer=A&secret={CANARY}&issuer=A", "the parameter issuer stands in the URI twice"),
        (f"otpauth://totp/alice?digits=6&secret={CANARY}&digits=6", "the parameter digits stands in the URI twice"),
        (f"otpauth://totp/alice?secret={CANARY}&digits=5", r"digits must be 6, 7 or 8 \(RFC 4226 §5.3\), not 5"),
        (f"otpauth://totp/alice?secret={CANARY}&digits=9", "digits must be 6, 7 or 8 .* not 9"),
        (f"otpauth://totp/alice?secret={CANARY}&digits=x", "digits must be a number, as in digits=6"),
        (f"otpauth://totp/alice?secret={CANARY}&digits=", "digits must be a number"),
        (f"otpauth://totp/alice?secret={CANARY}&digits=-6", "digits must be a number"),
        (f"otpauth://totp/alice?secret={CANARY}&digits=٦", "digits must be a number"),
        (f"otpauth://totp/alice?secret={CANARY}&digits={CANARY}", "digits must be a number"),
        (f"otpauth://totp/alice?secret={CANARY}&period=0", r"period must be 15 to 120 seconds .* not 0"),
        (f"otpauth://totp/alice?secret={CANARY}&period=14", "NIST SP 800-63B-4 §3.1.4.1.* not 14"),
        (f"otpauth://totp/alice?secret={CANARY}&period=121", "period must be 15 to 120 seconds .* not 121"),
        (f"otpauth://totp/alice?secret={CANARY}&period=30.0", "period must be a number, as in period=30"),
        (f"otpauth://totp/alice?secret={CANARY}&period={'9' * 3000}", "period must be a number"),
        (f"otpauth://totp/alice?secret={CANARY}&algorithm=MD5", "algorithm must be one of SHA1, SHA256, SHA512"),
        (f"otpauth://totp/alice?secret={CANARY}&algorithm=", "algorithm must be one of SHA1, SHA256, SHA512"),
        (f"otpauth://totp/alice%00?secret={CANARY}", "the label or issuer contains control characters"),
        (f"otpauth://totp/alice?secret={CANARY}&issuer=a%0Ab", "the label or issuer contains control characters"),
        (f"otpauth://totp/alice?secret={CANARY}".ljust(4097), "a Key URI has at most 4096 characters"),
    ],
    ids=lambda value: ascii(value[:60]),
)
def test_refused_uris(uri: str, message: str) -> None:
    """What cannot be an authenticator of RFC 6238 is refused by name, without showing the URI."""
    for read in (parse, TOTP.from_uri):
        with pytest.raises(InvalidKeyUri, match=message) as refusal:
            read(uri)
        assert "CANARY" not in shown(refusal.value)
        assert frames(refusal.value) >= 1
        assert refusal.value.__context__ is None


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("JBSWY3DPEHPK3PXP", r"at least 128 bits \(RFC 4226 §4 R6\), but this one has 10 bytes"),
        ("C4N4RY0" + CANARY, "character 7 of the base32 secret is '0'"),
        (CANARY + "A", "it was cut short"),
        (CANARY + "AB", "stray bits at its end"),
        (CANARY + "%2B", r"character 33 of the base32 secret is '\+'"),
        (CANARY + "#fragment", "character 33 of the base32 secret is '#'"),
        (CANARY + "%FF", "character 33 of the base32 secret"),
        (CANARY * 40, "at most 512 characters"),
    ],
)
def test_refused_secrets(secret: str, message: str) -> None:
    """A secret is refused if it is not base32, or below 128 bits as the format's own short example is."""
    for read in (parse, TOTP.from_uri):
        with pytest.raises(InvalidSecret, match=message) as refusal:
            read(f"otpauth://totp/Example:alice@google.com?secret={secret}&issuer=Example")
        assert not re.search("CANARY|C4N4RY|JBSWY", shown(refusal.value))
        assert refusal.value.__context__ is None


@pytest.mark.parametrize("wrong", [None, PUBLISHED.encode(), 42, [CANARY]])
def test_a_uri_is_text(wrong: Any) -> None:
    """Another type is a TypeError that names the type only."""
    for read in (parse, TOTP.from_uri):
        with pytest.raises(TypeError, match=f"a Key URI is str, not {type(wrong).__name__}") as refusal:
            read(wrong)
        assert not re.search(f"CANARY|{SECRET}", shown(refusal.value))


@given(st.text() | st.text(alphabet="otpauh:/?&=%+20ACME secretissuerdigitsperiod\0").map("otpauth://totp/".__add__))
def test_any_text_is_read_or_refused(uri: str) -> None:
    """The parser returns a result or one of its two errors, and nothing else."""
    result = key_uri.read(uri)
    assert isinstance(result, KeyUri | InvalidKeyUri | InvalidSecret)


def test_a_surrogate_is_refused() -> None:
    """Text that no encoding can carry does not break the parser."""
    with pytest.raises(InvalidKeyUri, match="control characters"):
        parse(f"otpauth://totp/\ud800?secret={SECRET}")


def test_what_was_read_hides_the_secret() -> None:
    """Neither its repr nor a pickle shows the secret."""
    read = parse(PUBLISHED)
    assert SECRET not in repr(read)
    assert repr(read).startswith("KeyUri(account_name='john.doe@email.com', issuer='ACME Co', _secret=<hidden>, ")
    with pytest.raises(TypeError, match="carries a secret"):
        pickle.dumps(read)


def test_nothing_points_to_a_server() -> None:
    """The module that writes secrets into URIs knows no web address (ASVS 5.0 14.2.1, 14.2.3)."""
    assert "http" not in inspect.getsource(key_uri)
    assert unquote(PUBLISHED).count("://") == 1
