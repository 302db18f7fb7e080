"""The commands and their arguments."""

from __future__ import annotations

import os
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from typing_extensions import override

from twofa.cli import commands
from twofa.cli.application import VARIABLE
from twofa.cli.check import check
from twofa.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

_EPILOG = """\
exit codes:
  0  done; nothing was found
  1  check: something to mend; other commands: refused, or some users left undone
  2  check: users cannot sign in, or are at risk; other commands: the store or a record failed
  3  nothing was done: wrong arguments, or no application

With --json each result is one line of JSON, and errors are {"error": ..., "message": ...}.
"""


class Parser(ArgumentParser):
    """`ArgumentParser`, but wrong arguments are `Exit.UNKNOWN`: a monitoring system takes argparse's 2 for an alarm."""

    @override
    def error(self, message: str) -> NoReturn:
        self.print_usage()
        self.exit(Exit.UNKNOWN, f"{self.prog}: {message}\n")


def make_parser() -> Parser:
    """Return the parser of `python -m twofa`."""
    parser = Parser(
        prog="python -m twofa",
        description="Look after the second factor of an application's users.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_commands(parser, needs_app=True)
    return parser


def add_commands(parser: ArgumentParser, *, needs_app: bool = False) -> None:
    """Add every command to a parser: to that of `python -m twofa`, or to that of a framework's own command line.

    With `needs_app` each command that works on an application gets the option `--app`.
    """
    group = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    key = _add(group, "generate-key", "make a key for KeyRing; keep it where your other secrets are")
    key.set_defaults(run=None)

    def command(name: str, run: Callable[..., Exit], what: str) -> ArgumentParser:
        added = _add(group, name, what)
        added.set_defaults(run=run)
        if needs_app:
            add_app_argument(added)
        return added

    _user(command("status", commands.status, "show where a user's account stands"))
    events = command("events", commands.events, "show a user's audit trail, newest first")
    _user(events)
    events.add_argument("--limit", type=_count, default=50, metavar="N", help="show at most N events (50)")
    reseal = command("reseal", commands.reseal, "encrypt every record under the primary key; run it again to go on")
    add_bulk_arguments(reseal)
    _after(reseal)
    reset_codes = command("reset-codes", commands.reset_codes, "make and show new recovery codes for a user")
    _user(reset_codes)
    _word(reset_codes)
    revoke_codes = command(
        "revoke-codes", commands.revoke_codes, "end all recovery codes made before a time, as after a restored backup"
    )
    revoke_codes.add_argument(
        "--before", type=_time, required=True, metavar="TIME", help="such as 2027-01-15T08:00:00Z; later sets stay"
    )
    _word(revoke_codes)
    add_bulk_arguments(revoke_codes)
    _after(revoke_codes)
    disable = command("disable", commands.disable, "turn a user's second factor off")
    _user(disable)
    _word(disable)
    _user(command("end-sessions", commands.end_sessions, "end every session of a user"))
    examine = command("check", check, "look for mistakes in keys, store and clock")
    examine.add_argument("--records", type=_count, default=1000, metavar="N", help="open the first N records (1000)")


def add_app_argument(parser: ArgumentParser) -> None:
    """Add `--app`."""
    parser.add_argument(
        "--app",
        metavar="MODULE:ATTRIBUTE",
        default=os.environ.get(VARIABLE),
        help="your TwoFactor or AsyncTwoFactor, or a function that returns it; "
        f"by default what the environment variable {VARIABLE} names",
    )


def add_bulk_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of a command that goes through all users."""
    parser.add_argument("--batch", type=_count, default=100, metavar="N", help="users to read at a time (100)")
    parser.add_argument("--workers", type=_count, default=4, metavar="N", help="users to work on at a time (4)")


def add_json_argument(parser: ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="write JSON, one result a line")


def _add(group: Any, name: str, what: str) -> ArgumentParser:
    added: ArgumentParser = group.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
    add_json_argument(added)
    return added


def _user(parser: ArgumentParser) -> None:
    parser.add_argument("user", metavar="USER", help="the user's id, as your application passes it to twofa")


def _after(parser: ArgumentParser) -> None:
    parser.add_argument("--after", default="", metavar="USER", help="begin after this user, in the store's order")


def _word(parser: ArgumentParser) -> None:
    parser.add_argument("--by", required=True, help="who decides this, such as support:carol; it is put on record")
    parser.add_argument("--reason", required=True, help="why, such as 'identity checked, ticket 4711'")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _time(text: str) -> int:
    at = datetime.fromisoformat(text)
    if at.utcoffset() is None:
        raise ArgumentTypeError(f"{text} does not say its time zone: end it with Z for UTC")
    return int(at.timestamp())
