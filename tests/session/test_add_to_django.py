"""The project of `docs/add-to-django.md`, as a reader builds it, does what the page says and lets nobody past."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("django", reason="Django is not installed")

import django_reader
from support import KEY

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.heavy
@pytest.mark.parametrize(
    "atomic",
    [
        pytest.param(False, id="one database"),
        pytest.param(True, id="every view a transaction", marks=pytest.mark.proof),
    ],
)
def test_the_whole_way(tmp_path: Path, atomic: bool) -> None:
    """What `startproject` makes and the page's code enrol, sign in and change everything; no way leads past the code."""
    folder = tmp_path / "project"
    folder.mkdir()
    django_reader.build(folder, atomic=atomic)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, django_reader.__file__],
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "TWOFA_KEYS": KEY},
        capture_output=True,
        text=True,
        umask=0o077,
    )
    assert 0 == done.returncode, done.stderr
