"""The otpauth Key URI, out and in: what the QR code of a set-up carries.

`otpauth://totp/Issuer:account?secret=…&issuer=…&algorithm=…&digits=…&period=…`. The builder is strict, since apps
differ in what they forgive; the parser forgives what apps do, and is strict about secret, digits and period.

`urllib.parse` is imported where it is used: only enrolment needs it. Helpers that see the URI return what is wrong with
it instead of raising, so that no frame of a traceback holds it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from twofa._values import Hidden, Value
from twofa.errors import InvalidKeyUri, InvalidSecret, PolicyError
from twofa.otp import TOTP

if TYPE_CHECKING:
    from twofa.policy import Algorithm

__all__ = ["KeyUri", "build", "check_label", "parse"]

_LONGEST_ACCOUNT_NAME = 330
_LONGEST_ISSUER = 210
"""Characters when percent-encoded. The issuer stands in the URI twice, so that with the longest secret and settings a
URI has at most 1,024 characters, and still makes a QR code that a phone reads."""
_LONGEST_INPUT = 4096
_LONGEST_NUMBER = 4
_PLAIN_IN_LABEL = "@"
"""Allowed in a path as it is (RFC 3986 §3.3), and what published examples do."""
_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ESCAPED = re.compile(rb"[^\w.~-]")
"""Bytes that percent-encoding writes as three characters."""
_FORM = re.compile(r"otpauth://(?P<type>[^/?]*)/(?P<label>[^?]*)\?(?P<query>.*)", re.IGNORECASE | re.DOTALL)


class KeyUri(Value):
    """What a Key URI says."""

    __slots__ = ("account_name", "issuer", "totp")

    account_name: str
    """From the label; empty where the URI names none."""
    issuer: str | None
    """The `issuer` parameter, or else the label's prefix: where the two differ, apps show the parameter."""
    totp: TOTP

    def __init__(self, *, account_name: str, issuer: str | None, totp: TOTP) -> None:
        self._fill(account_name=account_name, issuer=issuer, totp=totp)


def build(totp: TOTP, *, account_name: str, issuer: str) -> str:
    """Return the Key URI of an authenticator, every parameter spelled out, spaces as `%20`; at most 1,024 characters.

    Raises `InvalidKeyUri` for a label that `check_label` refuses.
    """
    from urllib.parse import quote

    check_label(account_name, issuer)
    label = f"{quote(issuer, safe=_PLAIN_IN_LABEL)}:{quote(account_name, safe=_PLAIN_IN_LABEL)}"
    settings = f"algorithm={totp.algorithm}&digits={totp.digits}&period={totp.period}"
    return f"otpauth://totp/{label}?secret={totp.base32}&issuer={quote(issuer, safe='')}&{settings}"


def check_label(account_name: str, issuer: str) -> None:
    """Raise `InvalidKeyUri` unless both can stand in a label and be read back by any app.

    Neither may be empty, begin or end with a space, contain a colon (it separates the two), a control character, a line
    separator or an unpaired surrogate, nor be too long: `account_name` 330 characters, `issuer` 210, counted as they
    stand in the URI, where a letter outside ASCII takes six to twelve.
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
    if _UNPRINTABLE.search(part):
        raise InvalidKeyUri(f"{name} must not contain control characters, line separators or unpaired surrogates")
    length = len(_ESCAPED.sub(b"%00", part.encode()))
    if length > longest:
        raise InvalidKeyUri(
            f"{name} must have at most {longest} characters in percent-encoding, not {length}: "
            "the QR code would become too dense for a phone"
        )


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
    form = _FORM.fullmatch(uri.strip())
    if form is None:
        return InvalidKeyUri("a Key URI has the form otpauth://totp/Issuer:account?secret=…")
    if form["type"].lower() != "totp":
        return InvalidKeyUri(_wrong_type(form["type"].lower()))
    parameters = _read_query(form["query"])
    if isinstance(parameters, InvalidKeyUri):
        return parameters
    totp = _read_totp(parameters)
    if not isinstance(totp, TOTP):
        return totp
    return _with_label(totp, form["label"], parameters.get("issuer", _NOTHING).value.strip())


def _wrong_type(kind: str) -> str:
    if kind == "hotp":
        return "this is a counter-based authenticator (HOTP), and only time-based ones (TOTP) are read"
    return "the type of a Key URI must be totp, as in otpauth://totp/Issuer:account?secret=…"


def _read_query(query: str) -> dict[str, Hidden[str]] | InvalidKeyUri:
    from urllib.parse import unquote_plus

    parameters: dict[str, Hidden[str]] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        name = name.lower()
        if name in parameters:
            return InvalidKeyUri(f"the parameter {name} stands in the URI twice: which one counts?")
        if name in _KNOWN:
            parameters[name] = Hidden(unquote_plus(value))
    return parameters


def _read_totp(parameters: dict[str, Hidden[str]]) -> TOTP | Exception:
    secret = parameters.get("secret", _NOTHING)
    if not secret.value:
        return InvalidKeyUri("the URI has no secret")
    numbers: dict[str, int] = {}
    for name, usual in (("digits", 6), ("period", 30)):
        text = parameters[name].value if name in parameters else str(usual)
        if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER):
            return InvalidKeyUri(f"{name} must be a number, as in {name}={usual}")
        numbers[name] = int(text)
    algorithm = parameters["algorithm"].value if "algorithm" in parameters else "SHA1"
    try:
        return TOTP(secret.value, algorithm=cast("Algorithm", algorithm.upper().replace("-", "")), **numbers)
    except InvalidSecret as problem:
        return InvalidSecret(str(problem))
    except PolicyError as problem:
        return InvalidKeyUri(str(problem))


def _with_label(totp: TOTP, label: str, issuer: str) -> KeyUri | InvalidKeyUri:
    from urllib.parse import unquote

    prefix, colon, account_name = re.sub("%3a", ":", label, flags=re.IGNORECASE).partition(":")
    if not colon:
        prefix, account_name = "", prefix
    # Some write + for a space, as in a query. In an address it is meant: alice+work@example.com.
    spaced = account_name if "@" in account_name or "%40" in account_name else account_name.replace("+", " ")
    account_name, issuer = unquote(spaced).strip(), issuer or unquote(prefix.replace("+", " ")).strip()
    if _UNPRINTABLE.search(account_name + issuer):
        return InvalidKeyUri("the label or issuer contains control characters or line separators")
    return KeyUri(account_name=account_name, issuer=issuer or None, totp=totp)


_KNOWN = frozenset({"secret", "issuer", "algorithm", "digits", "period"})
_NOTHING = Hidden("")
