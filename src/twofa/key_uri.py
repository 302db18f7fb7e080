"""The otpauth Key URI, written and read: what the QR code of a set-up carries.

`otpauth://totp/Issuer:account?secret=…&issuer=…&algorithm=…&digits=…&period=…`. The builder is strict, since not every
app forgives the same mistakes. The parser forgives what apps forgive, but is strict about secret, digits and period.

This module works on plain values; `twofa.TOTP` calculates with them. Helpers that see the URI return what is wrong with
it instead of raising, so that no frame of a traceback holds it.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from typing import cast
from urllib.parse import quote, unquote, unquote_plus

from twofa import _base32
from twofa._hidden import Hidden
from twofa._parameters import Algorithm, problem_with_parameters
from twofa._text import first_unseen
from twofa.errors import InvalidKeyUri, InvalidSecret, PolicyError

__all__ = ["KeyUri", "build", "check_label", "parse"]

_LONGEST_ACCOUNT_NAME = 330
_LONGEST_ISSUER = 210
"""Characters when percent-encoded. The issuer stands in the URI twice, so that with the longest secret and settings a
URI has at most 1,024 characters, and still makes a QR code that a phone reads."""
_LONGEST_INPUT = 4096
"""Characters of a URI that are read at all (ASVS 5.0 2.2.1)."""
_LONGEST_NUMBER = 4
"""Digits of a number in it, so that nobody makes Python read a number of a million digits."""
_PLAIN_IN_LABEL = "@"
"""Allowed in a path as it is (RFC 3986 §3.3), and what published examples do."""
_SCHEME = "otpauth://"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUri:
    """What a Key URI says. `twofa.TOTP.from_uri` makes a calculator of one."""

    account_name: str
    """From the label; empty where the URI names none."""
    issuer: str | None
    """The `issuer` parameter, or else the label's prefix: where the two differ, apps show the parameter."""
    _secret: Hidden[bytes]
    algorithm: Algorithm
    """`SHA1`, `SHA256` or `SHA512`."""
    digits: int
    """6 to 8."""
    period: int
    """Seconds of a time step, 15 to 120."""

    @property
    def secret(self) -> bytes:
        """16 to 128 bytes."""
        return self._secret.value


def build(
    secret: bytes,
    *,
    account_name: str,
    issuer: str,
    algorithm: Algorithm = "SHA1",
    digits: int = 6,
    period: int = 30,
) -> str:
    """Return the Key URI of an authenticator, every parameter spelled out, spaces as `%20`; at most 1,024 characters.

    Raises `InvalidKeyUri` for a label that `check_label` refuses, and `InvalidSecret` and `PolicyError` as `TOTP` does.
    """
    problem = problem_with_parameters(secret, algorithm, digits, period)
    hidden = Hidden(secret)
    del secret
    if problem is not None:
        raise problem
    return write(hidden, account_name, issuer, algorithm, digits, period)


def write(secret: Hidden[bytes], account_name: str, issuer: str, algorithm: Algorithm, digits: int, period: int) -> str:
    """Do what `build` does, for a secret and parameters that are known to be right."""
    check_label(account_name, issuer)
    label = f"{quote(issuer, safe=_PLAIN_IN_LABEL)}:{quote(account_name, safe=_PLAIN_IN_LABEL)}"
    # Every parameter is written, even the defaults, for apps whose defaults are different.
    settings = f"algorithm={algorithm}&digits={digits}&period={period}"
    return f"otpauth://totp/{label}?secret={_base32.encode(secret.value)}&issuer={quote(issuer, safe='')}&{settings}"


def check_label(account_name: str, issuer: str) -> None:
    """Raise `InvalidKeyUri` unless both can stand in a label and be read back by any app.

    Neither may be empty, begin or end with a space, or contain a colon (it separates the two), a control character, a
    line separator, an unpaired surrogate, or any other character that does not show or that changes the direction of
    text. At most 330 characters for `account_name` and 210 for `issuer`, counted as they stand in the URI, where a
    letter outside ASCII takes six to twelve.
    """
    _check_part("account_name", account_name, _LONGEST_ACCOUNT_NAME)
    _check_part("issuer", issuer, _LONGEST_ISSUER)


def _check_part(name: str, part: object, longest: int) -> None:
    if not isinstance(part, str):
        raise TypeError(f"{name} must be str, not {type(part).__name__}")
    if not part:
        raise InvalidKeyUri(f"{name} must not be empty: the app shows it beside the code")
    if part != part.strip():
        raise InvalidKeyUri(f"{name} must not begin or end with a space")
    if ":" in part:
        raise InvalidKeyUri(f"{name} must not contain a colon: it separates issuer and account in a Key URI")
    unseen = first_unseen(part)
    if unseen is not None:
        raise InvalidKeyUri(
            f"{name} must not contain characters that do not show or that change the direction of text: it contains "
            f"U+{ord(unseen):04X}{_named(unseen)}"
        )
    length = len(quote(part, safe=""))
    if length > longest:
        raise InvalidKeyUri(
            f"{name} must have at most {longest} characters in percent-encoding, not {length}: "
            "the QR code would become too dense for a phone"
        )


