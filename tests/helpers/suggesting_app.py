"""An application whose object is easily misspelt."""

from twofa import KeyRing, TwoFactor
from twofa.stores import MemoryStore

two_factor = TwoFactor(MemoryStore(), keys=KeyRing(KeyRing.generate_key()), issuer="Example")
