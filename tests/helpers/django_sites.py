"""`examples/django_site` for the tests: in this process, on a clock that only the test moves."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any

import django_ready
import httpx
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.test import override_settings
from django_site.security import two_factor
from django_site.wsgi import application
from sites import PASSWORD, Server, Site
from support import FAST

from twofa.stores.django.models import Event, Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from twofa import Policy

assert django_ready.READY
EMAIL = "alice@example.com"


class DjangoServer(Server):
    """Django's own server."""

    def __init__(self) -> None:
        logging.getLogger("django.server").setLevel(logging.CRITICAL)
        logging.getLogger("django.request").setLevel(logging.CRITICAL)
        self.address = "http://localhost"  # where programs ask it without a server

    def new_site(self, folder: Path, policy: Policy = FAST, **options: Any) -> DjangoSite:
        return DjangoSite(self, folder, policy, **options)

    @contextmanager
    def serve(self) -> Iterator[DjangoServer]:
        with ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler) as server:
            server.set_app(application)
            self.address = f"http://localhost:{server.server_port}"
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


class DjangoSite(Site):
    """The site, with nobody but Alice, who may use Django's admin too. Programs ask it without a server."""

    def __init__(self, server: Server, folder: Path, policy: Policy = FAST, **options: Any) -> None:
        super().__init__(server, folder, policy, **options)
        for model, database in ((User, "default"), (Session, "default"), (Record, "twofa"), (Event, "twofa")):
            model.objects.using(database).all().delete()
        self.alice = User.objects.create_superuser(EMAIL, EMAIL, PASSWORD, first_name="Alice", last_name="Moreau")
        self.user_id = str(self.alice.pk)
        self._settings = override_settings(CLOCK=self.clock, SEND_MAIL=self.options["send"])
        self._settings.enable()
        self.two_factor = two_factor
        self.transport = httpx.WSGITransport(app=application)

    @property
    def subjects(self) -> list[str]:
        """What the owner was told by mail."""
        return [subject for _, subject, _ in self.mails]

    def close(self) -> None:
        self._settings.disable()
        two_factor._store.close()
