"""Move users who are enrolled elsewhere into twofa: their phones and printed recovery codes go on working.

A script for one library only reads: it yields an `Enrolment` for each user who can come along and a `NotMovable` for
each who cannot. `main` makes a command of it. `examples/migration/` has scripts for six libraries.
"""

from twofa.migration.enrolment import Enrolment, NotMovable, with_time_zone
from twofa.migration.main import main

__all__ = ["Enrolment", "NotMovable", "main", "with_time_zone"]
