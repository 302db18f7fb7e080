"""The key ring: keys are read strictly, mistakes are explained, and no key is shown anywhere."""

from __future__ import annotations

import base64
import copy
import hmac
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from leaks import frames, shown
from support import KEY, OTHER_KEY, USER

from twofa import KeyRing
from twofa.errors import InvalidKey

RAW = base64.urlsafe_b64decode(KEY + "=")


def test_a_new_key_is_32_random_bytes() -> None:
    """Each generated key is another one, of 43 characters without padding, and a ring takes it."""
    keys = {KeyRing.generate_key() for _ in range(8)}

    assert 8 == len(keys)
    for key in keys:
        assert 43 == len(key)
        assert 32 == len(base64.urlsafe_b64decode(key + "="))
    assert 8 == len(KeyRing(*keys).key_ids)


WRONG_KEYS: dict[str, tuple[Any, str]] = {
    # how it is wrong: the key, and what the refusal says
    "empty": ("", "has 0 characters, and a key has 43"),
    "31 bytes": (KEY[:-2], "has 41 characters, and a key has 43"),
    "33 bytes": (base64.urlsafe_b64encode(RAW + b"!").decode(), "has 44 characters, and a key has 43"),
    "16 bytes": (base64.urlsafe_b64encode(RAW[:16]).decode(), "has 22 characters, and a key has 43"),
    "two keys as one": (KEY + OTHER_KEY, "has 86 characters, and a key has 43"),
    "hexadecimal": (RAW.hex(), r"is in hexadecimal \(64 digits\), and a key is in base64url \(43 characters\)"),
    "standard base64": (base64.b64encode(bytes(range(224, 256))).decode(), r"is in standard base64, with \+ or /"),
    "a line break": (
        KEY + "\n",
        r"has white space around it, such as the line break at the end of a file: strip\(\) it",
    ),
    "a space before": (" " + KEY, "has white space around it"),
    "a space inside": (KEY[:20] + " " + KEY[20:], "contains a space: from_env separates keys at commas and spaces"),
    "commas": (f"{KEY},{OTHER_KEY}", "contains a comma: .* KeyRing takes each as an argument of its own"),
    "semicolons": (f"{KEY};{OTHER_KEY}", "contains a semicolon: from_env separates keys at commas and spaces"),
    "lines": (f"{KEY}\n{OTHER_KEY}\n", "contains a line break"),
    "double quotes": (f'"{KEY}"', "stands in quotation marks, which some tools take as part of it: remove them"),
    "single quotes": (f"'{KEY}'", "stands in quotation marks"),
    "typographic quotes": (f"\u201c{KEY}\u201d", "stands in quotation marks"),
    "a list as text": (f'["{KEY}", "{OTHER_KEY}"]', "is a list as text: write the keys one after the other"),
    "trailing bits": (KEY[:-1] + "d", "was mistyped: its last character cannot be the last one of a key"),
    "a foreign letter": (KEY[:-1] + "\u00e9", "has characters that base64url does not have"),
    "a surrogate": (KEY[:-1] + "\ud800", "has characters that base64url does not have"),
    "an assignment": (f"TWOFA_KEYS={KEY}", "has characters that base64url does not have"),
    "bytes": (KEY.encode(), "is bytes, not str"),
    "none": (None, "is NoneType, not str"),
    "a list": ([KEY, OTHER_KEY], r"is list, not str: pass each key as an argument of its own, KeyRing\(\*keys\)"),
    "all zero": ("A" * 43, "is not random"),
    "a pattern": (base64.urlsafe_b64encode(b"password" * 4).decode().rstrip("="), "is not random"),
    "nine distinct bytes": (base64.urlsafe_b64encode(bytes(i % 9 for i in range(32))).decode(), "is not random"),
}


