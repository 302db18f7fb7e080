"""The lower bounds in pyproject.toml are true: the main job runs on exactly those versions."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_main_job_runs_on_the_lowest_versions(tmp_path: Path) -> None:
    """With every requirement at its lower bound the demonstration runs from set-up to reset."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = [line.replace(">=", "==") for line in project["dependencies"]]
    wheels = sorted((ROOT / "build" / "wheel").glob("*.whl"))
    assert 1 == len(wheels), "run `make test`, which builds the wheel"
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    install = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    subprocess.run([*install, wheels[0], *pins], check=True)

    demo = subprocess.run(
        [python, "-W", "error", ROOT / "examples" / "quickstart.py"],
        check=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        env={"PYTHONIOENCODING": "utf-8"},
    )

    assert "the new phone: totp accepted" in demo.stdout
    assert 3 == len(pins)
