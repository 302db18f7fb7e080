"""The whole of twofa in one page, on a SQLite file: run it with `make demo`, or `python examples/quickstart.py`.

With a terminal you are the user: scan the QR code with any authenticator app and type what it shows; Enter lets a
simulated phone answer. Without a terminal the simulated phone answers everything.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from twofa import TOTP, ByCode, ByRecoveryCode, KeyRing, RecoveryCodes, TwoFactor, errors
from twofa.stores import SQLiteStore

USER = "user-42"  # your own, stable id; the account name is only the label in the app
ACCOUNT = "alice@example.com"


def main() -> None:
    """Enrol, sign in, recover, reset."""
    with tempfile.TemporaryDirectory() as folder, SQLiteStore(Path(folder) / "app.db") as store:
        # A real application keeps its key outside the database: KeyRing.from_env("TWOFA_KEYS").
        keys = KeyRing(KeyRing.generate_key())
        clock = DemoClock()
        two_factor = TwoFactor(store, keys=keys, issuer="Example", clock=clock)

        title("Administration: Add authenticator app")
        setup = two_factor.begin_setup(USER, account_name=ACCOUNT)
        show(setup.qr_text())
        print(f"or type this key by hand: {setup.manual_key}")
        print(f"the code is valid until {setup.expires_at:%H:%M:%S} UTC\n")
        phone = SimulatedPhone(setup.uri, clock)  # answers from here on, as your own phone would
        codes = confirm(two_factor, setup.handle, phone)

        title("Your recovery codes: each works once, keep them on paper")
        print(codes)

        title("Login: the password was right, now the second factor")
        print(f"required: {two_factor.status(USER).required}")
        clock.next_step()
        code = phone.code()
        print(f"verify({code}): {two_factor.verify(USER, code, source='192.0.2.7').method} accepted")
        refused("the same code again", lambda: two_factor.verify(USER, code))

        title("Login without the phone: a recovery code")
        left = two_factor.redeem_recovery_code(USER, codes[0]).recovery_codes_remaining
        print(f"redeem_recovery_code({codes[0]}): accepted, {left} left")
        refused("the same recovery code again", lambda: two_factor.redeem_recovery_code(USER, codes[0]))

        title("Administration: Reset recovery codes")
        clock.next_step()
        new_codes = two_factor.reset_recovery_codes(USER, proof=ByCode(phone.code()))
        print(f"{len(new_codes)} new codes, {new_codes[0]} and so on")
        refused("a code of the old set", lambda: two_factor.redeem_recovery_code(USER, codes[1]))

        title("Administration: Reset authenticator app (the phone was lost)")
        clock.next_step()
        proof = ByRecoveryCode(new_codes[0])
        setup = two_factor.reset_authenticator(USER, account_name=ACCOUNT, proof=proof)
        clock.next_step()
        refused("the old phone", lambda: two_factor.verify(USER, phone.code()))
        print(f"still required: {two_factor.status(USER).required}")
        new_phone = SimulatedPhone(setup.uri, clock)
        two_factor.confirm_setup(USER, new_phone.code(), handle=setup.handle)
        clock.next_step()
        print(f"the new phone: {two_factor.verify(USER, new_phone.code()).method} accepted")

        title("The event trail, written in the same transactions")
        for event in store.events(USER):
            detail = ", ".join(f"{name}: {value}" for name, value in event.detail.items() if value is not None)
            print(f"{event.at:%H:%M:%S}  {event.kind:24} {detail}")


def confirm(two_factor: TwoFactor, handle: str, phone: "SimulatedPhone") -> RecoveryCodes:
    """Ask for the code until it is right, as the page behind the QR code does."""
    while True:
        code = ask() or phone.code()
        try:
            return two_factor.confirm_setup(USER, code, handle=handle)
        except errors.InvalidCode as problem:
            print(f"  {problem}")
        except errors.TwoFactorError as problem:  # ten wrong codes, or ten minutes
            raise SystemExit(f"  {problem}") from None


def ask() -> str:
    """Return what the user types, or nothing where there is no user."""
    if not sys.stdin.isatty():
        return ""
    return input("the code that your app shows (Enter: let the simulated phone answer): ").strip()


def show(picture: str) -> None:
    """Print the QR code, light on dark whatever the terminal's own colours are."""
    if sys.stdout.isatty():
        picture = "\n".join(f"\x1b[97;40m{line}\x1b[0m" for line in picture.split("\n"))
    print(picture)


def refused(what: str, attempt: Callable[[], object]) -> None:
    """Show that something that must not work does not."""
    try:
        attempt()
    except errors.TwoFactorError as problem:
        print(f"{what}: refused ({problem.code})")
    else:
        raise SystemExit(f"{what} was accepted: please report this as a security bug")


class SimulatedPhone:
    """What an authenticator app does: it reads the URI in the QR code and shows codes."""

    def __init__(self, uri: str, clock: "DemoClock") -> None:
        self._totp = TOTP.from_uri(uri)
        self._clock = clock

    def code(self) -> str:
        """Return the code that it shows now."""
        return self._totp.code(self._clock())


class DemoClock:
    """The system's clock, which the demo sets forward where a person would wait for the app's next code."""

    def __init__(self) -> None:
        self._ahead = 0

    def __call__(self) -> float:
        """Return the demo's time."""
        return time.time() + self._ahead

    def next_step(self) -> None:
        """Go on by two time steps, in case the clock of your phone is one ahead."""
        self._ahead += 60


def title(text: str) -> None:
    """Print a heading."""
    print(f"\n== {text} ==\n")


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, EOFError):
        raise SystemExit("\nbye") from None
