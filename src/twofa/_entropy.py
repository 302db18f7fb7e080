"""The one place where randomness comes from, so that tests can replace it.

The operating system's generator, as ASVS 5.0 11.5.1 wants it; whether it is an approved one in the sense of NIST SP
800-90 is a property of the host's system.
"""

import os


def random_bytes(count: int) -> bytes:
    """Return that many random bytes."""
    return os.urandom(count)


def random_token() -> str:
    """Return 128 random bits as 32 hexadecimal digits: never drawn twice, never guessed."""
    return random_bytes(16).hex()
