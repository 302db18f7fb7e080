"""What an operator sees while a long command runs, on a terminal, in a log file and in a program."""

from __future__ import annotations

import argparse
import builtins
import contextlib
import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING, Any

import pytest
from operator_console import Operator
from support import KEY, OTHER_KEY, USER

from twofa.cli import add_commands, run
from twofa.cli.console import Console, first_line, printable

if TYPE_CHECKING:
    from running_app import Application


class Terminal(io.StringIO):
    """A person is looking."""

    def isatty(self) -> bool:
        return True


class Time:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


# --- progress ------------------------------------------------------------------------------------------------------


def test_lines_for_a_log_file() -> None:
    """Where nobody looks, a line every five seconds says how many users are done."""
    err, time = io.StringIO(), Time()
    console = Console(io.StringIO(), err, monotonic=time)

    with console.progress("resealing") as progress:
        for seconds in (0.0, 4.9, 5.0, 9.9, 10.1):
            time.now = seconds
            progress.advance(1000)

    assert ["resealing: 3,000 users", "resealing: 5,000 users"] == err.getvalue().splitlines()


def test_a_bar_for_a_person() -> None:
    """On a terminal there is a bar of `tqdm`'s; a line that is written meanwhile does not break it."""
    out, err = Terminal(), Terminal()
    console = Console(out, err)

    with console.progress("resealing") as progress:
        progress.advance(1200)
        console.show("user-7: cannot be read", {})
        progress.advance(1)

    assert "user-7: cannot be read\n" == out.getvalue()
    assert "resealing: 1201 users" in err.getvalue()


def test_without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the lines serve on a terminal too."""
    importing = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "tqdm":
            raise ImportError(name)
        return importing(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    err, time = Terminal(), Time()

    with Console(io.StringIO(), err, monotonic=time).progress("moving") as progress:
        time.now = 6.0
        progress.advance(7)

    assert "moving: 7 users\n" == err.getvalue()


def test_nothing_for_a_program() -> None:
    """With `--json` there is no display, and what is not part of the result is not said."""
    out, err, time = io.StringIO(), Terminal(), Time()
    console = Console(out, err, as_json=True, monotonic=time)

    with console.progress("moving") as progress:
        time.now = 6.0
        progress.advance(7)
        console.remark("seven are done")
        console.show("a text", {"users": 7})

    assert "" == err.getvalue()
    assert {"users": 7} == json.loads(out.getvalue())


@pytest.mark.heavy
def test_a_bar_on_a_real_terminal(on_sqlite: Application) -> None:
    """`reseal` shows its bar on a terminal, and its result is left alone on standard output."""
    for number in range(3):
        on_sqlite.enrol(f"user-{number}", OTHER_KEY)
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    process = subprocess.run(
        [sys.executable, "-m", "twofa", "reseal"],
        check=True, stdout=subprocess.PIPE, stderr=terminal, env=on_sqlite.operator.environment, text=True,
    )  # fmt: skip

    os.close(terminal)
    seen = b""
    with contextlib.suppress(OSError):  # which is how a terminal says that the other side is closed
        while more := os.read(controller, 1000):
            seen += more
    os.close(controller)
    assert b"resealing: 3 users" in seen
    assert "3 users: 3 resealed, 0 sealed with the primary key already\n" == process.stdout


# --- text ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alice", "alice"),
        ("Žofie \N{SNOWMAN}", "Žofie \N{SNOWMAN}"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\u202eevil\u200b", r"\u202eevil\u200b"),
    ],
)
def test_printable(text: str, expected: str) -> None:
    """What would control a terminal or turn a line around is shown, not sent; everything else is as it was."""
    assert expected == printable(text)


def test_first_line() -> None:
    """Of a message of several lines the first, with the exception's name."""
    assert "ValueError: no such table" == first_line(ValueError("no such table\n[SQL: SELECT secrets]"))
    assert "KeyError: 'name'" == first_line(KeyError("name"))


# --- in a framework's own command line -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "expected"),
    [(["status", USER], 0), (["generate-key"], 0), (["reset-codes", USER, "--by", "carol", "--reason", "asked"], 1)],
)
def test_commands_of_a_framework(command: list[str], expected: int, on_sqlite: Application) -> None:
    """Any parser can have the commands, which then need no `--app` and write where they are told."""
    parser = argparse.ArgumentParser(prog="manage.py")
    add_commands(parser)
    out, err = io.StringIO(), io.StringIO()

    code = run(parser.parse_args([*command, "--json"]), on_sqlite.two_factor(), out, err)

    assert (expected, "") == (code, err.getvalue())
    assert json.loads(out.getvalue())
    with pytest.raises(SystemExit):
        parser.parse_args([*command, "--app", "module:attribute"])


def test_the_environment_names_the_application(on_sqlite: Application) -> None:
    """`--app` goes before the variable."""
    on_sqlite.operator.app = "no_such_module:two_factor"

    assert 3 == on_sqlite.operator.run("status", USER).code
    assert 0 == on_sqlite.operator.run("status", USER, "--app", "operated_app:make_two_factor").code


def test_help_names_every_command() -> None:
    """What can be done, and what the exit codes mean."""
    shown = Operator("", KEY, app=None, in_process=True).run("--help")

    assert 0 == shown.code
    for command in (
        "generate-key", "status", "events", "reseal", "reset-codes", "disable", "end-sessions", "check", "exit codes",
    ):  # fmt: skip
        assert command in shown.out
