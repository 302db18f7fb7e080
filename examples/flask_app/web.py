"""What every page needs: the services behind it, who is asking, and in which language."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from flask import current_app, g, render_template, request
from werkzeug.local import LocalProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from web_pages import Language
    from werkzeug.wrappers import Response

    from flask_app.accounts import Accounts, User
    from twofa import TwoFactor
    from twofa.errors import TwoFactorError
    from twofa.session import Session


class Services(NamedTuple):
    """What the application was put together from."""

    two_factor: TwoFactor
    accounts: Accounts
    languages: Mapping[str, Language]
    clock: Callable[[], float]

    def now(self) -> int:
        """Return Unix seconds."""
        return int(self.clock())


# Those of the application, and of the request, that is being answered.
services = cast("Services", LocalProxy(lambda: current_app.extensions["flask_app"]))
me = cast("Session", LocalProxy(lambda: g.me))
t = cast("Language", LocalProxy(lambda: g.language))
user = cast("User", LocalProxy(lambda: g.user))


def known(response: Response, trust_days: int = 0) -> Response:
    """Make this browser known, after a sign-in and after a change, so that no stranger can keep its owner out."""
    response.set_cookie(**me.browser_cookie(trust_days=trust_days))
    return response


def show_again(template: str, problem: TwoFactorError, **context: object) -> tuple[str, int, dict[str, str]]:
    """Show a form again that was refused, with what to do about it."""
    retry_at = getattr(problem, "retry_at", None)
    error = t.problem(problem, services.now(), request.form.get("code", ""))
    page = render_template(template, error=error, retry_at=retry_at, **context)
    return page, problem.http_status, problem.http_headers
