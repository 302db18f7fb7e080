"""Nobody is signed in without the session layer's word, whichever way they have come in.

There are many ways: this site's sign-in page, the admin's own, a social login, `force_login`, a view that somebody
forgot. All of them end in Django's `login`, which says that it has happened by a signal. To the second factor that is
the word of the password, and no more: where a code is owed, it raises, and nobody is signed in. Whoever comes past even
that, with a session that names them and no word of ours, is nobody to every view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import auth, messages
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.shortcuts import redirect
from django.utils.functional import SimpleLazyObject
from web_pages import HEADERS

from django_site.pages import Request, language_of, now, problem_page
from django_site.security import two_factor
from twofa.errors import CodeRequired, NoSetup, SetupExpired, SignInRequired, TwoFactorError
from twofa.session import refuse_cross_site

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpResponse

DJANGOS_OWN = (auth.SESSION_KEY, auth.BACKEND_SESSION_KEY, auth.HASH_SESSION_KEY)
"""Where Django's `login` notes in the session whom it has let in."""


class SecondFactor:
    """Opens the session, keeps every view to those who are signed in, and answers the library's errors."""

    def __init__(self, get_response: Callable[[Request], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: Request) -> HttpResponse:
        """Answer a request."""
        request.language = language_of(request)
        try:
            refuse_cross_site(request.method or "", request.headers)
        except TwoFactorError as problem:
            response = problem_page(request, problem.http_status)
        else:
            self.recognise(request)
            response = self.get_response(request)
        ours = {} if request.path.startswith("/admin/") else HEADERS  # its scripts and styles are Django's
        for name, value in {**ours, "Cache-Control": "no-store"}.items():
            response[name] = value
        return response

    def recognise(self, request: Request) -> None:
        """Find out who is asking: Django's word counts only where it is ours too."""
        named = request.user
        request.me = two_factor.session(
            request.session,
            host_user=str(named.pk) if named.is_authenticated else None,
            source=request.META["REMOTE_ADDR"],
        )
        # Asked for when it is needed: while the store is down nobody is let in, and everybody can sign out.
        request.user = SimpleLazyObject(lambda: named if request.me.user_id else AnonymousUser())

        async def user_in_async_views() -> Any:
            return request.user

        request.auser = user_in_async_views

    def process_view(self, request: Request, view: Any, *_: Any) -> HttpResponse | None:
        """Let nobody into a view who is not signed in, unless it is marked `login_not_required`."""
        if getattr(view, "login_required", True):
            try:
                request.me.require()
            except TwoFactorError as problem:
                return self.answer(request, problem)
        return None

    def process_exception(self, request: Request, problem: Exception) -> HttpResponse | None:
        """Answer an error of the library's that a view has let through."""
        if not isinstance(problem, TwoFactorError):
            return None
        if request.session.modified:
            keep_session(request)
        return self.answer(request, problem)

    def answer(self, request: Request, problem: TwoFactorError) -> HttpResponse:
        """Lead to the page where it goes on."""
        if isinstance(problem, CodeRequired):
            return redirect("code")
        if isinstance(problem, SignInRequired):
            # After a form, look first: the second click of two finds out what the first one did.
            return redirect("overview" if request.method == "POST" else f"/sign-in?reason={problem.reason}")
        if isinstance(problem, NoSetup | SetupExpired):
            messages.warning(request, request.language.problem(problem, now()))
            return redirect("overview")
        return problem_page(request, problem.http_status)


@receiver(user_logged_in)
def take_the_password(request: Request, user: Any, **_: Any) -> None:
    """Take Django's `login` for what it is: the password was right. Raises `CodeRequired` where that is not enough."""
    me = getattr(request, "me", None)
    if me is None or me.user_id == str(user.pk):  # no request of this site's, or a code was given just now
        return
    noted = {key: request.session[key] for key in DJANGOS_OWN}
    request.user = AnonymousUser()
    me.password_accepted(str(user.pk), cookies=request.COOKIES)  # empties the session
    request.session.update(noted)
    request.user = user


def keep_session(request: Request) -> None:
    """Write the session under another new id: `ATOMIC_REQUESTS` has rolled the first one back with the view."""
    request.session.cycle_key()
    before = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    type(request.session)(before).delete()  # which has come back by that
