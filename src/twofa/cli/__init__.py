"""The operator's command line: `python -m twofa`.

`main` is the whole of it. A framework that has a command line of its own, as Django's `manage.py`, gives the same
commands to its users: `add_commands(parser)` describes them, and `run(arguments, two_factor, out, err)` carries out the
one that was chosen; `run_by_name` does so where there is only the name of the `TwoFactor` yet.
"""

from twofa.cli.main import main, run, run_by_name
from twofa.cli.parser import add_commands

__all__ = ["add_commands", "main", "run", "run_by_name"]
