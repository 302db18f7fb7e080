"""No record outgrows 8,192 bytes, so that a column of that size always has room for the owner's next right code."""

from __future__ import annotations

import contextlib
from itertools import product
from typing import TYPE_CHECKING, Any

from support import ACCOUNT, KEY, USER, World

from twofa import TOTP, Argon2id, ByCode, KeyRing, Policy, Scrypt, Throttle
from twofa._parameters import LONGEST_SECRET
from twofa._record.document import dump
from twofa._record.imported_codes import MOST_CODES
from twofa._record.recovery import ALPHABET, Scheme, pack
from twofa._record.state import Authenticator, EnrolledTOTP, FreshVerification, Pending, Record, RecoverySet, State
from twofa._record.throttle import MONTH, Failures, Lane
from twofa.errors import InvalidCode, Throttled

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_BYTES = 8_192
NOW = 9_999_999_999
"""In the year 2286: times have ten digits until then."""
TOKEN = "f" * 32
MOST_FAILURES = Throttle().block_after
SPENT_FOREVER = 99_999
"""More wrong codes of strangers between two of the owner's sign-ins than fit into a hundred years."""
COSTLIEST = (Argon2id(memory_kib=4_194_304, iterations=100), Scrypt(n=2**22, r=32, p=16))


def widest_lane() -> Lane:
    """Return as many times of 30 days as are kept, spread so that their differences have the most digits."""
    gaps = [10_000] * (MOST_FAILURES - 1)
    for place in range(len(gaps)):
        if sum(gaps) + 90_000 < MONTH:
            gaps[place] = 100_000
    times = [NOW - sum(gaps[place:]) for place in range(MOST_FAILURES)]
    assert times[0] > NOW - MONTH
    return Lane(in_a_row=SPENT_FOREVER, last=NOW, recent=tuple(times))


def most_failures() -> Failures:
    """Return the counts of a factor that take the most room."""
    return Failures(
        consecutive=MOST_FAILURES,
        known=widest_lane(),
        strangers=widest_lane(),
        block_after=MOST_FAILURES,
        since_grant=SPENT_FOREVER,
        grants=(NOW, NOW),
        suspected_at=NOW,
    )


def enrolled(secret_bytes: int, algorithm: Any) -> EnrolledTOTP:
    """Return an authenticator with a secret of that size, and the other parameters as long as they can be."""
    return EnrolledTOTP.of(TOTP(bytes(secret_bytes), algorithm=algorithm, digits=8, period=120))


def worst_state(scheme: Scheme, codes: int, *, imported: bool, algorithm: Any = "SHA512") -> State:
    """Return a state with everything at once: a replacement that waits, a fresh verification, all codes spent."""
    own_secret = {"SHA1": 20, "SHA256": 32, "SHA512": 64}[algorithm]
    authenticator = Authenticator(
        totp=enrolled(LONGEST_SECRET if imported else own_secret, algorithm),
        confirmed_at=NOW,
        last_step=NOW // 15,
        last_used_at=NOW,
        failures=most_failures(),
    )
    recovery = RecoverySet(
        scheme=str(scheme),
        length=64,
        slots="*" * codes if imported else ALPHABET[:codes],
        hashes=pack((bytes(16),) * codes, [bytes(32)] * codes),
        issued_at=NOW,
        spent=tuple((index, NOW) for index in range(codes)),
        failures=most_failures(),
        acknowledged=False,
        reading="exact case" if imported else "own",
    )
    return State(
        generation=TOKEN,
        pending=Pending(totp=enrolled(own_secret, algorithm), handle=TOKEN, expires_at=NOW, wrong_codes=9),
        authenticator=authenticator,
        recovery=recovery,
        verification=FreshVerification(token=TOKEN, at=NOW),
    )


def size(state: State) -> int:
    """Return the bytes of a record with so much in it, and with as many earlier versions as are kept."""
    document = dump(Record(state=state, versions=(TOKEN,) * 9))
    return len(KeyRing(KEY).for_user(USER).close(document))


def test_the_largest_record_of_all_policies_fits(figure: Callable[[str, int], None]) -> None:
    """Below 8,192 bytes with every scheme, every algorithm, as many codes as can be, our own or imported."""
    schemes = [Scheme.fast(), *(Scheme.slow_under(Policy(hashing=hashing)) for hashing in COSTLIEST)]
    sizes = {
        size(worst_state(scheme, codes, imported=imported, algorithm=algorithm))
        for scheme, codes, imported, algorithm in product(
            schemes, (1, 10, MOST_CODES), (False, True), ("SHA1", "SHA256", "SHA512")
        )
    }
    largest = max(sizes)
    figure("bytes in the largest record", largest)

    assert MOST_BYTES > largest
    assert largest == size(worst_state(schemes[1], MOST_CODES, imported=True))


def test_a_record_that_is_driven_to_its_limits_stays_below_the_worst() -> None:
    """Thirty days of wrong codes in both lanes of both factors come close to what was reckoned, and not beyond."""
    policy = Policy(
        algorithm="SHA512",
        recovery_codes=MOST_CODES,
        recovery_code_length=24,
        throttle=Throttle(longest_recovery_wait=3600),
    )
    world = World("blocking", policy=policy)
    phone, codes = world.enrol()
    unspent = list(codes)
    for step in range(MOST_FAILURES - 1):
        browser = world.browser()
        for lane in (browser, None):
            with contextlib.suppress(InvalidCode, Throttled):
                world.face.verify(USER, phone.wrong_code(), browser=lane)
            with contextlib.suppress(InvalidCode, Throttled):
                world.face.redeem_recovery_code(USER, codes[0][0] + "0" * 23, browser=lane)
        if not step % 4:
            world.face.verify(USER, phone.code(), browser=browser)
            world.face.redeem_recovery_code(USER, unspent.pop(), browser=browser)
        if step in {72, 82}:
            world.face.password_changed(USER)
        world.clock.advance(25_900)
    world.face.begin_setup(USER, account_name=ACCOUNT, proof=ByCode(phone.code()), browser=world.browser())
    world.clock.advance(phone.period)
    world.face.verify(USER, phone.code(), browser=world.browser())

    record = world.record()
    assert record is not None
    worst = size(worst_state(Scheme.fast(), MOST_CODES, imported=False))
    assert 0.9 * worst < len(record.document) <= worst