def _named(character: str) -> str:
    name = unicodedata.name(character, "")
    return f" ({name})" if name else ""


def parse(uri: str) -> KeyUri:
    """Read a Key URI as leniently as apps do.

    Scheme, type, parameter names and algorithm in any case, `SHA-256` for `SHA256`, parameters in any order, unknown
    ones ignored, `+` or `%20` for a space (a `+` in an e-mail address stays), `:` or `%3A` with or without spaces in
    the label, a missing issuer, or one that differs from the label's (the parameter counts). Refused by name: HOTP, a
    missing secret, a repeated parameter, digits, period and algorithm outside RFC 6238's.

    Raises `InvalidKeyUri`, or `InvalidSecret` for a secret that is not base32 or below 128 bits (RFC 4226 §4 R6).
    """
    result = read(uri)
    if isinstance(result, Exception):
        del uri
        raise result
    return result


def read(uri: object) -> KeyUri | Exception:
    """Do what `parse` does, but return the problem, for callers that keep the URI out of tracebacks."""
    if not isinstance(uri, str):
        return TypeError(f"a Key URI is str, not {type(uri).__name__}")
    if len(uri) > _LONGEST_INPUT:
        return InvalidKeyUri(f"a Key URI has at most {_LONGEST_INPUT} characters")
    path, question_mark, query = uri.strip().partition("?")
    kind, slash, label = path[len(_SCHEME) :].partition("/")
    if path[: len(_SCHEME)].lower() != _SCHEME or not slash or not question_mark:
        return InvalidKeyUri("a Key URI has the form otpauth://totp/Issuer:account?secret=…")
    if kind.lower() != "totp":
        return InvalidKeyUri(_wrong_type(kind.lower()))
    parameters = _read_query(query)
    if isinstance(parameters, InvalidKeyUri):
        return parameters
    unlabelled = _read_parameters(parameters)
    if isinstance(unlabelled, Exception):
        return unlabelled
    return _with_label(unlabelled, label, parameters.get("issuer", _NOTHING).value.strip())


def _wrong_type(kind: str) -> str:
    if kind == "hotp":
        return "this is a counter-based authenticator (HOTP), and only time-based ones (TOTP) are read"
    return "the type of a Key URI must be totp, as in otpauth://totp/Issuer:account?secret=…"


def _read_query(query: str) -> dict[str, Hidden[str]] | InvalidKeyUri:
    """Return the parameters that count. One that is given twice is refused: some apps take the first, some the last."""
    parameters: dict[str, Hidden[str]] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        name = name.lower()
        if name in parameters:
            return InvalidKeyUri(f"the parameter {name} stands in the URI twice: which one counts?")
        if name in _KNOWN:
            parameters[name] = Hidden(unquote_plus(value))
    return parameters


def _read_parameters(parameters: dict[str, Hidden[str]]) -> KeyUri | Exception:
    """Return what the parameters say, without a label yet, or what is wrong with them."""
    base32 = parameters.get("secret", _NOTHING)
    if not base32.value:
        return InvalidKeyUri("the URI has no secret")
    numbers: dict[str, int] = {}
    for name, usual in (("digits", 6), ("period", 30)):
        text = parameters[name].value if name in parameters else str(usual)
        if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER):
            return InvalidKeyUri(f"{name} must be a number, as in {name}={usual}")
        numbers[name] = int(text)
    algorithm = parameters["algorithm"].value.upper().replace("-", "") if "algorithm" in parameters else "SHA1"
    secret = _base32.decode(base32.value)
    if isinstance(secret, InvalidSecret):
        return secret
    problem = problem_with_parameters(secret, algorithm, **numbers)
    if isinstance(problem, PolicyError):  # here the URI is at fault, and not a setting of the application
        return InvalidKeyUri(str(problem))
    if problem is not None:
        return problem
    return KeyUri(
        account_name="", issuer=None, _secret=Hidden(secret), algorithm=cast("Algorithm", algorithm), **numbers
    )


def _with_label(unlabelled: KeyUri, label: str, issuer: str) -> KeyUri | InvalidKeyUri:
    """Add account and issuer, as apps read them from the label and the `issuer` parameter."""
    # Some apps escape the colon between issuer and account, and some do not.
    prefix, colon, account_name = label.replace("%3a", ":").replace("%3A", ":").partition(":")
    if not colon:
        prefix, account_name = "", prefix
    # Some apps write + for a space, as in a query. In an address the + is meant: alice+work@example.com.
    spaced = account_name if "@" in account_name or "%40" in account_name else account_name.replace("+", " ")
    account_name, issuer = unquote(spaced).strip(), issuer or unquote(prefix.replace("+", " ")).strip()
    # More lenient than the builder: other sites' labels have joiners in names and emoji, and nobody can change them.
    if any(unicodedata.category(each) in _UNREADABLE for each in account_name + issuer):
        return InvalidKeyUri("the label or issuer contains control characters or line separators")
    return replace(unlabelled, account_name=account_name, issuer=issuer or None)


_UNREADABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories of controls, surrogates, line and paragraph separators."""
_KNOWN = frozenset({"secret", "issuer", "algorithm", "digits", "period"})
_NOTHING = Hidden("")
