"""A Django site with django-otp, as its settings module; run as a program it enrols users, as django-otp does it.

It prints what its users hold: for each id the Key URI in their app, and the static tokens on their paper.
"""

import json
import os
import sys
from pathlib import Path

SECRET_KEY = "of the old site"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("OLD_DATABASE", "")}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True


def _enrol(name, *, tokens=0, **fields):
    from django.contrib.auth.models import User
    from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
    from django_otp.plugins.otp_totp.models import TOTPDevice

    user, _ = User.objects.get_or_create(username=name)
    device = TOTPDevice.objects.create(user=user, name="phone", **fields) if fields.pop("app", True) else None
    codes = []
    if tokens:
        static = StaticDevice.objects.create(user=user, name="paper")
        codes = [static.token_set.create(token=StaticToken.random_token()).token for _ in range(tokens)]
    return user, device, codes


def main(bulk):
    import time

    import django
    import pyotp
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    held = {}

    def give(user, device, codes):
        held[user.username] = {"id": str(user.pk), "uri": device and device.config_url, "codes": codes}

    alice = _enrol("alice", tokens=3)
    phone = pyotp.parse_uri(alice[1].config_url)
    used = phone.at(time.time())
    assert alice[1].verify_token(used)
    assert alice[1].user.staticdevice_set.get().verify_token(alice[2][0])
    give(*alice)
    held["alice"] |= {"used_code": used, "used_token": alice[2][0], "last_step": alice[1].last_t}
    give(*_enrol("slow phone", digits=8, step=60))
    give(*_enrol("short secret", key="0123456789abcdef0123"))
    give(*_enrol("wrong clock", drift=-4))
    give(*_enrol("other epoch", t0=1_600_000_000))
    give(*_enrol("unfinished", confirmed=False))
    give(*_enrol("two phones", last_t=-1))
    give(*_enrol("two phones", last_t=5))
    held["broken key"] = {"id": str(_enrol("broken key", key="zz")[0].pk)}
    user, _, codes = _enrol("paper only", app=False, tokens=2)
    give(user, None, codes)
    for number in range(bulk):
        give(*_enrol(f"user {number}"))
    json.dump(held, sys.stdout)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    os.environ["DJANGO_SETTINGS_MODULE"] = "otp_site"
    main(int(sys.argv[1]))
