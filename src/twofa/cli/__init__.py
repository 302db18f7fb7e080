"""The operator's command line: `python -m twofa`.

`main` is the whole of it. A framework that has a command line of its own, as Django's `manage.py`, gives the same
commands to its users: `add_commands(parser)` describes them, and `run(arguments, two_factor, out, err)` carries out the
one that was chosen.
"""

from twofa.cli.main import main, run
from twofa.cli.parser import add_commands

__all__ = ["add_commands", "main", "run"]
