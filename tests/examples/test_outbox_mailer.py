"""The reader of the outbox under examples/ loses no event when it is killed, and repeats none that it acknowledged."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from outbox_mailer import Place, hand_on
from support import World

from twofa.proofs import Vouched
from twofa.stores import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twofa.stores import OutboxEntry

EXAMPLES = Path(__file__).parent.parent.parent / "examples"

READER = """
import sys
from outbox_mailer import Place, hand_on
from twofa.stores import SQLiteStore

def step(what, cursor):
    print(what, cursor, flush=True)
    sys.stdin.readline()

class Stepping(Place):
    def keep(self, cursor):
        super().keep(cursor)
        step("kept", cursor)

def send(entry):
    step("sending", entry.cursor)
    with open(sys.argv[3], "a", encoding="ascii") as sent:
        sent.write(entry.cursor + "\\n")
    step("sent", entry.cursor)

hand_on(SQLiteStore(sys.argv[1]), Stepping(sys.argv[2]), send)
"""
"""A reader that says what it has done, and waits at each step to be told to go on."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An application on SQLite with something to tell: a set-up, and codes that were issued anew."""
    world = World("blocking", store=SQLiteStore(tmp_path / "app.db"))
    world.enrol()
    world.face.reset_recovery_codes("user-42", proof=Vouched(by="help desk", reason="lost the paper"))
    yield world
    world.store.close()


def cursors(world: World) -> list[str]:
    """Return the cursors of everything that happened, in order."""
    return [entry.cursor for entry in world.store.events_after()]


def until_killed(folder: Path, steps: int) -> list[list[str]]:
    """Run a reader for at most so many steps, then kill it; return what it said."""
    arguments = [sys.executable, "-c", READER, *(str(folder / name) for name in ("app.db", "place.db", "sent"))]
    said: list[list[str]] = []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(EXAMPLES), *sys.path])}
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        for line in reader.stdout:
            said.append(line.split())
            if len(said) == steps:
                reader.kill()
                break
            reader.stdin.write("\n")
            reader.stdin.flush()
    return said


def test_a_reader_that_is_killed_at_every_step_loses_and_repeats_nothing(world: World, tmp_path: Path) -> None:
    """Killed before, after and between events: all are sent in the end, and none again that was acknowledged."""
    kept: list[str] = []
    for steps in count(1):
        said = until_killed(tmp_path, steps)
        sending = [cursor for what, cursor in said if what == "sending"]
        assert not set(kept) & set(sending)
        kept += [cursor for what, cursor in said if what == "kept"]
        if len(said) < steps:
            break
        if steps == 4:
            world.enrol("another user, meanwhile")
    sent = (tmp_path / "sent").read_text(encoding="ascii").split()
    assert cursors(world) == kept
    assert cursors(world) == list(dict.fromkeys(sent))


def test_an_event_that_cannot_be_dealt_with_comes_again(world: World, tmp_path: Path) -> None:
    """If the mail server is down, nothing is skipped: the next run begins with the same event."""
    told: list[str] = []

    def fails_at_the_second(entry: OutboxEntry) -> None:
        if len(told) == 1:
            raise ConnectionError
        told.append(entry.cursor)

    with closing(Place(tmp_path / "place.db")) as place, pytest.raises(ConnectionError):
        hand_on(world.store, place, fails_at_the_second)
    with closing(Place(tmp_path / "place.db")) as place:
        assert len(cursors(world)) - 1 == hand_on(world.store, place, lambda entry: told.append(entry.cursor))
        assert 0 == hand_on(world.store, place, lambda entry: told.append(entry.cursor))
    assert cursors(world) == told


def test_two_readers_take_turns(tmp_path: Path) -> None:
    """While one reader has its place open, another one is refused, or both would send the same."""
    with closing(Place(tmp_path / "place.db")) as place:
        place.keep("7")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            Place(tmp_path / "place.db")
        assert "7" == place.cursor()
    with closing(Place(tmp_path / "place.db")) as place:
        assert "7" == place.cursor()


def test_the_mailer_tells_what_is_worth_a_mail_once(world: World, tmp_path: Path) -> None:
    """Run as a program, it tells of the set-up and of the codes with an id for each, and the second time of nothing."""
    arguments = [
        sys.executable,
        str(EXAMPLES / "outbox_mailer.py"),
        str(tmp_path / "app.db"),
        str(tmp_path / "place.db"),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def run() -> list[str]:
        return subprocess.run(
            arguments, env=environment, check=True, capture_output=True, text=True
        ).stdout.splitlines()

    told, again = run(), run()
    assert ["authenticator_confirmed", "recovery_codes_issued", "recovery_codes_issued"] == [
        line.split()[-1] for line in told
    ]
    assert len(told) == len({line.split()[1] for line in told})
    assert [] == again
