"""`StoreConformance`: what every store owes the library, a conformance test for each law of `twofa.stores.protocol`."""

from __future__ import annotations

from twofa.testing.race_conformance import RaceConformance
from twofa.testing.record_conformance import RecordConformance


class StoreConformance(RecordConformance, RaceConformance):
    """The laws for a blocking store: subclass it, say how to make a store, and run pytest."""
