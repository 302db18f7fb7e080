"""How a command ends."""

from enum import IntEnum


class Exit(IntEnum):
    """An exit code. Nagios, Icinga and the like read these four as OK, WARNING, CRITICAL and UNKNOWN."""

    OK = 0
    """Done; nothing was found."""
    WARNING = 1
    """`check` found something to mend; another command was refused, or left some users undone."""
    CRITICAL = 2
    """`check` found that users cannot sign in, or are at risk; the store or a record failed."""
    UNKNOWN = 3
    """Nothing was done: the arguments are wrong, or there is no application to work on."""
