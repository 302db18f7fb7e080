"""Run the site on this machine: `make web-django`, or `python -m django_site` in `examples/`."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from contextlib import suppress

import django
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

from twofa import KeyRing

EMAIL = "alice@example.com"
PASSWORD = "correct horse battery staple"  # noqa: S105  # the demo's, and printed


def main() -> None:
    """Serve until Ctrl-C. Without DATA and TWOFA_KEYS, everything is forgotten then."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("DATA", folder)
        os.environ.setdefault("TWOFA_KEYS", KeyRing.generate_key())
        os.environ.setdefault("HTTPS", "0")
        os.environ["DJANGO_SETTINGS_MODULE"] = "django_site.settings"
        django.setup()
        for database in ("default", "twofa"):
            call_command("migrate", database=database, verbosity=0)
        add_demo_user()
        serve(int(os.environ.get("PORT", "8000")))


def add_demo_user() -> None:
    """Add Alice, who may also use Django's admin."""
    from django.contrib.auth.models import User

    if not User.objects.filter(username=EMAIL).exists():
        User.objects.create_superuser(EMAIL, EMAIL, PASSWORD, first_name="Alice", last_name="Moreau")


def serve(port: int) -> None:
    """Serve the site and its static files."""
    from django_site.wsgi import application  # which configures the logs once more

    logging.getLogger("django.server").setLevel(logging.ERROR)  # what is worth reading are the events and the mails
    with ThreadedWSGIServer(("127.0.0.1", port), WSGIRequestHandler) as server, suppress(KeyboardInterrupt):
        server.set_app(application)
        sys.stdout.write(f"\n  http://localhost:{server.server_port}/\n  {EMAIL}\n  {PASSWORD}\n\n")
        sys.stdout.write(f"  Django's admin: http://localhost:{server.server_port}/admin/\n\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
