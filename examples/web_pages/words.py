"""What the pages say, by the stable codes of the library. English here; `languages/` has the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from twofa import Verification
    from web_pages.language import Language

PROBLEMS = {
    "invalid_code": "Incorrect code. Use the current one, and set your phone's time to automatic.",
    "malformed_code": "That can't be a code. Enter the digits that your app shows, or a recovery code.",
    "code_reused": "This code was used already. Wait for the next one.",
    "reenrolment_required": "Your authenticator app was reset. Use a recovery code.",
    "recovery_codes_exhausted": "That would leave you without a way in. Reset your recovery codes first.",
    "proof_required": "Enter a code to continue.",
    "not_enrolled": "Two-factor authentication is off.",
    "no_setup": "This set-up is over: it was finished, cancelled, or started again elsewhere.",
    "setup_expired": "The QR code has expired. Start again to get a new one.",
    "store_contention": "Too much happened at once, and this was not done. Try again.",
    "outcome_unknown": "It is not certain that this was saved. See below how your account stands.",
}
"""By the error's code."""

RECOVERY_PROBLEMS = PROBLEMS | {
    "invalid_code": "Incorrect recovery code. Compare it with your list.",
    "malformed_code": "That is not a whole recovery code. Enter it as it stands on your list.",
    "code_reused": "This recovery code was used already. Cross it out, and use another one.",
    "recovery_codes_exhausted": "No recovery codes are left. Use your app, or contact support.",
}
"""To someone who has typed a recovery code."""

UNKNOWN = "That did not work. Try again."

SIGN_IN = {
    "expired": "You were signed out because it has been a while.",
    "ended": "You were signed out, because something was changed in your account or you signed out elsewhere. "
    "If that was not you, sign in and check the recent activity.",
}
"""By the reason of `SignInRequired`. Who simply was not signed in is told nothing."""

WRONG_PASSWORD = "That e-mail address and password do not match."  # noqa: S105  # a sentence

STATES = {"none": "Off", "pending": "Not finished", "active": "On", "reenrol": "Set up your app again"}

PAGES = {
    403: ("This came from another site", "Open the page here, and try again."),
    404: ("There is no such page", "The address may be mistyped, or the page was moved."),
    405: ("That does not work this way", "Go back to your account."),
    413: ("That is too long", "No form here takes that much."),
    500: ("Something went wrong", "Try again. Your account's page says what has happened."),
    503: ("Your second factor can't be checked now", "Try again in a moment, or contact support."),
}
"""A title and a sentence, by status."""


class Action(NamedTuple):
    """A change that takes a code."""

    title: str
    effect: str
    button: str
    danger: bool = False


ACTIONS = {
    "replace": Action(
        "Replace authenticator app",
        "Your current app works until the new one is verified. Then you get new recovery codes, and other browsers "
        "are signed out.",
        "Continue",
    ),
    "set-up-again": Action(
        "Set up your app again",
        "When the new app is verified, you get new recovery codes, and other browsers are signed out.",
        "Continue",
    ),
    "reset-app": Action(
        "Reset authenticator app",
        "Your app stops working now, and other browsers are signed out. Until you set up a new app, you sign in with "
        "a recovery code.",
        "Reset authenticator app",
        danger=True,
    ),
    "reset-codes": Action(
        "Reset recovery codes",
        "Your current recovery codes stop working now. You get new ones, and other browsers are signed out.",
        "Reset recovery codes",
    ),
    "turn-off": Action(
        "Turn off two-factor authentication",
        "You'd sign in with only your password. Other browsers are signed out.",
        "Turn off",
        danger=True,
    ),
}

EVENTS = {
    "setup_begun": "Set-up of an authenticator app started",
    "setup_expired": "Set-up expired",
    "setup_cancelled": "Set-up cancelled",
    "authenticator_confirmed": "Authenticator app added",
    "authenticator_reset": "Authenticator app reset",
    "authenticator_blocked": "Authenticator app blocked after too many incorrect codes",
    "recovery_codes_issued": "New recovery codes made",
    "recovery_codes_acknowledged": "Recovery codes saved",
    "recovery_code_used": "Recovery code used",
    "recovery_codes_blocked": "Recovery codes blocked after too many incorrect codes",
    "code_accepted": "Code accepted",
    "password_changed": "Password changed",
    "sessions_ended": "Signed out elsewhere",
    "disabled": "Two-factor authentication turned off",
    "setup_rejected": "Incorrect code",
    "code_rejected": "Incorrect code",
    "code_reused": "Used code tried again",
    "attack_suspected": "Someone may know your password",
}
"""Those that the page shows, by kind."""

ALARMING = {
    "authenticator_blocked", "recovery_codes_blocked", "setup_rejected", "code_rejected", "code_reused",
    "attack_suspected",
}  # fmt: skip
FREQUENT = {"Incorrect code", "Used code tried again", "Code accepted"}
"""What may happen often enough to push everything else off a list: shown in one line each, with how often."""

UNITS = ((3600, "{n} hour", "{n} hours"), (60, "{n} minute", "{n} minutes"))

LONGEST_APP_CODE = 10
"""Characters, with a space or two: what is longer was meant as a recovery code."""


def kind_of(typed: str) -> str:
    """Return which kind of code somebody has typed: `app` or `recovery`."""
    return "recovery" if len(typed.strip()) > LONGEST_APP_CODE else "app"


def problem(code: str, kind: str = "app") -> str:
    """Return what an error's code means to someone who has typed a code of that kind."""
    return (RECOVERY_PROBLEMS if kind == "recovery" else PROBLEMS).get(code, UNKNOWN)


FAILED_BEFORE = (
    "{n} incorrect code was entered since you last signed in. If that wasn't you, change your password.",
    "{n} incorrect codes were entered since you last signed in. If that wasn't you, change your password.",
)
BY_RECOVERY_CODE = (
    "You signed in with a recovery code, which is used up now. If you lost your phone, replace the app below."
)


def about_sign_in(t: Language, verification: Verification) -> list[str]:
    """Return what to tell someone who has just signed in with a code (ASVS 5.0 6.3.5)."""
    failed, by_recovery_code = verification.failed_before, verification.method == "recovery_code"
    said = [t.count(failed, *FAILED_BEFORE)] if failed else []
    return [*said, t(BY_RECOVERY_CODE)] if by_recovery_code else said
