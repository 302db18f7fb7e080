"""Move users from ASP.NET Core Identity: their authenticator key and recovery codes in `AspNetUserTokens`.

    python from_aspnet_identity.py sqlite:///app.db --app myapp.security:two_factor --by ops:carol --dry-run

A user is moved under `AspNetUsers.Id`. Who has `TwoFactorEnabled` off is left out. Identity always uses six digits,
thirty seconds and SHA-1.
"""

# pyright: basic, reportMissingTypeStubs=false, reportAttributeAccessIssue=false
# The old libraries have no types.

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from sqlalchemy import Boolean, ColumnElement, FromClause, and_, column, select, table

from twofa.migration import Enrolment, NotMovable, main
from twofa.migration.sql import pages

_PROVIDER = "[AspNetUserStore]"
_USERS = table("AspNetUsers", column("Id"), column("TwoFactorEnabled", Boolean))
_TOKENS = table("AspNetUserTokens", column("UserId"), column("LoginProvider"), column("Name"), column("Value"))


def add_arguments(parser: ArgumentParser) -> None:
    """Say where the tables are."""
    parser.add_argument("database", help="the URL of the database, as SQLAlchemy writes it")


def enrolments(arguments: Namespace) -> Iterator[Enrolment | NotMovable]:
    """Read the users who have a second factor page by page."""
    key, codes = _TOKENS.alias("key"), _TOKENS.alias("codes")
    query = (
        select(_USERS.c.Id, key.c.Value, codes.c.Value)
        .outerjoin_from(_USERS, key, _is(key, "AuthenticatorKey"))
        .outerjoin(codes, _is(codes, "RecoveryCodes"))
        .where(_USERS.c.TwoFactorEnabled)
    )
    for page in pages(arguments.database, query, _USERS.c.Id, arguments.batch):
        for user_id, secret, joined in page:
            yield _enrolment(str(user_id), secret, joined or "")


def _is(token: FromClause, name: str) -> ColumnElement[bool]:
    return and_(token.c.UserId == _USERS.c.Id, token.c.LoginProvider == _PROVIDER, token.c.Name == name)


def _enrolment(user_id: str, secret: str | None, codes: str) -> Enrolment | NotMovable:
    if not secret:
        return NotMovable(user_id=user_id, reason="has no authenticator app: the second factor is sent by mail or SMS")
    return Enrolment(user_id=user_id, secret=secret, recovery_codes=tuple(code for code in codes.split(";") if code))


if __name__ == "__main__":
    sys.exit(main("ASP.NET Core Identity", enrolments, add_arguments, description=__doc__))
