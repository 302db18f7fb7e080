"""Move users from django-allauth's MFA: their authenticator app and the recovery codes that they have not used.

    DJANGO_SETTINGS_MODULE=mysite.settings python from_allauth.py \
        --app mysite.security:two_factor --by ops:carol --dry-run

A user is moved under `str(user.pk)`. Your `MFA_ADAPTER` decrypts what it has encrypted, and `MFA_TOTP_DIGITS`,
`MFA_TOTP_PERIOD` and the settings of the recovery codes are respected. Security keys (WebAuthn) are not twofa's.
"""

# pyright: basic, reportMissingTypeStubs=false, reportAttributeAccessIssue=false
# The old libraries have no types.

import sys
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import django

from twofa.migration import Enrolment, NotMovable, main, with_time_zone


def enrolments(arguments: Namespace) -> Iterator[Enrolment | NotMovable]:
    """Read the users with authenticators page by page."""
    django.setup()
    from allauth.mfa.models import Authenticator

    pages = Authenticator.objects.order_by("user_id").values_list("user_id", flat=True).distinct()
    last = None
    while ids := list((pages if last is None else pages.filter(user_id__gt=last))[: arguments.batch]):
        held: dict[Any, dict[str, Any]] = defaultdict(dict)
        for authenticator in Authenticator.objects.filter(user_id__in=ids):
            held[authenticator.user_id][authenticator.type] = authenticator
        for user_id in ids:
            yield _enrolment(str(user_id), held[user_id])
        last = ids[-1]


def _enrolment(user_id: str, held: Mapping[str, Any]) -> Enrolment | NotMovable:
    from allauth.mfa import app_settings
    from allauth.mfa.models import Authenticator
    from allauth.mfa.utils import decrypt

    app, codes = held.get(Authenticator.Type.TOTP), held.get(Authenticator.Type.RECOVERY_CODES)
    if app is None:
        return NotMovable(user_id=user_id, reason=f"has no authenticator app, but {' and '.join(sorted(held))}")
    try:
        secret = decrypt(app.data["secret"])
        unused = codes.wrap().get_unused_codes() if codes else []
    except Exception as problem:  # whatever your adapter raises
        return NotMovable(user_id=user_id, reason=f"MFA_ADAPTER cannot decrypt it: {type(problem).__name__}")
    period = app_settings.TOTP_PERIOD
    last_step = None
    if app.last_used_at is not None:
        # allauth remembers the time of the last code, not its step: the latest that it would have accepted then.
        last_step = int(app.last_used_at.timestamp()) // period + app_settings.TOTP_TOLERANCE
    return Enrolment(
        user_id=user_id,
        secret=secret,
        digits=app_settings.TOTP_DIGITS,
        period=period,
        confirmed_at=with_time_zone(app.created_at),
        last_step=last_step,
        recovery_codes=tuple(unused),
        remark="security keys do not come along" if Authenticator.Type.WEBAUTHN in held else "",
    )


if __name__ == "__main__":
    sys.exit(main("django-allauth", enrolments, description=__doc__))
