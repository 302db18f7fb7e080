"""What the examples share: every text has its translation, lists stay readable, and little is about the second factor."""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import web_pages
from jinja2 import Environment, FileSystemLoader, nodes
from markupsafe import Markup
from web_pages import words
from web_pages.language import ENGLISH

from twofa import Event, EventKind, errors
from twofa.errors import CodeReused, InvalidCode, MalformedCode, Throttled, TwoFactorError

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(web_pages.__file__).parent.parent
NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)


# --- languages ------------------------------------------------------------------------------------------------------


def english() -> set[str]:
    """Return every text that a page can show."""
    texts = {text for template in web_pages.TEMPLATES.iterdir() for text in _in_template(template)}
    for file in (*EXAMPLES.glob("*_app/*.py"), *EXAMPLES.glob("django_site/*.py"), *EXAMPLES.glob("web_pages/*.py")):
        texts.update(_in_code(file))
    texts |= {*words.PROBLEMS.values(), *words.RECOVERY_PROBLEMS.values(), *words.SIGN_IN.values()}
    texts |= {*words.STATES.values(), *words.EVENTS.values(), *words.FAILED_BEFORE}
    texts |= {text for page in words.PAGES.values() for text in page}
    texts |= {text for action in words.ACTIONS.values() for text in (action.title, action.effect, action.button)}
    texts |= {text for unit in words.UNITS for text in unit[1:]}
    return texts | {words.UNKNOWN, words.WRONG_PASSWORD, words.BY_RECOVERY_CODE}


def _in_template(path: Path) -> Iterator[str]:
    """Return what is given to `t` or `t.count`, and the labels that are handed on to it."""
    tree = Environment(loader=FileSystemLoader(web_pages.TEMPLATES)).parse(path.read_text(encoding="utf-8"))
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Getattr):
            given = call.args[1:3] if call.node.attr == "count" else []
        else:
            given = {"t": call.args[:1], "go": call.args[1:2], "add": call.args[:1]}.get(
                getattr(call.node, "name", ""), []
            )
        yield from (each.value for argument in given for each in _constants(argument))
    for assigned in tree.find_all(nodes.Assign):
        if getattr(assigned.target, "name", "") == "title":
            yield from (each.value for each in assigned.find_all(nodes.Const) if str(each.value)[0].isupper())


def _constants(node: nodes.Node) -> Iterator[nodes.Const]:
    if isinstance(node, nodes.Const):
        yield node
    elif isinstance(node, nodes.CondExpr):
        yield from _constants(node.expr1)
        if node.expr2 is not None:
            yield from _constants(node.expr2)


def _in_code(path: Path) -> Iterator[str]:
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name | ast.Attribute):
            name = call.func.id if isinstance(call.func, ast.Name) else call.func.attr
            if name in {"t", "self", "count"}:
                yield from (
                    given.value
                    for given in call.args
                    if isinstance(given, ast.Constant) and isinstance(given.value, str)
                )


@pytest.mark.parametrize("code", sorted(set(web_pages.load()) - {"en"}))
def test_every_text_is_translated(code: str) -> None:
    """No text is missing, none is left over, and each has the names that are filled in."""
    texts = web_pages.load()[code].texts
    assert set() == english() - set(texts)
    assert set() == set(texts) - english()
    for original, translated in texts.items():
        assert set(re.findall(r"\{\w+\}", original)) == set(re.findall(r"\{\w+\}", translated)), original


def test_every_refusal_has_a_sentence() -> None:
    """Each error that a page can meet has words of its own, and each event that the list shows is one of the library."""
    met = {"invalid_code", "malformed_code", "code_reused", "proof_required", "no_setup", "setup_expired"}
    assert met <= set(words.PROBLEMS)
    codes = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TwoFactorError)}
    assert set() == set(words.PROBLEMS) - codes
    assert set() == set(words.EVENTS) - {str(kind) for kind in EventKind}


@pytest.mark.parametrize(
    ("accepted", "code"),
    [
        ([], "en"),
        (["fr"], "en"),
        (["de"], "de"),
        (["de-AT", "en"], "de"),
        (["fr", "de-CH", "en"], "de"),
        (["en-US", "de"], "en"),
        (["../../etc"], "en"),
    ],
)
def test_the_browser_chooses_the_language(accepted: list[str], code: str) -> None:
    """The first language that the pages speak, in whatever country; English where there is none."""
    assert code == web_pages.choose(accepted, web_pages.load()).code


