"""The tables under "How much it takes" in docs/operations.md: what a call asks of the database and the processor.

Counts and bytes, not times: they are the same on every machine.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing, suppress
from typing import TYPE_CHECKING
from unittest.mock import patch

from accounts import KEYS, Account
from measure import NOW, SECRET, disk

from twofa import TOTP, ByVerification, TwoFactor
from twofa._record.recovery import Scheme
from twofa.errors import InvalidCode, Throttled
from twofa.stores import MemoryStore, SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from twofa import Change, Stored
    from twofa._hidden import Hidden

USERS, LOGINS = 100, 10
IMPORTED = [f"{number}-old-code" for number in range(10)]


class CountingStore(MemoryStore):
    """A memory store that counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def load(self, user_id: str) -> Stored | None:
        self.counts["reads"] += 1
        return super().load(user_id)

    def swap(self, user_id: str, change: Change) -> bool:
        self.counts["writes"] += 1
        self.counts["events"] += len(change.events)
        return super().swap(user_id, change)


class User:
    """Somebody with an app and ten recovery codes, under the default policy."""

    def __init__(self, recovery_codes: list[str] | None = None) -> None:
        self.now, self.store = NOW, CountingStore()
        self.face = TwoFactor(self.store, keys=KEYS, issuer="Example", clock=lambda: self.now)
        self.phone = TOTP(SECRET)
        self.codes = recovery_codes or []
        if recovery_codes:
            self.face.import_authenticator("user", SECRET, recovery_codes=recovery_codes, by="ops", reason="moved")
        else:
            self.enrol()
        self.now += 30

    def enrol(self) -> None:
        setup = self.face.begin_setup("user", account_name="alice@example.com")
        self.phone = TOTP.from_uri(setup.uri)
        issued = self.face.confirm_setup("user", self.phone.code(self.now), handle=setup.handle)
        self.codes, self.token = list(issued), issued.token

    def sign_in(self, code: str | None = None) -> None:
        with suppress(InvalidCode, Throttled):
            self.face.authenticate("user", code or self.phone.code(self.now))

    def guess(self) -> None:
        codes = ("000000", "111111", "222222", "333333")
        self.sign_in(next(code for code in codes if self.phone.match(code, self.now) is None))


def calls() -> dict[str, tuple[User, Callable[[User], object]]]:
    """Return each call that is counted, with the user that it is for."""
    waiting = User()
    for _ in range(5):
        waiting.guess()
    return {
        "`status`, or a page that asks who is signed in": (User(), lambda user: user.face.status("user")),
        "a code of the app, right": (User(), User.sign_in),
        "a code of the app, wrong": (User(), User.guess),
        "any code during a wait": (waiting, User.sign_in),
        "a recovery code, right": (User(), lambda user: user.sign_in(user.codes[0])),
        "a recovery code, wrong": (User(), lambda user: user.sign_in("0000-0000-0000-0000")),
        "a wrong one, among ten from another library": (User(IMPORTED), lambda user: user.sign_in("0-bad-code")),
        "new recovery codes": (
            User(),
            lambda user: user.face.reset_recovery_codes("user", proof=ByVerification(user.token)),
        ),
        "a set-up, begun and confirmed": (User(), _enrol_another),
    }


def _enrol_another(user: User) -> None:
    user.face.forget("user", proof=ByVerification(user.token))
    user.store.counts.clear()
    user.enrol()


def count(user: User, call: Callable[[User], object]) -> Counter[str]:
    """Return how many reads, writes, events and slow hashes a call takes."""
    hashed: Counter[str] = Counter()

    def digest(scheme: Scheme, salt: bytes, code: Hidden[str]) -> bytes:
        hashed["hashes"] += scheme.slow
        return bare(scheme, salt, code)

    bare = Scheme.digest
    user.store.counts.clear()
    with patch.object(Scheme, "digest", digest):
        call(user)
    return user.store.counts + hashed


def bytes_on_disk(folder: Path) -> tuple[float, float]:
    """Return the bytes of an enrolled user in an SQLite file, and those that each login adds."""
    path = folder / "sizing.db"
    with SQLiteStore(path, synchronous="NORMAL") as store:
        empty = _size(path)
        accounts = [Account(store, f"user-{number}@example.com").enrol() for number in range(USERS)]
        enrolled = _size(path)
        for account in accounts:
            for at, code in account.right_codes(LOGINS):
                account.sign_in(at, code)
        used = _size(path)
    return (enrolled - empty) / USERS, (used - enrolled) / (USERS * LOGINS)


def _size(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        [(pages,)] = connection.execute("PRAGMA page_count").fetchall()
        [(size,)] = connection.execute("PRAGMA page_size").fetchall()
    return int(pages * size)


def main() -> None:
    """Print both tables."""
    columns = ("reads", "writes", "events", "hashes")
    print("| call | reads | writes | events | slow hashes |", "|---|---|---|---|---|", sep="\n")
    for name, (user, call) in calls().items():
        counted = count(user, call)
        print(f"| {name} | {' | '.join(str(counted[column]) for column in columns)} |")
    with disk() as folder:
        of_user, of_login = bytes_on_disk(folder)
    print("", "| SQLite | bytes |", "|---|---|", f"| a user, without events | {of_user:,.0f} |", sep="\n")
    print(f"| each login that stays in the audit trail | {of_login:,.0f} |")


if __name__ == "__main__":
    main()
