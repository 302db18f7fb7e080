"""What the pages say. Every refusal has a sentence that tells what to do; the library's `code` picks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from twofa import Event
    from twofa.errors import TwoFactorError

SIGNED_OUT_ELSEWHERE = (
    "You were signed out, because the two-factor authentication of your account was changed in another browser. "
    "If that was not you, sign in and look at the recent activity."
)
SIGNED_OUT_IDLE = "You were signed out. Please sign in again."
WRONG_PASSWORD = "That e-mail address and password do not match."  # noqa: S105  # a sentence
PASSWORD_AGAIN = "That took too long. Please enter your password again."  # noqa: S105  # a sentence

LOST_PHONE = "If you have lost your phone, set up a new one below."

PROBLEMS = {
    "invalid_code": "That code is not right. Enter the newest code that your app shows.",
    "malformed_code": "A code has six digits. Enter it exactly as your app shows it.",
    "code_reused": "That code was used already, and each works once. Wait for the next code in your app.",
    "throttled": "Too many wrong codes, so even a right one does not count now.",
    "reenrolment_required": "Your authenticator app was reset. Use a recovery code.",
    "recovery_codes_exhausted": "No recovery code would be left, and losing this page would lock you out. "
    "Reset your recovery codes first.",
    "proof_required": "Your sign-in is no proof any more. Enter a code to confirm that it is you.",
    "not_enrolled": "Two-factor authentication is off.",
    "no_setup": "This set-up is over: it was cancelled, or started again in another browser.",
    "setup_expired": "This set-up was not finished in time, so its QR code has expired.",
}
RECOVERY_PROBLEMS = PROBLEMS | {
    "invalid_code": "That recovery code is not right. Compare it with your list, sign by sign.",
    "malformed_code": "That does not look like a recovery code. Enter one exactly as it stands on your list.",
    "code_reused": "That recovery code was used already, and each works once. Cross it out and use another one.",
    "recovery_codes_exhausted": "No recovery code is left. Use your app, or ask your help desk.",
}
PAGES = {
    400: ("This form is out of date", "Nothing was changed. Go back, reload the page, and try again."),
    404: ("There is no such page", "The address may be mistyped, or the page was moved."),
    413: ("That is too long", "Nothing was changed. No form here takes that much."),
    405: ("That does not work this way", "Nothing was changed. Go back to the administration page."),
    500: ("Something went wrong", "Nothing more is known here. Please try again."),
    503: ("Your second factor cannot be checked", "Nothing was changed. Please try again, or ask your help desk."),
}
"""What a page of that status says: a title and a sentence."""

STATES = {
    "none": "Off",
    "pending": "Set-up unfinished",
    "active": "On",
    "reenrol": "Re-enrolment required",
}


class Action(NamedTuple):
    """A page that asks for a proof before it does something."""

    title: str
    effect: str
    """What will stop working, in one sentence."""
    button: str
    danger: bool = False


ACTIONS = {
    "replace": Action(
        "Replace authenticator app",
        "Your present app works until the new one is verified; from then on its codes and your recovery codes stop "
        "working, you get new recovery codes, and other browsers are signed out.",
        "Continue",
    ),
    "reset-app": Action(
        "Reset authenticator app",
        "The app you have now stops working at once and other browsers are signed out; until a new app is set up you "
        "sign in with a recovery code.",
        "Reset authenticator app",
        danger=True,
    ),
    "reset-codes": Action(
        "Reset recovery codes",
        "The recovery codes you have now stop working at once, you get new ones, and other browsers are signed out.",
        "Reset recovery codes",
    ),
    "turn-off": Action(
        "Turn off two-factor authentication",
        "Your app and your recovery codes stop working, other browsers are signed out, and your password alone opens "
        "your account.",
        "Turn off",
        danger=True,
    ),
}
SET_UP_AGAIN = Action(
    "Set up authenticator app",
    "When the new app is verified, the recovery codes you have now stop working and you get new ones.",
    "Continue",
)

EVENTS = {  # those that the page shows
    "setup_begun": "Set-up of an authenticator app begun",
    "setup_rejected": "Wrong code during set-up",
    "setup_expired": "Set-up expired",
    "setup_cancelled": "Set-up cancelled",
    "authenticator_confirmed": "Authenticator app added",
    "authenticator_reset": "Authenticator app reset",
    "authenticator_blocked": "Authenticator app blocked after too many wrong codes",
    "recovery_codes_issued": "New recovery codes made",
    "recovery_code_used": "Recovery code used",
    "recovery_codes_blocked": "Recovery codes blocked after too many wrong codes",
    "code_accepted": "Code from the app accepted",
    "code_rejected": "Wrong code",
    "code_reused": "Used code tried again",
    "disabled": "Two-factor authentication turned off",
}
ALARMING = {"setup_rejected", "authenticator_blocked", "recovery_codes_blocked", "code_rejected", "code_reused"}

NOTICE = """\
{what}, on {at:%d %B %Y at %H:%M:%S} UTC, from {source}.

If this was you, there is nothing to do. If not, change your password, reset your authenticator app under
Administration > Two-factor authentication, and tell security@example.com.
"""


def problem(error: TwoFactorError, *, recovery: bool = False) -> str:
    """Return what to tell someone whose request was refused."""
    sentences = RECOVERY_PROBLEMS if recovery else PROBLEMS
    return sentences.get(error.code, "That did not work. Please try again.")


def event(happened: Event) -> str:
    """Return what happened."""
    return EVENTS.get(happened.kind, happened.kind.replace("_", " ").capitalize())


def date(at: datetime) -> str:
    """Return a day, such as `15 January 2027`."""
    return f"{at.day} {at:%B %Y}"


def codes_left(number: int) -> str:
    """Return how many recovery codes are left."""
    return f"{number or 'No'} recovery code{'' if number == 1 else 's'} left"
