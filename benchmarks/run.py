"""The first table in docs/performance.md: `make bench`.

Every figure is a ratio within one run, measured as `measure.py` says. What depends on a database is in logins.py,
contention.py and growth.py: `make bench-stores`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from statistics import median
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from measure import NOW, SECRET, Row, print_rows, ratio, three_digests

from twofa import TOTP, KeyRing, Policy, TwoFactor, Vouched
from twofa._record.tokens import Purpose
from twofa.errors import CodeRequired, CodeReused, InvalidCode
from twofa.session.slot import Slot
from twofa.stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twofa import Change, Stored

USER = "user-42"


def bare_hash() -> None:
    """One evaluation with the parameters of the default policy."""
    Argon2id(salt=bytes(16), length=32, iterations=2, lanes=1, memory_cost=19_456).derive(b"7KQXM4TZN8BW2HJV")


class Rewound(MemoryStore):
    """A memory store that can be put back to where it was."""

    def keep(self) -> None:
        self.kept: Stored | None = self.load(USER)

    def rewind(self) -> None:
        if self.kept is not None:
            self._records[USER] = self.kept

    def swap(self, user_id: str, change: Change) -> bool:
        return super().swap(user_id, change._replace(events=()))


class Account:
    """One enrolled user on a memory store, at a time that the benchmark sets."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.now = NOW
        self.store = store or MemoryStore()
        self.two_factor = TwoFactor(
            self.store, keys=KeyRing(KeyRing.generate_key()), issuer="Example", policy=Policy(), clock=lambda: self.now
        )
        setup = self.two_factor.begin_setup(USER, account_name="alice@example.com")
        self.phone = TOTP.from_uri(setup.uri)
        self.codes = self.two_factor.confirm_setup(USER, self.phone.code(self.now), handle=setup.handle)


def match_rows() -> Iterator[Row]:
    """Yield the two rows of bare TOTP."""
    totp = TOTP(SECRET)
    wrong = next(code for code in ("000000", "111111", "222222", "333333") if totp.match(code, NOW) is None)
    live = ratio(lambda: totp.match(wrong, NOW), three_digests, 20_000)
    yield Row("`TOTP.match` of a wrong code, window ±1", 0.85, "three `hmac.digest`", live)
    built = ratio(lambda: TOTP(SECRET).match(wrong, NOW), three_digests, 20_000)
    yield Row("the same, built from the stored secret each time", 1.2, "three `hmac.digest`", built)


def verify_row() -> Row:
    """Return the row of a login by TOTP, everything included."""
    account = Account()
    codes: list[tuple[int, str]] = [(at, account.phone.code(at)) for at in range(NOW + 30, NOW + 30 * 10_001, 30)]
    turn = iter(codes)

    def login() -> None:
        account.now, code = next(turn)
        account.two_factor.verify(USER, code)

    return Row(
        "`verify` of a right code through `MemoryStore`", 12, "three `hmac.digest`", ratio(login, three_digests, 10_000)
    )


def recovery_rows() -> Iterator[Row]:
    """Yield the rows of a recovery attempt: right, wrong, and right once more."""
    store = Rewound()
    account = Account(store)
    code = account.codes[0]
    other = code[:-1] + ("0" if code[-1] != "0" else "1")

    def attempt(submitted: str, expected: type[Exception] | None) -> Callable[[], None]:
        def call() -> None:
            store.rewind()
            try:
                account.two_factor.redeem_recovery_code(USER, submitted)
            except InvalidCode as refusal:
                if type(refusal) is not expected:
                    raise

        return call

    store.keep()
    yield Row("a recovery code, right", 1.1, "one bare Argon2id", ratio(attempt(code, None), bare_hash, 60))
    yield Row("a recovery code, wrong", 1.1, "one bare Argon2id", ratio(attempt(other, InvalidCode), bare_hash, 60))
    account.two_factor.redeem_recovery_code(USER, code)
    store.keep()
    yield Row("a recovery code, used before", 1.1, "one bare Argon2id", ratio(attempt(code, CodeReused), bare_hash, 60))


def new_set_row() -> Row:
    """Return the row of ten new codes."""
    account = Account()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:

        def ten_hashes() -> None:
            for future in [pool.submit(bare_hash) for _ in range(10)]:
                future.result()

        def new_set() -> None:
            account.two_factor.reset_recovery_codes(USER, proof=Vouched(by="benchmark", reason="measuring"))

        return Row(
            "a new set of ten codes", 1.15, f"ten bare hashes over {cores} cores", ratio(new_set, ten_hashes, 40)
        )


def session_rows() -> Iterator[Row]:
    """Yield the rows of a page that asks who is signed in: opening the state, and the whole of it."""
    account = Account()
    held: dict[str, str] = {}
    me = account.two_factor.session(held, rotate=None)
    account.now += 30
    with suppress(CodeRequired):
        me.password_accepted(USER)
    me.verify(account.phone.code(account.now))
    me.begin_setup("alice@example.com")
    slot = Slot(held, Purpose.SESSION, account.two_factor._settings)
    opened = ratio(slot.read, three_digests, 20_000)
    yield Row("opening a browser's session, with a set-up in it", 8, "three `hmac.digest`", opened)
    page = ratio(lambda: account.two_factor.session(held, rotate=None), lambda: account.two_factor.status(USER), 10_000)
    yield Row("`session` of somebody, through `MemoryStore`", 2, "`status`, which it asks once", page)
    nobody = ratio(lambda: account.two_factor.session({}, rotate=None), three_digests, 20_000)
    yield Row("`session` of nobody, which reads no store", 2, "three `hmac.digest`", nobody)


NEEDED = """
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
"""


def import_rows() -> Iterator[Row]:
    """Yield the rows of importing the library where it is paid for: in a process that has a web framework already."""

    def start(code: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-I", "-c", f"import flask\n{code}"], check=True)

    def own_time(code: str) -> float:
        clock = "from time import perf_counter\nstart = perf_counter()\n{}\nprint(perf_counter() - start)"
        command = [sys.executable, "-I", "-c", "import flask\n" + clock.format(code)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    yardstick = "`cryptography`'s AEAD, HMAC and Argon2"
    started = ratio(start("import twofa"), start(NEEDED), 60)
    yield Row("a Flask process that imports `twofa`", 1.35, f"one that imports {yardstick}", started)
    pairs = [(own_time("import twofa"), own_time(NEEDED)) for _ in range(60)]
    ours, theirs = (median(times) for times in zip(*pairs, strict=True))
    yield Row("`import twofa` alone, after Flask", None, f"importing {yardstick}", ours / theirs)


def main() -> None:
    """Print the table, and fail if a bar is missed."""
    print_rows(chain(match_rows(), [verify_row()], recovery_rows(), [new_set_row()], session_rows(), import_rows()))


if __name__ == "__main__":
    main()
