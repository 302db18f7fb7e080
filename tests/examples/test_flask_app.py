"""The Flask example's own sessions. What its pages do is tested together with the other examples' (`test_attacks.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import flask
from sites import SESSION, FlaskServer

if TYPE_CHECKING:
    from pathlib import Path


def test_a_request_under_way_does_not_revive_a_session(tmp_path: Path) -> None:
    """What it writes when the session was signed out meanwhile is written nowhere."""
    with FlaskServer().serve() as server:
        site = server.new_site(tmp_path)
        alice = site.client().sign_in()
        sessions = site.app.session_interface
        with site.app.test_request_context("/", headers={"Cookie": f"{SESSION}={alice.cookie}"}):
            late = sessions.open_session(site.app, flask.request)
            assert late
            alice.post("/sign-out")
            late["more"] = True
            late.rotate()
            answer = site.app.response_class()
            sessions.save_session(site.app, late, answer)
        revived = answer.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
        assert 302 == site.client(revived).get("/administration/account").status_code
        assert [] == site.sql("SELECT * FROM session")
        site.close()
