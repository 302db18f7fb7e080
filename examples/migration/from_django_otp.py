"""Move users from django-otp: their `TOTPDevice`, and the tokens of their `StaticDevice`s as recovery codes.

    DJANGO_SETTINGS_MODULE=mysite.settings python from_django_otp.py \
        --app mysite.security:two_factor --by ops:carol --dry-run

A user is moved under `str(user.pk)`. Set-ups that were never confirmed are left out.
"""

# pyright: basic, reportMissingTypeStubs=false, reportAttributeAccessIssue=false
# The old libraries have no types.

import sys
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import django
from django.contrib.auth import get_user_model

from twofa.migration import Enrolment, NotMovable, main, with_time_zone


def enrolments(arguments: Namespace) -> Iterator[Enrolment | NotMovable]:
    """Read the users with devices page by page."""
    django.setup()
    from django_otp.plugins.otp_static.models import StaticToken
    from django_otp.plugins.otp_totp.models import TOTPDevice

    pages = get_user_model().objects.order_by("pk").values_list("pk", flat=True)
    last = None
    while ids := list((pages if last is None else pages.filter(pk__gt=last))[: arguments.batch]):
        devices, tokens = defaultdict(list), defaultdict(list)
        for device in TOTPDevice.objects.filter(user_id__in=ids, confirmed=True):
            devices[device.user_id].append(device)
        static = StaticToken.objects.filter(device__user_id__in=ids, device__confirmed=True)
        for user_id, token in static.order_by("pk").values_list("device__user_id", "token"):
            tokens[user_id].append(token)
        for user_id in ids:
            if devices[user_id]:
                yield _enrolment(str(user_id), devices[user_id], tokens[user_id])
            elif tokens[user_id]:
                yield NotMovable(user_id=str(user_id), reason="has static tokens, but no confirmed TOTP device")
        last = ids[-1]


def _enrolment(user_id: str, devices: Sequence[Any], tokens: Sequence[str]) -> Enrolment | NotMovable:
    device = max(devices, key=lambda device: (device.last_t, device.pk))
    try:
        secret = device.bin_key
    except ValueError:
        return NotMovable(user_id=user_id, reason="the device's key is not hexadecimal")
    if device.t0 != 0:
        return NotMovable(user_id=user_id, reason=f"time steps are counted from t0={device.t0}, which no app does")
    remark = ""
    if len(devices) > 1:
        remark = f"{len(devices)} TOTP devices: only {device.name!r}, used last, still works"
    return Enrolment(
        user_id=user_id,
        secret=secret,
        digits=device.digits,
        period=device.step,
        confirmed_at=with_time_zone(device.created_at),
        last_step=device.last_t if device.last_t >= 0 else None,
        drift=device.drift,
        recovery_codes=tuple(dict.fromkeys(tokens)),
        remark=remark,
    )


if __name__ == "__main__":
    sys.exit(main("django-otp", enrolments, description=__doc__))