@pytest.mark.parametrize("name", WRONG_KEYS)
def test_what_is_no_key_is_refused(name: str) -> None:
    """What is not 32 random bytes in base64url is refused by its number and for its reason, and shown nowhere."""
    key, says = WRONG_KEYS[name]
    for place, keys in ((1, (key,)), (1, (key, OTHER_KEY)), (2, (OTHER_KEY, key))):
        with pytest.raises(InvalidKey, match=f"^key {place} {says}") as refusal:
            KeyRing(*keys)
        _shows_no_key(refusal, *([key] if isinstance(key, str) and key else []))


def test_a_key_of_ten_distinct_bytes_is_taken() -> None:
    """P8: the bound on how random a key must look is ten distinct bytes, not eleven."""
    key = base64.urlsafe_b64encode(bytes(i % 10 for i in range(32))).decode()

    assert 1 == len(KeyRing(key).key_ids)


def _shows_no_key(refusal: pytest.ExceptionInfo[InvalidKey], *keys: str) -> None:
    assert refusal.value.__context__ is None
    seen = shown(refusal.value)
    assert frames(refusal.value) >= 1
    for key in (*keys, KEY, OTHER_KEY):
        assert key not in seen
        assert repr(key)[1:-1] not in seen


def test_the_same_key_twice_is_refused() -> None:
    """A key that is named twice is a mistake, however it is padded."""
    for again in (KEY, KEY + "="):
        with pytest.raises(InvalidKey, match="key 3 is in the ring already") as refusal:
            KeyRing(KEY, OTHER_KEY, again)
        _shows_no_key(refusal, KEY, OTHER_KEY)


def test_padding_of_a_key_does_not_matter() -> None:
    """A key that some tool wrote with its padding is the same key."""
    assert KeyRing(KEY).key_ids == KeyRing(KEY + "=").key_ids


