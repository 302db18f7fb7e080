"""`python -m twofa.stores.sqlite backup app.db copy.db`: a complete copy of a store that is in use."""

from __future__ import annotations

import argparse
import sqlite3
import sys

from twofa.errors import TwoFactorError
from twofa.stores.sqlite.store import SQLiteStore


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m twofa.stores.sqlite", description=__doc__)
    commands = parser.add_subparsers(required=True)
    backup = commands.add_parser("backup", help="copy a database that is in use, with its latest commits")
    backup.add_argument("database", help="the file that SQLiteStore uses")
    backup.add_argument("copy", help="a new file")
    given = parser.parse_args(arguments)
    try:
        with SQLiteStore(given.database, create=False) as store:
            store.backup(given.copy)
    except (OSError, ValueError, sqlite3.Error, TwoFactorError) as error:
        print(f"no backup was made: {error}", file=sys.stderr)
        return 1
    print(f"copied {given.database} to {given.copy}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
