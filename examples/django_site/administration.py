"""Administration → Two-factor authentication. The middleware lets nobody in here who is not signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.contrib.auth import authenticate, login
from django.shortcuts import redirect
from django.views import View
from web_pages import about_codes, password_is_old, password_may_be_known, summarise, words

from django_site.pages import known, now, show, show_again, with_cookie
from django_site.security import two_factor
from twofa.errors import InvalidCode, ProofRequired, RecoveryCodesExhausted, ReenrolmentRequired, Throttled

if TYPE_CHECKING:
    from django.http import HttpResponse

    from django_site.pages import Request
    from twofa import RecoveryCodes

REFUSALS = (InvalidCode, ProofRequired, RecoveryCodesExhausted, ReenrolmentRequired, Throttled)
"""What a form shows beside its field; all else leads to another page."""

CODES_SAVED = "Your recovery codes are saved."
SIGNED_OUT_ELSEWHERE = "You are signed out everywhere else, and no browser is trusted any more."


class Account(View):
    """The other tab."""

    def get(self, request: Request) -> HttpResponse:
        """Show who is signed in."""
        return show(request, "account.html")


class Overview(View):
    """The tab itself."""

    def get(self, request: Request) -> HttpResponse:
        """Show where the account stands, and what happened to it."""
        events = two_factor.events(request.me.require(), limit=300)
        suspected = password_may_be_known(events)
        return show(request, "overview.html", activity=summarise(events), suspected=suspected)


# --- a first app ----------------------------------------------------------------------------------------------------


class Add(View):
    """The button on the overview."""

    def post(self, request: Request) -> HttpResponse:
        """Begin to add an app to an account that has none; a password of long ago is asked for again."""
        if request.me.status.required:  # an app was added in another tab meanwhile
            return redirect("overview")
        if password_is_old(request.me.signed_in_at, now()):
            return redirect("password")
        request.me.begin_setup(request.user.email)
        return redirect("set_up")


class Password(View):
    """The password, asked for again (ASVS 5.0 7.5.1)."""

    def get(self, request: Request) -> HttpResponse:
        """Ask for it."""
        return show(request, "password.html")

    def post(self, request: Request) -> HttpResponse:
        """Take it, and go on."""
        user = authenticate(request, username=request.user.username, password=request.POST.get("password"))
        if user is None:
            return show(request, "password.html", status=422, error=request.language(words.WRONG_PASSWORD))
        request.me.password_accepted(request.me.require(), cookies=request.COOKIES)
        login(request, user)
        return Add().post(request)


class SetUp(View):
    """The QR code, and the code that confirms it."""

    def get(self, request: Request) -> HttpResponse:
        """Show the QR code: the same one again after a reload."""
        return show(request, "set_up.html", setup=request.me.setup())

    def post(self, request: Request) -> HttpResponse:
        """Confirm the new app by its first code, and show the recovery codes."""
        try:
            return show_codes(request, request.me.confirm_setup(request.POST.get("code")))
        except InvalidCode as problem:
            return show_again(request, "set_up.html", problem, setup=request.me.setup())


class CancelSetUp(View):
    """The link below the QR code."""

    def post(self, request: Request) -> HttpResponse:
        """Forget a set-up and touch nothing else."""
        request.me.cancel_setup()
        return redirect("overview")


# --- what changes a protected account -------------------------------------------------------------------------------


class Change(View):
    """Every change that takes a code."""

    def get(self, request: Request, action: str) -> HttpResponse:
        """Say what will stop working, and ask for a code if the last one is too long ago."""
        return show(request, "change.html", name=action, action=words.ACTIONS[action])

    def post(self, request: Request, action: str) -> HttpResponse:
        """Do it, if the code serves."""
        try:
            return self.change(request, action, request.POST.get("code"))
        except REFUSALS as problem:
            return show_again(request, "change.html", problem, name=action, action=words.ACTIONS[action])

    def change(self, request: Request, action: str, code: str | None) -> HttpResponse:
        """Do it, or raise."""
        if action == "reset-codes":
            return show_codes(request, request.me.reset_recovery_codes(code))
        if action == "turn-off":
            request.me.disable(code)
            return redirect("overview")
        if action == "reset-app":
            request.me.reset_authenticator(request.user.email, code)
        else:  # replace, set-up-again
            request.me.begin_setup(request.user.email, code)
        return redirect("set_up")


# --- recovery codes, browsers, sessions -----------------------------------------------------------------------------


def show_codes(request: Request, codes: RecoveryCodes) -> HttpResponse:
    """Show the codes, this once (NIST SP 800-63B-4 §3.1.2.1).

    The answer to the form itself shows them: a redirect would have to keep them somewhere readable.
    """
    about = about_codes(request.language, codes, request.user.email, now())
    return known(request, show(request, "codes.html", **about))


class CodesSaved(View):
    """The button below the codes."""

    def post(self, request: Request) -> HttpResponse:
        """Take the user's word that the codes are in a safe place."""
        if request.POST.get("saved"):
            request.me.acknowledge_recovery_codes()
            messages.success(request, request.language(CODES_SAVED))
        return redirect("overview")


class SignOutElsewhere(View):
    """The button beside the activity."""

    def post(self, request: Request) -> HttpResponse:
        """End every other session, and the trust in every browser."""
        request.me.end_other_sessions()
        messages.success(request, request.language(SIGNED_OUT_ELSEWHERE))
        return known(request, redirect("overview"))


class ForgetBrowser(View):
    """The button beside a trusted browser."""

    def post(self, request: Request) -> HttpResponse:
        """Ask for a code here at the next sign-in."""
        return with_cookie(redirect("overview"), request.me.forget_browser())
