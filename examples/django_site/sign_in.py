"""Signing in and out: the password, then a code where the account has a second factor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.contrib.auth import authenticate, get_user_model, login
from django.shortcuts import redirect
from django.views import View
from web_pages import TRUST_DAYS, words

from django_site.pages import enter, show, show_again
from twofa.errors import CodeReused, InvalidCode, RecoveryCodesExhausted, ReenrolmentRequired, Throttled

if TYPE_CHECKING:
    from django.http import HttpResponse

    from django_site.pages import Request


class SignIn(View):
    """The first step."""

    def get(self, request: Request) -> HttpResponse:
        """Ask for the password."""
        notice = words.SIGN_IN.get(request.GET.get("reason", ""), "")
        return show(request, "sign_in.html", notice=request.language(notice))

    def post(self, request: Request) -> HttpResponse:
        """Take the password. Where that is not enough, `login` raises: see the middleware."""
        user = authenticate(request, username=request.POST.get("email"), password=request.POST.get("password"))
        if user is None:
            return show(request, "sign_in.html", status=422, error=request.language(words.WRONG_PASSWORD))
        login(request, user)
        return enter(request)


class Code(View):
    """The second step."""

    def get(self, request: Request) -> HttpResponse:
        """Ask for a code, unless a first click on the button has signed in already."""
        if request.me.user_id:
            return enter(request)
        problem, kind = request.GET.get("problem"), request.GET.get("kind", "app")
        return show(request, "code.html", error=problem and request.language(words.problem(problem, kind)))

    def post(self, request: Request) -> HttpResponse:
        """Take a code of the app or a recovery code, and only then let Django sign in."""
        code = request.POST.get("code", "")
        try:
            verification = request.me.verify(code)
        except CodeReused as problem:  # perhaps by a double click
            return redirect(f"/sign-in/code?problem={problem.code}&kind={words.kind_of(code)}")
        except (InvalidCode, Throttled, ReenrolmentRequired, RecoveryCodesExhausted) as problem:
            return show_again(request, "code.html", problem)
        login(request, get_user_model().objects.get(pk=request.me.require()))
        for text in words.about_sign_in(request.language, verification):
            messages.warning(request, text)
        return enter(request, trust_days=TRUST_DAYS if request.POST.get("trust") else 0)


class SignOut(View):
    """The way out."""

    def post(self, request: Request) -> HttpResponse:
        """End the session, also while the store is down."""
        request.me.sign_out()
        return redirect("sign_in")
