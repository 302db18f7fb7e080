"""How hard the tests try: a sample for every day, or everything that is claimed.

`make test` and `make check` take the sample. `make proof` sets `TWOFA_PROOF=1`, and then every race, crash and fuzzer
runs as often as the documentation says. Both run the same tests, with the same assertions.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

Case = TypeVar("Case")

PROOF = os.environ.get("TWOFA_PROOF", "") not in {"", "0"}
"""Whether this run is to try everything."""


def rounds(sample: int, proof: int) -> int:
    """Return how often to try: `sample` times every day, `proof` times in `make proof`."""
    return proof if PROOF else sample


def sample(cases: Sequence[Case], nth: int) -> Sequence[Case]:
    """Return every `nth` of the cases every day, all of them in `make proof`."""
    return cases if PROOF else cases[::nth]
