"""Run the application on this machine: `make web`, or `python -m flask_app` in `examples/`."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from werkzeug.serving import make_server

from flask_app.accounts import Accounts, User
from flask_app.app import create_app
from twofa import KeyRing

DEMO = User("user-42", "alice@example.com", "Alice Moreau")
PASSWORD = "correct horse battery staple"  # noqa: S105  # the demo's, and printed


def main() -> None:
    """Serve until Ctrl-C. Without DATABASE and TWOFA_KEYS, everything is forgotten then."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # what is worth reading are the events and the mails
    with tempfile.TemporaryDirectory() as folder:
        database = os.environ.get("DATABASE", str(Path(folder) / "app.db"))
        keys = KeyRing.from_env("TWOFA_KEYS") if "TWOFA_KEYS" in os.environ else KeyRing(KeyRing.generate_key())
        app = create_app(database, keys=keys, https=False)
        Accounts(database).add(DEMO, PASSWORD)
        port = int(os.environ.get("PORT", "8000"))
        with make_server("127.0.0.1", port, app, threaded=True) as server, suppress(KeyboardInterrupt):
            sys.stdout.write(f"\n  http://localhost:{server.server_port}/\n  {DEMO.email}\n  {PASSWORD}\n\n")
            sys.stdout.flush()
            server.serve_forever()


if __name__ == "__main__":
    main()
