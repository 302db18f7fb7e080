"""Move users from Flask-Security: those whose second factor is an authenticator app, with their recovery codes.

    python from_flask_security.py myapp:app --app myapp.security:two_factor --by ops:carol --dry-run

`SECURITY_TOTP_SECRETS` and `SECURITY_MULTI_FACTOR_RECOVERY_CODES_KEYS` of the Flask application decrypt what they have
encrypted. The application's datastore has to be an SQLAlchemy one.
"""

# pyright: basic, reportMissingTypeStubs=false, reportAttributeAccessIssue=false
# The old libraries have no types.

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from passlib.totp import TOTP
from sqlalchemy import inspect, select

from twofa.migration import Enrolment, NotMovable, main
from twofa.otp import Algorithm

_ALGORITHMS: dict[str, Algorithm] = {"sha1": "SHA1", "sha256": "SHA256", "sha512": "SHA512"}


def add_arguments(parser: ArgumentParser) -> None:
    """Say which Flask application the users are in."""
    parser.add_argument("flask_app", metavar="MODULE:FLASK_APP", help="your Flask application, or what makes it")
    parser.add_argument("--id-attribute", default="id", metavar="NAME", help="the attribute to move a user under (id)")


def enrolments(arguments: Namespace) -> Iterator[Enrolment | NotMovable]:
    """Read the users who have a second factor page by page."""
    module, _, name = arguments.flask_app.partition(":")
    app = getattr(import_module(module), name)
    if not hasattr(app, "extensions"):
        app = app()
    with app.app_context():
        security = app.extensions["security"]
        user_model, session = security.datastore.user_model, security.datastore.db.session
        totp = TOTP.using(issuer=app.config["SECURITY_TOTP_ISSUER"], secrets=app.config["SECURITY_TOTP_SECRETS"])
        key = inspect(user_model).primary_key[0]
        page = select(user_model).where(user_model.tf_primary_method.is_not(None)).order_by(key).limit(arguments.batch)
        last = None
        while users := session.scalars(page if last is None else page.where(key > last)).all():
            for user in users:
                yield _enrolment(str(getattr(user, arguments.id_attribute)), user, security, totp)
            last = inspect(users[-1]).identity[0]
            session.rollback()
            session.expunge_all()  # or the session would hold every user that was ever read


def _enrolment(user_id: str, user: Any, security: Any, totp: Any) -> Enrolment | NotMovable:
    if user.tf_primary_method != "authenticator" or not user.tf_totp_secret:
        return NotMovable(user_id=user_id, reason=f"the second factor is a code by {user.tf_primary_method}")
    try:
        app = totp.from_json(user.tf_totp_secret)
    except (ValueError, KeyError, TypeError) as problem:
        return NotMovable(user_id=user_id, reason=f"SECURITY_TOTP_SECRETS cannot decrypt it: {type(problem).__name__}")
    held = security.datastore.mf_get_recovery_codes(user)
    codes = security.mf_recovery_codes_util.get_recovery_codes(user)
    lost = len(held) - len(codes)
    return Enrolment(
        user_id=user_id,
        secret=app.key,
        algorithm=_ALGORITHMS[app.alg],
        digits=app.digits,
        period=app.period,
        last_step=security.totp_factory.get_last_counter(user),
        recovery_codes=tuple(codes),
        remark=f"{lost} of the recovery codes cannot be decrypted, or have expired" if lost else "",
    )


if __name__ == "__main__":
    sys.exit(main("Flask-Security", enrolments, add_arguments, description=__doc__))
