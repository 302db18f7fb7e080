"""Move users from pyotp, which keeps nothing itself: most applications put a base32 secret into a column of their own.

    python from_pyotp.py postgresql+psycopg://localhost/app --table users --secret-column totp_secret \
        --app myapp.security:two_factor --by ops:carol --dry-run

Digits, period and algorithm are what your code passes to `pyotp.TOTP`. Rows whose secret is empty are left out.
"""

# pyright: basic, reportMissingTypeStubs=false, reportAttributeAccessIssue=false
# The old libraries have no types.

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import Any

from sqlalchemy import column, select, table

from twofa.migration import Enrolment, NotMovable, main
from twofa.migration.sql import pages


def add_arguments(parser: ArgumentParser) -> None:
    """Say where the secrets are, and what they are used with."""
    parser.add_argument("database", help="the URL of the database, as SQLAlchemy writes it")
    parser.add_argument("--table", default="users", help="the table with the secrets (users)")
    parser.add_argument("--schema", help="the table's database schema, if it is not the default one")
    parser.add_argument("--id-column", default="id", metavar="COLUMN", help="the user's id (id); it must be unique")
    parser.add_argument("--secret-column", default="totp_secret", metavar="COLUMN", help="(totp_secret)")
    parser.add_argument("--digits", type=int, default=6, help="digits of a code (6)")
    parser.add_argument("--period", type=int, default=30, help="pyotp's interval in seconds (30)")
    parser.add_argument("--algorithm", choices=["SHA1", "SHA256", "SHA512"], default="SHA1", help="the digest (SHA1)")


def enrolments(arguments: Namespace) -> Iterator[Enrolment | NotMovable]:
    """Read the table page by page."""
    user_id: Any = column(arguments.id_column)
    secret: Any = column(arguments.secret_column)
    users = table(arguments.table, user_id, secret, schema=arguments.schema)
    query = select(user_id, secret).select_from(users).where(secret.is_not(None), secret != "")
    for page in pages(arguments.database, query, user_id, arguments.batch):
        for row in page:
            yield Enrolment(
                user_id=str(row[0]),
                secret=row[1],
                algorithm=arguments.algorithm,
                digits=arguments.digits,
                period=arguments.period,
            )


if __name__ == "__main__":
    sys.exit(main("pyotp", enrolments, add_arguments, description=__doc__))
