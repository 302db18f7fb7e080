"""Django's settings. `DATA` names the folder of the databases, `TWOFA_KEYS` holds the keys, `HTTPS=0` is for a demo."""

import os
import time
from pathlib import Path

import web_pages
from django.core.management.utils import get_random_secret_key
from web_pages.notices import log_mail

from twofa import Policy

DATA = Path(os.environ["DATA"])
HTTPS = os.environ.get("HTTPS", "1") == "1"

SECRET_KEY = os.environ.get("SECRET_KEY") or get_random_secret_key()
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "django_site.urls"
USE_TZ = True
TIME_ZONE = "UTC"

# --- the second factor ----------------------------------------------------------------------------------------------

TWOFA_APP = "django_site.security:two_factor"
POLICY = Policy(session_lifetime=12 * 3600)
"""NIST SP 800-63B-4 §2.2.3: at AAL2 at most a day in all; `SESSION_COOKIE_AGE` is the hour without activity."""
CLOCK = time.time
"""Unix seconds, for the pages and the second factor."""
SEND_MAIL = log_mail
"""Takes the address, the subject and the text: a real site calls `send_mail` of Django, outside of the request."""

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "twofa.stores.django",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_site.middleware.SecondFactor",  # directly behind Django's own word on who is asking
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

# --- databases: with SQLite, one for the second factor alone, since every view is a transaction in the other ----------

_SQLITE = {"init_command": "PRAGMA journal_mode=WAL", "timeout": 20}
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "app.db",
        "OPTIONS": _SQLITE,
        "ATOMIC_REQUESTS": True,
    },
    "twofa": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA / "twofa.db", "OPTIONS": _SQLITE},
}
DATABASE_ROUTERS = ["django_site.security.TwoFactorRouter"]

# --- sessions and passwords -----------------------------------------------------------------------------------------

# ASVS 5.0 3.3.1 to 3.3.4: the __Host- prefix, Secure, HttpOnly, SameSite.
SESSION_COOKIE_NAME = "__Host-session" if HTTPS else "session"
SESSION_COOKIE_SECURE = HTTPS
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 3600
SESSION_SAVE_EVERY_REQUEST = True  # so that the hour begins again
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
LOGIN_URL = "sign_in"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django_site.security.TellSecondFactor"},
]

# --- pages ----------------------------------------------------------------------------------------------------------

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.jinja2.Jinja2",
        "DIRS": [web_pages.TEMPLATES],
        "OPTIONS": {"context_processors": ["django_site.pages.names_in_templates"]},
    },
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    },
]
STATIC_URL = "/static/"
STATICFILES_DIRS = [web_pages.STATIC]
