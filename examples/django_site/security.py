"""The second factor of this site: the one object, and what has to hear of it or tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import get_user_model
from web_pages import PRODUCT
from web_pages.notices import notice_of

from twofa import KeyRing, TwoFactor
from twofa.stores import DjangoStore

if TYPE_CHECKING:
    from twofa import Event


def tell_owner(event: Event) -> None:
    """Send the owner a mail of what happened (NIST SP 800-63B-4 §4.6, ASVS 5.0 6.3.7)."""
    notice = notice_of(event)
    user: Any = None if notice is None else get_user_model().objects.filter(pk=event.user_id).first()
    if notice is not None and user is not None:
        settings.SEND_MAIL(user.email, notice.subject, notice.text)


two_factor = TwoFactor(
    DjangoStore(using="twofa"),
    keys=KeyRing.from_env("TWOFA_KEYS"),
    issuer=PRODUCT,
    policy=settings.POLICY,
    clock=lambda: settings.CLOCK(),  # noqa: PLW0108  # looked up when it is asked, since tests set another one
    on_event=tell_owner,
)


class TwoFactorRouter:
    """Keeps the tables of twofa in the one database, and all others out of it."""

    def allow_migrate(self, db: str, app_label: str, **_: object) -> bool:
        """Say whether an app's tables belong into a database."""
        return (db == "twofa") == (app_label == "twofa")


class TellSecondFactor:
    """A password validator that refuses none: Django tells it of every password that was changed, by whatever page."""

    def validate(self, password: str, user: Any = None) -> None:
        """Accept it."""

    def get_help_text(self) -> str:
        """Ask for nothing."""
        return ""

    def password_changed(self, password: str, user: Any) -> None:  # noqa: ARG002  # Django's signature
        """End the user's sessions and the waits after wrong codes, once they have had a second factor."""
        if two_factor.status(str(user.pk)).generation is not None:
            two_factor.password_changed(str(user.pk))
