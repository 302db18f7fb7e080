"""A Django site with django-allauth's MFA, as its settings module; run as a program it enrols users, as allauth does it.

With `OLD_ENCRYPTED` set its adapter encrypts what it stores. It prints what its users hold: for each id the Key URI in
their app, and the recovery codes on their paper.
"""

import json
import os
import sys
from pathlib import Path

from cryptography.fernet import Fernet

SECRET_KEY = "of the old site"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "allauth",
    "allauth.account",
    "allauth.mfa",
]
MIDDLEWARE = ["allauth.account.middleware.AccountMiddleware"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("OLD_DATABASE", "")}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
MFA_TOTP_ISSUER = "Old site"
MFA_TOTP_TOLERANCE = 1
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
if os.environ.get("OLD_DIGITS"):
    MFA_TOTP_DIGITS, MFA_TOTP_PERIOD = 8, 60

_FERNET = Fernet("b2Ygb25lIG9sZCBzaXRlLCBmb3IgdGVzdHMgb25seSE=")

if os.environ.get("OLD_ENCRYPTED"):
    MFA_ADAPTER = "allauth_site.make_adapter"


def make_adapter():
    from allauth.mfa.adapter import DefaultMFAAdapter

    class Adapter(DefaultMFAAdapter):
        def encrypt(self, text):
            return _FERNET.encrypt(text.encode()).decode()

        def decrypt(self, encrypted_text):
            return _FERNET.decrypt(encrypted_text.encode()).decode()

    return Adapter()


def main(bulk):
    import time

    import django
    import pyotp
    from django.core.management import call_command

    django.setup()
    from allauth.mfa.adapter import get_adapter
    from allauth.mfa.models import Authenticator
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
    from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
    from django.contrib.auth.models import User

    call_command("migrate", verbosity=0)
    held = {}

    def enrol(name, *, codes=True):
        user = User.objects.create(username=name, email=f"{name.replace(' ', '')}@example.com")
        secret = generate_totp_secret()
        app = TOTP.activate(user, secret)
        recovery = RecoveryCodes.activate(user) if codes else None
        uri = get_adapter().build_totp_url(user, secret)
        held[name] = {"id": str(user.pk), "uri": uri, "codes": recovery.get_unused_codes() if recovery else []}
        return app, recovery

    app, recovery = enrol("alice")
    used = pyotp.parse_uri(held["alice"]["uri"]).at(time.time())
    assert app.validate_code(used)
    app.instance.record_usage()
    assert recovery.validate_code(held["alice"]["codes"][3])
    held["alice"] |= {"used_code": used, "used_token": held["alice"]["codes"][3]}
    _, recovery = enrol("migrated")
    recovery.instance.data["migrated_codes"] = [get_adapter().encrypt(code) for code in ("abcd-EFGH", "x1y2-Z3w4")]
    recovery.instance.save()
    held["migrated"]["codes"] = ["abcd-EFGH", "x1y2-Z3w4"]
    enrol("no codes", codes=False)
    app, _ = enrol("with a key")
    Authenticator.objects.create(user=app.instance.user, type=Authenticator.Type.WEBAUTHN, data={"name": "key"})
    user = User.objects.create(username="key only")
    Authenticator.objects.create(user=user, type=Authenticator.Type.WEBAUTHN, data={"name": "key"})
    held["key only"] = {"id": str(user.pk)}
    if os.environ.get("OLD_ENCRYPTED"):
        app, _ = enrol("other key")
        app.instance.data["secret"] = Fernet(Fernet.generate_key()).encrypt(b"JBSWY3DPEHPK3PXP").decode()
        app.instance.save()
    for number in range(bulk):
        enrol(f"user {number}")
    json.dump(held, sys.stdout)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    os.environ["DJANGO_SETTINGS_MODULE"] = "allauth_site"
    main(int(sys.argv[1]))