@pytest.mark.parametrize(
    ("header", "asked"),
    [
        ("", [""]),
        ("de", ["de"]),
        ("fr;q=0.5, de-CH, en;q=0.9", ["de-CH", "en", "fr"]),
        ("de; q=0.1 ,en ; q=0.2", ["en", "de"]),
        ("de;q=much, en", ["en"]),
    ],
)
def test_what_a_browser_asks_for(header: str, asked: list[str]) -> None:
    """The best first, whatever the order; what is no number is left out."""
    assert asked == web_pages.preferred(header)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1 second"),
        (1, "1 second"),
        (30, "30 seconds"),
        (60, "60 seconds"),
        (61, "2 minutes"),
        (3600, "60 minutes"),
        (3601, "2 hours"),
    ],
)
def test_a_wait_is_told_in_its_unit(seconds: int, text: str) -> None:
    """Rounded up, so that nobody comes back too early."""
    assert text == ENGLISH.duration(seconds)


def test_problems_are_told_by_their_code() -> None:
    """To whoever typed a recovery code in other words than to whoever typed the app's; a wait comes before both."""
    now, recovery = NOON.timestamp(), "7KQX-M4TZ-N8BW-2HJV"
    assert "set your phone's time to automatic" in ENGLISH.problem(InvalidCode(), now, "123 456")
    assert "Compare it with your list" in ENGLISH.problem(InvalidCode(), now, recovery)
    assert "Cross it out" in ENGLISH.problem(CodeReused(), now, recovery)
    assert "Enter the digits" in ENGLISH.problem(MalformedCode(), now, "12345")
    wait = "Too many incorrect codes. Try again in 30 seconds."
    for error in (Throttled(NOON + timedelta(seconds=30)), InvalidCode(NOON + timedelta(seconds=30))):
        assert wait == ENGLISH.problem(error, now, "123456")


def test_pieces_of_a_page_stay_pieces_of_a_page() -> None:
    """A time goes into a sentence as markup, and everything around it is escaped."""
    german = web_pages.load()["de"]
    assert "An seit <time>1</time>." == german("On since {date}.", date=Markup("<time>1</time>"))
    assert "<b> &lt;i&gt;" == ENGLISH("{a} {b}", a=Markup("<b>"), b="<i>")
    assert "<i>" == ENGLISH("{a}", a="<i>")


# --- what happened ---------------------------------------------------------------------------------------------------


def _events(*kinds: str) -> list[Event]:
    return [Event(kind=EventKind(kind), user_id="u", at=NOON - timedelta(hours=n)) for n, kind in enumerate(kinds)]


def test_what_is_frequent_is_one_line() -> None:
    """A thousand guesses and sign-ins hide nothing that was changed."""
    lines = web_pages.summarise(
        _events(*["code_rejected", "code_accepted", "setup_rejected"] * 300, "authenticator_confirmed", "disabled")
    )
    assert [("Incorrect code", 600), ("Code accepted", 300)] == [(line.text, line.times) for line in lines[:2]]
    assert ["Authenticator app added", "Two-factor authentication turned off"] == [line.text for line in lines[2:]]
    assert [True, False, False, False] == [line.alarming for line in lines]
    assert NOON == lines[0].at


def test_what_is_rare_is_shown_each_time() -> None:
    """Up to eight lines; what the page has no words for is left out."""
    lines = web_pages.summarise(_events(*["setup_begun", "throttled", "setup_cancelled"] * 6))
    assert ["Set-up of an authenticator app started", "Set-up cancelled"] * 4 == [line.text for line in lines]


@pytest.mark.parametrize(
    ("kinds", "known"),
    [
        ([], False),
        (["code_rejected"] * 50, False),
        (["code_accepted", "attack_suspected"], True),
        (["authenticator_blocked"], True),
        (["password_changed", "attack_suspected"], False),
        (["attack_suspected", "password_changed"], True),
    ],
)
def test_the_owner_is_told_that_the_password_may_be_known(kinds: list[str], known: bool) -> None:
    """From the library's warning on, until the password is changed."""
    assert known is web_pages.password_may_be_known(_events(*kinds))


# --- how little it is ------------------------------------------------------------------------------------------------


def about_the_second_factor(path: Path) -> int:
    """Count the lines of code in all functions that speak to the session or the library; docstrings are none."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lines: set[int] = set()
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
            attributes = {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)}
            if {"me", "two_factor"} & (names | attributes):
                body = function.body[1:] if ast.get_docstring(function) else function.body
                lines.update(number for part in body for number in range(part.lineno, (part.end_lineno or 0) + 1))
    return len(lines)


@pytest.mark.parametrize(
    ("file", "most"),
    [
        ("flask_app/sign_in.py", 25),
        ("flask_app/administration.py", 40),
        ("fastapi_app/sign_in.py", 25),
        ("fastapi_app/administration.py", 40),
        ("fastapi_app/api.py", 45),
        ("django_site/sign_in.py", 25),
        ("django_site/administration.py", 40),
        ("django_site/middleware.py", 40),
    ],
)
def test_little_is_about_the_second_factor(file: str, most: int) -> None:
    """Signing in takes at most 25 lines, the whole Administration page at most 40, an API for both at most 45."""
    counted = about_the_second_factor(EXAMPLES / file)
    assert counted <= most
    assert 10 < counted, "something is counted"
