"""The settings: every bound, with the clause that it comes from."""

from __future__ import annotations

from typing import Any

import pytest

from twofa import Argon2id, Policy, Scrypt, Throttle
from twofa.errors import PolicyError

BOUNDS: list[tuple[type, str, int, int, str]] = [
    # class, setting, lowest and highest that pass, and what the refusal names
    (Policy, "digits", 6, 8, "RFC 4226 §5.3"),
    (Policy, "period", 15, 120, "NIST SP 800-63B-4 §3.1.4.1"),
    (Policy, "window", 0, 2, "RFC 6238 §5.2 and §6"),
    (Policy, "setup_lifetime", 60, 600, "ASVS 5.0 6.4.1"),
    (Policy, "recovery_codes", 1, 32, "must be 1 to 32"),
    (Policy, "recovery_code_length", 14, 32, "NIST SP 800-63B-4 §4.2.1.1"),
    (Throttle, "block_after", 1, 100, "NIST SP 800-63B-4 §3.2.2"),
    (Throttle, "free_failures", 0, 4, "NIST SP 800-63B-4 §3.2.2"),
    (Throttle, "first_wait", 30, 3600, "NIST SP 800-63B-4 §3.2.2"),
    (Throttle, "longest_wait", 30, 86_400, "must be 30 to 86400"),
    (Argon2id, "iterations", 1, 100, "must be 1 to 100"),
    (Argon2id, "memory_kib", 19_456, 4_194_304, "ASVS 5.0 11.4.2"),
    (Scrypt, "p", 1, 16, "must be 1 to 16"),
    (Scrypt, "r", 8, 32, "ASVS 5.0 11.4.2"),
    (Scrypt, "n", 2**17, 2**22, "ASVS 5.0 11.4.2"),
]
ROOM: dict[str, dict[str, int]] = {"iterations": {"memory_kib": 47_104}}
"""What a setting's lowest value needs beside it."""


@pytest.mark.parametrize(("kind", "setting", "lowest", "highest", "clause"), BOUNDS)
def test_every_bound(kind: type, setting: str, lowest: int, highest: int, clause: str) -> None:
    """The lowest and the highest value pass; one below and one above are refused, with the range and the clause."""
    for right in (lowest, highest):
        assert right == getattr(kind(**ROOM.get(setting, {}), **{setting: right}), setting)
    for wrong in (lowest - 1, highest + 1, -1, 10**30):
        with pytest.raises(PolicyError) as refusal:
            kind(**{setting: wrong})
        assert f"{setting} must be {lowest} to {highest}, not {wrong}" in str(refusal.value)
        assert clause in str(refusal.value)


@pytest.mark.parametrize(("kind", "setting", "lowest", "_highest", "_clause"), BOUNDS)
def test_only_whole_numbers(kind: type, setting: str, lowest: int, _highest: int, _clause: str) -> None:
    """Booleans, floats, strings and `None` are refused by the name of their type."""
    for wrong in (True, False, float(lowest), str(lowest), None):
        with pytest.raises(PolicyError, match=f"{setting} must be a whole number, not {type(wrong).__name__}"):
            kind(**{setting: wrong})


@pytest.mark.parametrize("kind", [Policy, Throttle, Argon2id, Scrypt])
def test_settings_are_named(kind: Any) -> None:
    """No setting can be passed by position, and an unknown one is refused."""
    with pytest.raises(TypeError):
        kind(8)
    with pytest.raises(TypeError):
        kind(colour="blue")


def test_the_defaults() -> None:
    """What every authenticator app reads, ten codes of 75 random bits, and the OWASP minimum of Argon2id."""
    policy = Policy()

    assert ("SHA1", 6, 30, 1) == (policy.algorithm, policy.digits, policy.period, policy.window)
    assert (600, 10, 16) == (policy.setup_lifetime, policy.recovery_codes, policy.recovery_code_length)
    assert Argon2id(memory_kib=19_456, iterations=2) == policy.hashing
    assert Throttle(free_failures=4, first_wait=30, longest_wait=3600, block_after=100) == policy.throttle
    assert Scrypt(n=2**17, r=8, p=1) == Scrypt()


def test_the_strict_profile() -> None:
    """ASVS 5.0 6.5.5: the strict profile has no window, and is like the default in everything else."""
    assert Policy(window=0) == Policy.strict()
    assert Policy() != Policy.strict()


