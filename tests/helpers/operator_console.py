"""`python -m twofa` and the migration scripts, as the processes that an operator starts."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import operated_app

from twofa.cli import main

HELPERS = Path(__file__).parent
ROOT = HELPERS.parent.parent
TIMEOUT = 120.0


@dataclass
class Ended:
    """What a process left."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """The JSON documents that it wrote."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def data(self) -> Any:
        """The only one, or the last."""
        return self.lines[-1]


@dataclass
class Operator:
    """Someone at a terminal of the machine that an application runs on."""

    store: str
    keys: str
    awaits: bool = False
    app: str | None = "operated_app:make_two_factor"
    more: dict[str, str] = field(default_factory=dict)
    in_process: bool = False
    """Call `main` instead of starting a process: faster, and seen by what measures the tests' coverage."""
    main: Callable[[Sequence[str]], int] = main

    @property
    def environment(self) -> dict[str, str]:
        """The application's environment."""
        path = os.pathsep.join([str(HELPERS), *filter(None, [os.environ.get("PYTHONPATH")])])
        wanted = {"OPERATED_STORE": self.store, "TWOFA_KEYS": self.keys, "PYTHONPATH": path, **self.more}
        if self.app is not None:
            wanted["TWOFA_APP"] = self.app
        if self.awaits:
            wanted["OPERATED_ASYNC"] = "1"
        return {**os.environ, **wanted}

    def run(self, *arguments: str, program: tuple[str, ...] = ("-m", "twofa"), stdin: str = "") -> Ended:
        """Run a command to its end."""
        if self.in_process:
            return self._call_main(*arguments)
        process = subprocess.run(
            [sys.executable, "-W", "error::DeprecationWarning", *program, *arguments],
            check=False, capture_output=True, text=True, env=self.environment, timeout=TIMEOUT, input=stdin,
        )  # fmt: skip
        return Ended(process.returncode, process.stdout, process.stderr)

    def _call_main(self, *arguments: str) -> Ended:
        out, err = io.StringIO(), io.StringIO()
        with patch.dict(os.environ, self.environment), contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(out))
            stack.enter_context(contextlib.redirect_stderr(err))
            if self.app is None:
                os.environ.pop("TWOFA_APP", None)
            stack.callback(operated_app.close, operated_app.opened())
            try:
                code = self.main(arguments)
            except SystemExit as ended:
                code = int(ended.code or 0)
        return Ended(code, out.getvalue(), err.getvalue())

    def start(self, *arguments: str, program: tuple[str, ...] = ("-m", "twofa")) -> subprocess.Popen[str]:
        """Start a command, to be killed."""
        return subprocess.Popen(
            [sys.executable, *program, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment,
        )  # fmt: skip
