"""The command that a migration script is: read, move or rehearse or compare, and report."""

from __future__ import annotations

import sys
import traceback
from argparse import RawDescriptionHelpFormatter
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from twofa.cli.console import Console, first_line, printable
from twofa.cli.exits import Exit
from twofa.cli.main import run_on_named_application
from twofa.cli.parser import Parser, add_app_argument, add_bulk_arguments, add_json_argument
from twofa.migration.enrolment import Enrolment, NotMovable
from twofa.migration.ways import Move, Outcome, Rehearse, Verify, Way

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from twofa.cli.application import Application


def main(
    library: str,
    read: Callable[[Namespace], Iterable[Enrolment | NotMovable]],
    add_arguments: Callable[[ArgumentParser], None] | None = None,
    *,
    description: str | None = None,
    arguments: Sequence[str] | None = None,
) -> int:
    """Run a migration script; return its exit code, which means what those of `python -m twofa` mean.

    `library` is where the users come from, for people. `read` yields them, page by page: it gets the parsed arguments,
    among them `batch`, the users to read at a time, and those that `add_arguments` adds. `arguments` are by default
    those of the process.
    """
    parser = Parser(description=description, formatter_class=RawDescriptionHelpFormatter)
    if add_arguments is not None:
        add_arguments(parser)
    add_app_argument(parser)
    add_bulk_arguments(parser)
    add_json_argument(parser)
    parser.add_argument("--by", required=True, help="who moves the users, such as ops:carol; it is put on record")
    parser.add_argument("--reason", default=f"moved from {library}", help=f"put on record too (moved from {library})")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--dry-run", action="store_true", help="say what would happen, and write nothing")
    way.add_argument("--verify", action="store_true", help="compare the users who were moved with the old library")
    parsed = parser.parse_args(arguments)
    console = Console(sys.stdout, sys.stderr, as_json=parsed.json)

    def action(application: Application) -> Exit:
        kind = Rehearse if parsed.dry_run else Verify if parsed.verify else Move
        way = kind(application=application, by=parsed.by, reason=parsed.reason)
        try:
            return _go_through(_pages(read(parsed), parsed.batch), way, application, parsed.workers, console)
        except _ReadingFailed as failed:
            if not parsed.json:
                traceback.print_exception(failed.__cause__, file=sys.stderr)
            console.fail(f"reading from {library} failed: {first_line(failed.problem)}", "reading_failed")
            return Exit.CRITICAL

    return run_on_named_application(parsed.app, action, console)


def _go_through(
    pages: Iterable[Sequence[Enrolment | NotMovable]],
    way: Way,
    application: Application,
    workers: int,
    console: Console,
) -> Exit:
    counts: Counter[str] = Counter()
    with console.progress(way.doing) as progress:
        for page in pages:
            enrolments = [user for user in page if isinstance(user, Enrolment)]
            results = application.call_each(way.start, enrolments, workers)
            outcomes = [
                (enrolment.user_id, way.outcome(enrolment, result))
                for enrolment, result in zip(enrolments, results, strict=True)
            ]
            outcomes += [
                (user.user_id, Outcome(kind="not moved", message=user.reason))
                for user in page
                if isinstance(user, NotMovable)
            ]
            for user_id, outcome in outcomes:
                counts[outcome.kind] += 1
                if outcome.message:
                    _report(user_id, outcome, console)
            progress.advance(len(page))
    text = ", ".join(f"{counts[kind]:,} {kind}" for kind in way.kinds)
    data = {_name(kind): counts[kind] for kind in way.kinds}
    console.show(f"{counts.total():,} users: {text}", {"users": counts.total(), **data})
    return Exit.WARNING if counts["not moved"] or counts["different"] else Exit.OK


def _report(user_id: str, outcome: Outcome, console: Console) -> None:
    but = "" if outcome.kind in {"not moved", "different"} else ", but"
    text = f"{printable(user_id)}: {outcome.kind}{but}: {printable(outcome.message)}"
    console.show(text, {"user_id": user_id, "outcome": _name(outcome.kind), "message": outcome.message})


def _name(kind: str) -> str:
    return kind.replace(" ", "_")


class _ReadingFailed(Exception):
    """The script raised; nothing is known of those who come after."""

    def __init__(self, problem: Exception) -> None:
        super().__init__(problem)
        self.problem = problem


def _pages(users: Iterable[Enrolment | NotMovable], size: int) -> Iterator[list[Enrolment | NotMovable]]:
    rest = iter(users)
    while True:
        try:
            page = list(islice(rest, size))
        except Exception as problem:
            raise _ReadingFailed(problem) from problem
        if not page:
            return
        yield page
