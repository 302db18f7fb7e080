"""The addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView
from web_pages import words

from django_site import administration, sign_in
from django_site.pages import problem_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpResponse
    from django.http.response import HttpResponseBase
    from django.views import View

    from django_site.pages import Request

TAB = "administration/two-factor"


def page(view: type[View], *, for_everybody: bool = False) -> Callable[..., HttpResponseBase]:
    """Return a page's view. Its forms need no token: the middleware asks the browser where a form comes from."""
    shown = csrf_exempt(view.as_view())
    return login_not_required(shown) if for_everybody else shown


urlpatterns = [
    path("", RedirectView.as_view(pattern_name="overview"), name="home"),
    path("admin/", admin.site.urls),
    path("sign-in", page(sign_in.SignIn, for_everybody=True), name="sign_in"),
    path("sign-in/code", page(sign_in.Code, for_everybody=True), name="code"),
    path("sign-out", page(sign_in.SignOut, for_everybody=True), name="sign_out"),
    path("administration/account", page(administration.Account), name="account"),
    path(TAB, page(administration.Overview), name="overview"),
    path(f"{TAB}/add", page(administration.Add), name="add"),
    path(f"{TAB}/password", page(administration.Password), name="password"),
    path(f"{TAB}/set-up", page(administration.SetUp), name="set_up"),
    path(f"{TAB}/set-up/cancel", page(administration.CancelSetUp), name="cancel_set_up"),
    re_path(rf"^{TAB}/(?P<action>{'|'.join(words.ACTIONS)})$", page(administration.Change), name="change"),
    path(f"{TAB}/codes-saved", page(administration.CodesSaved), name="codes_saved"),
    path(f"{TAB}/sign-out-elsewhere", page(administration.SignOutElsewhere), name="sign_out_elsewhere"),
    path(f"{TAB}/forget-browser", page(administration.ForgetBrowser), name="forget_browser"),
]


def handler404(request: Request, exception: Exception) -> HttpResponse:  # noqa: ARG001  # Django's signature
    """Show that there is no such page."""
    return problem_page(request, 404)


def handler500(request: Request) -> HttpResponse:
    """Say nothing of the inside (ASVS 5.0 16.5.1)."""
    return problem_page(request, 500)
