"""Move users from libpass, or passlib: from a column with what `TOTP.to_json()` returns, encrypted or not.

    python from_libpass.py postgresql+psycopg://localhost/app --table users --json-column totp \
        --wallet /etc/app/totp-secrets --app myapp.security:two_factor --by ops:carol --dry-run

Rows whose column is empty are left out.
"""

# pyright: basic, reportMissingTypeStubs=false, reportAttributeAccessIssue=false
# The old libraries have no types.

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import Any

from passlib.totp import TOTP
from sqlalchemy import column, select, table

from twofa.migration import Enrolment, NotMovable, main
from twofa.migration.sql import pages
from twofa.otp import Algorithm

_ALGORITHMS: dict[str, Algorithm] = {"sha1": "SHA1", "sha256": "SHA256", "sha512": "SHA512"}


def add_arguments(parser: ArgumentParser) -> None:
    """Say where the JSON is, and what decrypts it."""
    parser.add_argument("database", help="the URL of the database, as SQLAlchemy writes it")
    parser.add_argument("--table", default="users", help="the table (users)")
    parser.add_argument("--schema", help="the table's database schema, if it is not the default one")
    parser.add_argument("--id-column", default="id", metavar="COLUMN", help="the user's id (id); it must be unique")
    parser.add_argument("--json-column", default="totp", metavar="COLUMN", help="(totp)")
    parser.add_argument("--counter-column", metavar="COLUMN", help="where you keep last_counter, if you do")
    parser.add_argument("--wallet", metavar="FILE", help="the file that you pass as secrets_path, if you do")


def enrolments(arguments: Namespace) -> Iterator[Enrolment | NotMovable]:
    """Read the table page by page."""
    totp = TOTP.using(secrets_path=arguments.wallet) if arguments.wallet else TOTP
    user_id: Any = column(arguments.id_column)
    content: Any = column(arguments.json_column)
    counter: Any = column(arguments.counter_column) if arguments.counter_column else None
    columns = [user_id, content] if counter is None else [user_id, content, counter]
    users = table(arguments.table, *columns, schema=arguments.schema)
    query = select(*columns).select_from(users).where(content.is_not(None), content != "")
    for page in pages(arguments.database, query, user_id, arguments.batch):
        for row in page:
            yield _enrolment(totp, str(row[0]), row[1], row[2] if counter is not None else None)


def _enrolment(totp: Any, user_id: str, content: str, last_counter: int | None) -> Enrolment | NotMovable:
    try:
        app = totp.from_json(content)
    except (ValueError, KeyError, TypeError) as problem:
        reason = f"libpass cannot read it (is --wallet right?): {type(problem).__name__}"
        return NotMovable(user_id=user_id, reason=reason)
    return Enrolment(
        user_id=user_id,
        secret=app.key,
        algorithm=_ALGORITHMS[app.alg],
        digits=app.digits,
        period=app.period,
        last_step=last_counter,
    )


if __name__ == "__main__":
    sys.exit(main("libpass", enrolments, add_arguments, description=__doc__))