@pytest.mark.parametrize("value", [f"{KEY},{OTHER_KEY}", f"{KEY} {OTHER_KEY}", f" {KEY} ,\n {OTHER_KEY},\n"])
def test_a_ring_is_read_from_the_environment(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commas, spaces and line breaks separate the keys, and the first is the primary."""
    monkeypatch.setenv("TWOFA_KEYS", value)

    assert KeyRing(KEY, OTHER_KEY).key_ids == KeyRing.from_env("TWOFA_KEYS").key_ids


@pytest.mark.parametrize("value", [None, "", "  ", " , "])
def test_an_environment_without_keys_is_refused(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no default key: the refusal names the variable, and says to make a key once and to keep it."""
    monkeypatch.delenv("TWOFA_KEYS", raising=False)
    if value is not None:
        monkeypatch.setenv("TWOFA_KEYS", value)

    with pytest.raises(
        InvalidKey, match=r"^the environment variable TWOFA_KEYS holds no key\. Make one, once"
    ) as refusal:
        KeyRing.from_env("TWOFA_KEYS")
    assert "Do not make another one at each start" in str(refusal.value)


def test_the_refusal_says_how_to_make_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command in the message, run as it stands by a shell, sets the variable to a key."""
    monkeypatch.delenv("TWOFA_KEYS", raising=False)
    with pytest.raises(InvalidKey) as refusal:
        KeyRing.from_env("TWOFA_KEYS")
    [command] = re.findall("^    (export TWOFA_KEYS=.*)$", str(refusal.value), re.MULTILINE)
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    made = subprocess.run(
        ["sh", "-c", f'{command}; printf %s "$TWOFA_KEYS"'],
        env={**os.environ, "PATH": here, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert 1 == len(KeyRing(made.stdout).key_ids)


WRONG_NAMES: dict[str, str] = {
    # what was passed instead of a name
    "a key": KEY,
    "a padded key": KEY + "=",
    "a key with a line break": KEY + "\n",
    "two keys": f"{KEY},{OTHER_KEY}",
    "two keys and a line break": f"{KEY} {OTHER_KEY}\n",
    "a key in quotes": f'"{KEY}"',
    "a cut key": KEY[:-3],
    "a key that is an identifier": "Q0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0E",
    "a hexadecimal key": "ca" + RAW.hex()[2:],
    "a short hexadecimal key": "ca" + RAW.hex()[2:32],
    "a surrogate": KEY + "\ud800",
    "nothing": "",
}


@pytest.mark.parametrize("name", WRONG_NAMES)
def test_what_could_be_a_key_is_not_named(name: str) -> None:
    """P11: if someone passes the value in place of the name, neither message nor traceback shows it."""
    with pytest.raises(
        InvalidKey, match="from_env takes the name of an environment variable, such as TWOFA_KEYS"
    ) as it:
        KeyRing.from_env(WRONG_NAMES[name])

    _shows_no_key(it, *filter(None, [WRONG_NAMES[name], KEY[:-3], RAW.hex()[2:32]]))


@pytest.mark.parametrize("name", ["TWOFA_KEYS", "twofa_keys", "KEYS2", "_keys", "A" * 24, "A_" * 32])
def test_what_can_only_be_a_name_is_named(name: str) -> None:
    """A variable that is not set is named in the message if its name cannot be a key."""
    with pytest.raises(InvalidKey, match=f"^the environment variable {name} holds no key"):
        KeyRing.from_env(name)


@pytest.mark.parametrize(
    "name",
    ["TwoFaKeys", "A" * 25, "A_" * 32 + "A", "twofa.keys", "a" * 32],
    ids=["mixed", "word", "long", "dot", "hex"],
)
def test_a_variable_with_an_unusual_name_is_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set is read whatever its name is; where its keys are refused, its name is not shown."""
    monkeypatch.setenv(name, KEY)
    assert KeyRing(KEY).key_ids == KeyRing.from_env(name).key_ids

    monkeypatch.setenv(name, "")
    with pytest.raises(InvalidKey, match=r"^the environment variable holds no key[^$]*export TWOFA_KEYS="):
        KeyRing.from_env(name)
    monkeypatch.setenv(name, f"{KEY},{KEY}")
    with pytest.raises(InvalidKey, match=r"^environment variable: key 2 is in the ring already"):
        KeyRing.from_env(name)


@pytest.mark.parametrize("wrong", [None, b"TWOFA_KEYS", ["TWOFA_KEYS"]])
def test_a_name_is_text(wrong: Any) -> None:
    """Another type is a TypeError that says what is wanted."""
    with pytest.raises(
        TypeError, match=f"takes the name of an environment variable as str, not {type(wrong).__name__}"
    ):
        KeyRing.from_env(wrong)


@pytest.mark.parametrize("wrong", ["CANARY-no-key", KEY, f'"{KEY}"', f"{OTHER_KEY};{OTHER_KEY}"])
def test_a_wrong_environment_shows_no_key(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal names the variable and the number of the key, and neither it nor its traceback shows one."""
    monkeypatch.setenv("TWOFA_KEYS", f"{KEY},{wrong}")

    with pytest.raises(InvalidKey, match=r"^environment variable TWOFA_KEYS: key 2 ") as refusal:
        KeyRing.from_env("TWOFA_KEYS")
    _shows_no_key(refusal, wrong)


def test_a_ring_hides_its_keys() -> None:
    """P11: a repr shows public ids only, of eight characters; a ring is neither pickled nor copied."""
    ring = KeyRing(KEY, OTHER_KEY)

    assert f"KeyRing(key_ids={ring.key_ids!r})" == repr(ring)
    assert [8, 8] == list(map(len, ring.key_ids))
    assert not any(part in repr(part_of) for part_of in (ring, ring.for_user(USER)) for part in (KEY, repr(RAW)))
    for carry in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="carries keys"):
            carry(ring)


def test_a_key_id_is_derived_from_its_key() -> None:
    """The id is the first six bytes of HKDF-Expand with its own label, so no id tells anything of a key."""
    expected = hmac.digest(RAW, b"twofa1 key id" + b"\x01", "sha256")[:6]

    assert (base64.urlsafe_b64encode(expected).decode(),) == KeyRing(KEY).key_ids
