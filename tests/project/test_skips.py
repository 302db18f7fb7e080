"""The rule of this suite's own: what could not be had is named, and fails in CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
ONE_TEST = "import pytest\n\ndef test_it():\n    pytest.skip('no oathtool')\n"
WHOLE_MODULE = "import pytest\n\npytest.skip('no oathtool', allow_module_level=True)\n"
XFAIL = "import pytest\n\n@pytest.mark.xfail\ndef test_it():\n    raise ValueError\n"


@pytest.mark.parametrize(
    ("ci", "module", "workers", "expected"),
    [
        ("true", ONE_TEST, "0", pytest.ExitCode.TESTS_FAILED),
        ("true", ONE_TEST, "2", pytest.ExitCode.TESTS_FAILED),
        ("true", WHOLE_MODULE, "0", pytest.ExitCode.TESTS_FAILED),
        ("true", WHOLE_MODULE, "2", pytest.ExitCode.TESTS_FAILED),
        ("true", XFAIL, "0", pytest.ExitCode.OK),
        ("false", ONE_TEST, "0", pytest.ExitCode.OK),
        ("", WHOLE_MODULE, "0", pytest.ExitCode.OK),
    ],
)
def test_a_skip_fails_in_ci_alone(
    ci: str, module: str, workers: str, expected: pytest.ExitCode, tmp_path: Path
) -> None:
    """With CI set, a skipped test or module fails the run, which names it and the reason; elsewhere it does not."""
    (tmp_path / "test_it.py").write_text(module)
    (tmp_path / "test_other.py").write_text("def test_other():\n    pass\n")

    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            workers,
            "-p",
            "conftest",
            "-p",
            "no:cacheprovider",
            f"--rootdir={tmp_path}",
            ".",
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={
            **{name: value for name, value in os.environ.items() if "XDIST" not in name},
            "CI": ci,
            "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS / "helpers"), os.environ.get("PYTHONPATH", "")]),
        },
    )

    assert expected == run.returncode, run.stdout
    assert (expected != pytest.ExitCode.OK) == ("fails in CI" in run.stdout)
    assert (expected != pytest.ExitCode.OK) == ("no oathtool" in run.stdout)
