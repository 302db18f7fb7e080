"""From a command line to an exit code."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING

from twofa.cli import commands
from twofa.cli.application import Application, ApplicationNotFound, load_application
from twofa.cli.console import Console, first_line
from twofa.cli.exits import Exit
from twofa.cli.parser import make_parser
from twofa.errors import InvalidKey, OutcomeUnknown, RecordError, StoreContention, TwoFactorError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from twofa.asynchronous import AsyncTwoFactor
    from twofa.blocking import TwoFactor

_INTERRUPTED = 130
"""What a shell says of a program that Ctrl-C has ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command that `arguments`, by default those of the process, ask for; return the exit code."""
    parsed = make_parser().parse_args(arguments)
    return run_by_name(parsed, getattr(parsed, "app", None), sys.stdout, sys.stderr)


def run_by_name(arguments: Namespace, name: str | None, out: TextIO, err: TextIO) -> int:
    """As `run`, on the application that `name` leads to, such as `"myproject.security:two_factor"`.

    What is wrong with that is written to `err` too.
    """
    console = Console(out, err, as_json=arguments.json)
    if arguments.run is None:
        return commands.generate_key(console)
    return run_on_named_application(
        name,
        lambda application: arguments.run(application, arguments, console),
        console,
        # That an application does not start is what `check` is there to find.
        not_started=Exit.CRITICAL if arguments.command == "check" else Exit.UNKNOWN,
    )


def run(arguments: Namespace, two_factor: TwoFactor | AsyncTwoFactor, out: TextIO, err: TextIO) -> int:
    """Carry out a command that a parser with `add_commands` has read, on `two_factor`; return the exit code.

    Results are written to `out`, everything else to `err`.
    """
    console = Console(out, err, as_json=arguments.json)
    if arguments.run is None:
        return commands.generate_key(console)
    return _run(two_factor, lambda application: arguments.run(application, arguments, console), console)


def run_on_named_application(
    name: str | None,
    action: Callable[[Application], int],
    console: Console,
    *,
    not_started: Exit = Exit.UNKNOWN,
) -> int:
    """Find an application by its name and carry out `action` on it; return the exit code.

    That is `not_started` for an application that is there, but does not start.
    """
    try:
        face = load_application(name)
    except ApplicationNotFound as problem:
        console.fail(str(problem), "application_not_found")
        return Exit.UNKNOWN
    except InvalidKey as problem:
        console.fail(str(problem), problem.code)
        return not_started
    except Exception as problem:  # whatever the host's modules raise
        if not console.as_json:
            traceback.print_exc(file=sys.stderr)
        console.fail(f"{name} does not start: {first_line(problem)}", "application_failed")
        return not_started
    return _run(face, action, console)


def _run(face: TwoFactor | AsyncTwoFactor, action: Callable[[Application], int], console: Console) -> int:
    try:
        with Application(face) as application:
            return action(application)
    except (RecordError, StoreContention, OutcomeUnknown) as problem:
        console.fail(str(problem), problem.code)
        return Exit.CRITICAL
    except TwoFactorError as problem:
        console.fail(str(problem), problem.code)
        return Exit.WARNING
    except (TypeError, ValueError) as problem:
        console.fail(str(problem), "wrong_argument")
        return Exit.UNKNOWN
    except KeyboardInterrupt:
        console.fail("stopped: run it again to go on", "stopped")
        return _INTERRUPTED
    except Exception as problem:  # a store lets its driver's exceptions through
        console.fail(f"the store failed: {first_line(problem)}", "store_failed")
        return Exit.CRITICAL