@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256", "SHA512"])
def test_algorithms(algorithm: Any) -> None:
    """The three hashes of RFC 6238 are allowed."""
    assert algorithm == Policy(algorithm=algorithm).algorithm


@pytest.mark.parametrize("algorithm", ["sha1", "SHA-1", "MD5", "SHA384", "", None, b"SHA1", 1, ["SHA1"]])
def test_other_algorithms_are_refused(algorithm: Any) -> None:
    """Anything else is refused with the clause, whatever its spelling or type."""
    with pytest.raises(PolicyError, match=r"algorithm must be SHA1, SHA256 or SHA512 \(RFC 6238 §1.2\)"):
        Policy(algorithm=algorithm)


@pytest.mark.parametrize(
    ("length", "bits", "slow"),
    [
        (14, 65, True),
        (15, 70, True),
        (16, 75, True),
        (22, 105, True),
        (23, 110, True),
        (24, 115, False),
        (32, 155, False),
    ],
)
def test_the_length_alone_decides_how_codes_are_hashed(length: int, bits: int, slow: bool) -> None:
    """Each symbol has five bits, the slot none; from 112 bits on a plain hash is enough (NIST SP 800-63B-4 §3.1.2.2)."""
    policy = Policy(recovery_code_length=length)

    assert bits == policy.recovery_code_bits
    assert slow is policy.slow_hashing


def test_thirteen_symbols_are_too_few() -> None:
    """NIST SP 800-63B-4 §4.2.1.1 asks for 64 bits, and thirteen symbols carry sixty."""
    with pytest.raises(PolicyError, match=r"recovery_code_length must be 14 to 32, not 13 .*at least 64 bits"):
        Policy(recovery_code_length=13)


@pytest.mark.parametrize(("iterations", "floor"), [(1, 47_104), (2, 19_456), (3, 12_288), (4, 12_288), (100, 12_288)])
def test_the_floor_of_argon2id(iterations: int, floor: int) -> None:
    """Fewer passes need more memory: 46 MiB for one, 19 for two, 12 for three."""
    assert floor == Argon2id(memory_kib=floor, iterations=iterations).memory_kib
    with pytest.raises(PolicyError, match=f"memory_kib must be {floor} to .*OWASP"):
        Argon2id(memory_kib=floor - 1, iterations=iterations)


@pytest.mark.parametrize(("p", "floor"), [(1, 2**17), (2, 2**16), (3, 2**15), (4, 2**15), (16, 2**15)])
def test_the_floor_of_scrypt(p: int, floor: int) -> None:
    """More parallelization allows less cost, down to 2¹⁵."""
    assert floor == Scrypt(n=floor, p=p).n
    with pytest.raises(PolicyError, match=f"n must be {floor} to .*OWASP"):
        Scrypt(n=floor // 2, p=p)


@pytest.mark.parametrize("n", [2**17 + 1, 3 * 2**16, 2**22 - 1])
def test_the_cost_of_scrypt_is_a_power_of_two(n: int) -> None:
    """RFC 7914 §2: no other cost is defined."""
    with pytest.raises(PolicyError, match=rf"n must be a power of two \(RFC 7914 §2\), not {n}"):
        Scrypt(n=n)


def test_the_longest_wait_is_not_shorter_than_the_first() -> None:
    """A longest wait below the first one is refused, and equal to it is allowed."""
    assert 120 == Throttle(first_wait=120, longest_wait=120).longest_wait
    with pytest.raises(PolicyError, match="longest_wait must be 120 to 86400, not 119"):
        Throttle(first_wait=120, longest_wait=119)


@pytest.mark.parametrize("hashing", ["argon2id", Argon2id, 1, 0, False, Throttle()])
def test_hashing_is_one_of_two_kinds(hashing: Any) -> None:
    """What is neither `Argon2id` nor `Scrypt` is refused by the name of its type."""
    with pytest.raises(PolicyError, match=f"hashing must be Argon2id or Scrypt, not {type(hashing).__name__}"):
        Policy(hashing=hashing)
    assert Scrypt() == Policy(hashing=Scrypt()).hashing


@pytest.mark.parametrize("throttle", [100, "none", Throttle, Argon2id()])
def test_throttling_has_no_off_switch(throttle: Any) -> None:
    """What is not a `Throttle` is refused, so that nothing switches it off."""
    with pytest.raises(PolicyError, match=f"throttle must be Throttle, not {type(throttle).__name__}"):
        Policy(throttle=throttle)
    assert Throttle(block_after=10) == Policy(throttle=Throttle(block_after=10)).throttle
