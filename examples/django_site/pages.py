"""What every page needs: who is asking, in which language, and how a page or a refusal is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import web_pages
from django.conf import settings
from django.contrib.messages import get_messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.urls import reverse
from web_pages import PRODUCT, TRUST_DAYS, words

if TYPE_CHECKING:
    from collections.abc import Callable

    from web_pages import Language

    from twofa.errors import TwoFactorError
    from twofa.session import BrowserCookie, Session


class Request(HttpRequest):
    """A request, with what the middleware adds."""

    me: Session
    language: Language
    user: Any
    auser: Callable[[], Any]


class Person(NamedTuple):
    """What the templates show of a user."""

    name: str
    email: str


def now() -> int:
    """Return Unix seconds."""
    return int(settings.CLOCK())


def language_of(request: HttpRequest) -> Language:
    """Return the language that the browser asks for."""
    return web_pages.choose(web_pages.preferred(request.headers.get("Accept-Language", "")), web_pages.load())


def names_in_templates(request: Request) -> dict[str, object]:
    """Return what every template may use."""
    return {
        "me": getattr(request, "me", None),
        "t": request.language,
        "product": PRODUCT,
        "words": words,
        "form": request.POST,
        "kind": request.POST.get("kind") or request.GET.get("kind", "app"),
        "messages": [(each.level_tag, each.message) for each in get_messages(request)],
        "now": now(),
        "trust_days": TRUST_DAYS,
        "url": address_of,
        "static": static,
    }


def address_of(name: str, **values: object) -> str:
    """Return the address of one of the pages."""
    return reverse(name, kwargs=values)


def show(request: Request, template: str, *, status: int = 200, **context: object) -> HttpResponse:
    """Show a page to whoever is signed in, or to nobody yet."""
    person = Person(request.user.get_full_name(), request.user.email) if request.user.is_authenticated else None
    return render(request, template, {"user": person, **context}, status=status)


def show_again(request: Request, template: str, problem: TwoFactorError, **context: object) -> HttpResponse:
    """Show a form again that was refused, with what to do about it."""
    error = request.language.problem(problem, now(), request.POST.get("code", ""))
    retry_at = getattr(problem, "retry_at", None)
    response = show(request, template, status=problem.http_status, error=error, retry_at=retry_at, **context)
    for name, value in problem.http_headers.items():
        response[name] = value
    return response


def problem_page(request: Request, status: int) -> HttpResponse:
    """Show what a status means, and the way out that works even while nothing can be checked."""
    text = words.PAGES.get(status, words.PAGES[500])
    return render(request, "problem.html", {"text": text, "offer_sign_out": status >= 500}, status=status)


def known(request: Request, response: HttpResponse, trust_days: int = 0) -> HttpResponse:
    """Make this browser known, after a sign-in and after a change, so that no stranger can keep its owner out."""
    return with_cookie(response, request.me.browser_cookie(trust_days=trust_days))


def with_cookie(response: HttpResponse, cookie: BrowserCookie) -> HttpResponse:
    """Set a cookie of the session layer's."""
    arguments: Any = cookie  # Django takes "lax" as well as "Lax", which its types do not say
    response.set_cookie(**arguments)
    return response


def enter(request: Request, trust_days: int = 0) -> HttpResponse:
    """Go in."""
    return known(request, redirect("overview"), trust_days)
