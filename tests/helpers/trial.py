"""The library and the model of an account side by side: each step is taken by both, and everything is compared.

A step names what is submitted by words ("the newest app, one time step ago"), which find their meaning when the step is
taken. So steps can be left out of a sequence, and the rest still makes sense.
"""

from __future__ import annotations

import hashlib
from base64 import b32decode
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import failing_store as faults
from account_model import DAY, SKEW, SYMBOLS, UNSEEN, Account, Model, Play, code_of
from failing_store import NO_FAULT, Awaiting, FailingStore, Gone
from interleave import at_once

from twofa import (
    Argon2id,
    AsyncTwoFactor,
    ByCode,
    ByRecoveryCode,
    ByVerification,
    ExportedAuthenticator,
    KeyRing,
    Policy,
    RecoveryCodes,
    Setup,
    Throttle,
    TwoFactor,
    TwoFactorError,
    Verification,
    Vouched,
)
from twofa.errors import UnknownKey

if TYPE_CHECKING:
    from account_model import Event

USER, ACCOUNT, SOURCE = "user-42", "alice@example.com", "192.0.2.7"
START = 1_800_000_000
CAROL = Vouched(by="support:carol", reason="ticket 4711")
KEYS = (
    "T2ZmaWNpYWwgdGVzdCBrZXksIDMyIGJ5dGVzIGxvbmc",
    "QW5vdGhlciB0ZXN0IGtleSBvZiAzMiBieXRlcywgb2s",
    "VGhlIGtleSBhZnRlciB0aGUgbmV4dCwgMzIgYnl0ZXM",
)
RINGS = ((0,), (1, 0), (1,), (2, 1), (0, 1, 2))
"""The key rings that an application goes through, by number of the keys, the primary first."""


def policy(codes: int, block_after: int, **settings: Any) -> Policy:
    """Return a policy with so many recovery codes, which need no slow hash unless they are made shorter."""
    throttle = {name: settings.pop(name) for name in Throttle.__dataclass_fields__ if name in settings}
    settings = {"recovery_code_length": 24, **settings}
    return Policy(recovery_codes=codes, throttle=Throttle(block_after=block_after, **throttle), **settings)


POLICIES = (
    policy(2, 10),
    policy(5, 100),
    policy(1, 7, window=0, digits=8, algorithm="SHA256", setup_lifetime=60),
    policy(3, 12, period=60, window=2, free_failures=2, first_wait=45, longest_wait=300, longest_recovery_wait=900),
    policy(4, 5, free_failures=0, longest_wait=60, longest_recovery_wait=60, recovery_code_length=32, digits=7),
    policy(2, 1),
    policy(2, 2, period=15, algorithm="SHA512"),
    policy(2, 25, free_failures=1, first_wait=30, longest_wait=30, longest_recovery_wait=30),
    policy(2, 10, recovery_code_length=16, hashing=Argon2id(memory_kib=12_288, iterations=3)),
)
SLOW = len(POLICIES) - 1
"""The policy whose recovery codes take a slow hash. The others are drawn at random."""

WITH_PROOF = frozenset({"begin_setup", "reset_recovery_codes", "reset_authenticator", "disable", "forget"})
WITH_CODE = frozenset({"verify", "redeem_recovery_code", "authenticate", "confirm_setup"})
WITH_BROWSER = (WITH_PROOF | WITH_CODE) - {"confirm_setup"}
WITH_LABEL = frozenset({"begin_setup", "reset_authenticator", "resume_setup", "export_authenticator"})


class Step(NamedTuple):
    """One step, in words."""

    call: str
    """A method, or `policy`, `keys`, `browser_token`."""
    wait: int | str = 30
    """Seconds that pass before, which may be negative; or `"open"`: until a code is looked at again."""
    who: int = 0
    """Which of three browsers."""
    known: bool = False
    """Whether it sends its browser token along."""
    code: tuple[Any, ...] = ("app", -1, 0)
    proof: tuple[Any, ...] = ()
    other: int | str = 0
    """Whose handle; which policy or ring; or which of the values that another argument can have."""
    fault: str = NO_FAULT
    at: int = 0
    """Which write the fault meets."""
    lost: bool = False
    """Whether the answer is lost: the browser never gets it."""


class Disagreement(AssertionError):
    """The library and the model differ."""


class Browser:
    """What one browser has kept."""

    def __init__(self) -> None:
        self.token: str | None = None
        self.handle = self.verification = "none such"
        self.generation: str | None = None


def driven(coroutine: Any) -> Any:
    """Carry out a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it waits for something")


class Trial:
    """One account, its three browsers, and whatever was ever shown to any of them."""

    def __init__(self, *, awaiting: bool = False) -> None:
        self.now, self.policy, self.ring = START, POLICIES[0], RINGS[0]
        self.model, self.store = Model(), FailingStore()
        self.browsers = [Browser() for _ in range(3)]
        self._awaiting = awaiting
        self._heard: list[Any] = []
        self._trail: list[Event] = []
        self._apps: list[Any] = []
        self._sheets: list[tuple[str, ...]] = []
        self._verifications = ["none such"]
        self._generations: list[str] = []
        self._tokens: dict[str, tuple[str, str, int]] = {}
        """Of each browser token: its generation, the key that sealed it, and when."""
        self._faces: dict[Any, Any] = {}

    # --- what the words mean -----------------------------------------------------------------------------------------

    def face(self) -> Any:
        """Return the application as it is configured now."""
        key = (self.policy, self.ring)
        if key not in self._faces:
            options: dict[str, Any] = {
                "keys": KeyRing(*self._keys()),
                "issuer": "Example",
                "policy": self.policy,
                "clock": lambda: self.now,
                "on_event": self._heard.append,
            }
            if self._awaiting:
                self._faces[key] = AsyncTwoFactor(Awaiting(self.store), run_blocking=at_once, **options)
            else:
                self._faces[key] = TwoFactor(self.store, **options)
        return self._faces[key]

    def ask(self, name: str, **named: Any) -> Any:
        """Call the library."""
        answer = getattr(self.face(), name)(USER, **named)
        return driven(answer) if self._awaiting else answer

    def _keys(self) -> tuple[str, ...]:
        return tuple(KEYS[number] for number in self.ring)

    def code(self, words: tuple[Any, ...]) -> str | None:
        """Return what is typed into a field."""
        kind, *rest = words
        account = self.model.account
        length = (account.codes.length if account.codes else 0) or 24
        if kind == "junk":
            return rest[0]
        if kind == "codes" and self._sheets:
            sheet = self._sheets[rest[0] % len(self._sheets)]
            code = sheet[rest[1] % len(sheet)]
            return code.lower().replace("-", " ") if rest[1] > 2 else code
        if kind == "wrong recovery code":
            slots = len(account.codes.codes) if account.codes else 0
            return SYMBOLS[rest[0] % max(1, slots)] + "0" * (length - 1)
        if kind == "no slot":
            return "Z" * length
        if kind == "app" and self._apps:
            return self._shown(self._apps[rest[0] % len(self._apps)], rest[1])
        if kind == "setup":
            return self._shown(account.pending, rest[0])
        return self._wrong(account.app or account.pending)

    def _shown(self, app: Any, steps: int) -> str:
        if app is None or app.secret is None:
            return "123456"
        return code_of(app, max(0, self.now // app.period + steps))

    def _wrong(self, app: Any) -> str:
        if app is None:
            return "123456"
        around = {self._shown(app, steps) for steps in range(-3, 4)}
        return next(code for n in range(9) if (code := str(n) * app.digits) not in around)

    def _proof(self, words: tuple[Any, ...]) -> tuple[Any, Any]:
        """Return a proof, for the library and for the model."""
        kind, *rest = words or ("none",)
        if kind == "totp":
            code = self.code(rest[0]) or ""
            return ByCode(code), (kind, code)
        if kind == "recovery_code":
            code = self.code(rest[0]) or ""
            return ByRecoveryCode(code), (kind, code)
        if kind == "verification":
            who, which = rest
            kept = self._verifications
            token = kept[which % len(kept)] if which else self.browsers[who % 3].verification
            return ByVerification(token), (kind, token)
        if kind == "vouched":
            return CAROL, (kind, (CAROL.by, CAROL.reason))
        return None, None

    def is_known(self, token: str | None) -> bool:
        """Whether a browser token makes its browser known now."""
        if token is None or token not in self._tokens:
            return False
        generation, key, at = self._tokens[token]
        genuine = key in self._keys() and at - SKEW <= self.now < at + 400 * DAY
        return genuine and generation == self.model.account.generation

    # --- one step ----------------------------------------------------------------------------------------------------

    def take(self, step: Step) -> str:
        """Take a step, and raise `Disagreement` where library and model differ; return what came of it."""
        if step.wait == "open":
            shown = self.model.status(self.now, self.policy, known=False)
            self.now = max(self.now, shown["retry_at"] or 0, shown["recovery_retry_at"] or 0)
        else:
            self.now = max(1_000_000_000, self.now + int(step.wait))
        browser = self.browsers[step.who % 3]
        if step.call == "policy":
            self.policy = POLICIES[int(step.other) % len(POLICIES)]
            came = str(self.policy.throttle)
        elif step.call == "keys":
            self.ring = RINGS[int(step.other) % len(RINGS)]
            came = f"keys {self.ring}"
        elif step.call == "browser_token":
            came = self._make_known(browser, step)
        else:
            came = self._call(browser, step)
        self._compare_status(browser)
        return came

    def _make_known(self, browser: Browser, step: Step) -> str:
        old = self._generations[step.at % len(self._generations)] if self._generations else None
        generation = old if step.other == "old" else browser.generation
        if not generation:
            return "nothing to make it known by"
        browser.token = self.face().browser_token(USER, generation=generation)
        self._tokens[browser.token] = generation, self._keys()[0], self.now
        return "known"

    def _call(self, browser: Browser, step: Step) -> str:
        named, given = self._arguments(browser, step)
        play = self.model.play(step.call, given, self.now, self.policy, self._keys())
        left, kept, told, refusal = self._under_fault(step, play)
        self._heard.clear()
        self.store.plan(step.fault, step.at)
        answer, problem = None, None
        try:
            answer = self.ask(step.call, **named)
        except (TwoFactorError, Gone) as failure:
            problem = failure
        self.store.plan(NO_FAULT, 0)
        self._same("outcome", refusal, _named(problem))
        self.model.account = left
        if problem is None:
            self._compare_answer(step, play.answer, answer)
            if not step.lost:
                _keep(browser, answer, step)
        self._compare_generation(answer)
        if step.call == "forget" and left.sealed_with is None:
            self._trail, kept = [], []
        self._compare_events("heard", told, self._heard, step)
        trail = self.store.events(USER)
        self._compare_events("trail", kept, trail[len(self._trail) :], step)
        self._trail += kept
        return str(refusal or type(answer).__name__)

    def _arguments(self, browser: Browser, step: Step) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the keyword arguments, and the same as the model takes them."""
        call = step.call
        named: dict[str, Any] = {}
        if call in WITH_CODE:
            named["code"] = self.code(step.code)
        if call in {"resume_setup", "confirm_setup"} or (call == "cancel_setup" and step.other != "any"):
            holder = self.browsers[step.other % 3] if isinstance(step.other, int) else browser
            named["handle"] = holder.handle
        if call == "acknowledge_recovery_codes" and step.other != "any":
            named["generation"] = browser.generation
        if call in {"import_authenticator", "export_authenticator"}:
            named |= {"by": CAROL.by, "reason": CAROL.reason}
        if call == "import_authenticator":
            named |= _from_elsewhere(step)
        given = {"handle": None, "generation": None, **named}
        if call in WITH_PROOF:
            named["proof"], given["proof"] = self._proof(step.proof)
        if call in WITH_LABEL:
            named["account_name"] = ACCOUNT
        if call in WITH_BROWSER and step.known:
            named["browser"], given["known"] = browser.token, self.is_known(browser.token)
        if call != "reseal":
            named["source"] = SOURCE
        return named, given

    def _under_fault(
        self, step: Step, play: Play
    ) -> tuple[Account, list[Event], list[Event], tuple[str, int | None] | None]:
        """Return what a call comes to under its fault: the account, what is in the trail, what is told, the error."""
        writes, at = play.writes, step.at
        failed, kept, told = None, len(writes), len(writes)
        if step.fault == faults.LOAD_FAILS:
            failed, kept, told = "store_failed", 0, 0
        elif at < len(writes):
            if step.fault == faults.SWAP_FAILS:
                failed, kept, told = "outcome_unknown", at, at
            elif step.fault == faults.REPLY_AND_LOAD_LOST:
                failed, kept, told = "outcome_unknown", at + 1, at
            elif step.fault == faults.ALWAYS_OVERTAKEN:
                failed, kept, told = "store_contention", at, at
            elif step.fault == faults.NEXT_LOAD_FAILS and at + 1 < len(writes):
                failed, kept, told = "store_failed", at + 1, at + 1
        account = writes[kept - 1][0] if kept else self.model.account
        trail = [event for _, events in writes[:kept] for event in events]
        heard = [event for _, events in writes[:told] for event in events if event[0] != "attempt_counted"]
        if failed is None:
            refusal = (play.refusal.code, play.refusal.retry_at) if play.refusal else None
            return account, trail, heard + play.heard, refusal
        reason = {} if failed == "store_contention" else {"reason": "Gone"}
        heard.append((failed, {"operation": step.call, **reason}))
        return account, trail, heard, ("Gone" if failed == "store_failed" else failed, None)

    # --- comparing ---------------------------------------------------------------------------------------------------

    def _compare_answer(self, step: Step, expected: dict[str, Any], answer: Any) -> None:
        """Compare what was returned, and let the model know what was drawn."""
        account = self.model.account
        if isinstance(answer, Setup):
            self._compare_setup(step, expected, answer)
        elif isinstance(answer, RecoveryCodes):
            self._same("codes", expected["count"], len(answer))
            codes = tuple(code.replace("-", "") for code in answer)
            self.model.account = account._replace(
                codes=_there(account.codes)._replace(codes=codes), fresh=(answer.token, self.now)
            )
            self._sheets.append(tuple(answer))
            self._verifications.append(answer.token)
        elif isinstance(answer, Verification):
            shown = {name: _plain(getattr(answer, name)) for name in expected}
            self._same("verification", expected, shown)
            self._same("whose", USER, answer.user_id)
            self.model.account = account._replace(fresh=(answer.token, self.now))
            self._verifications.append(answer.token)
        elif isinstance(answer, ExportedAuthenticator):
            self._same("export", expected, {"secret": answer.secret, "last_step": answer.last_step})
        elif step.call == "reseal":
            self._same("resealed", expected["resealed"], answer)
        elif step.call == "import_authenticator":
            self._apps.append(account.app)
            self._sheets += [codes] if (codes := _there(account.codes).codes) else []
        elif step.call not in {"disable", "password_changed", "end_sessions"}:
            self._same("answer", None, answer)

    def _compare_setup(self, step: Step, expected: dict[str, Any], answer: Setup) -> None:
        self._same("expiry", expected["expires_at"], _plain(answer.expires_at))
        key = answer.manual_key.replace(" ", "")
        secret = b32decode(key + "=" * (-len(key) % 8))
        pending = _there(self.model.account.pending)
        if step.call == "resume_setup":
            self._same("set-up", (pending.handle, pending.secret), (answer.handle, secret))
            return
        pending = pending._replace(handle=answer.handle, secret=secret)
        self.model.account = self.model.account._replace(pending=pending)
        self._apps.append(pending)

    def _compare_generation(self, answer: Any) -> None:
        """Compare the generation: the same as before, or one that never was."""
        if self._unreadable():
            return
        shown, account = self.ask("status").generation, self.model.account
        if account.generation == UNSEEN:
            if shown is None or shown in self._generations:
                raise Disagreement(f"the generation is not new: {shown}")
            self._generations.append(shown)
            self.model.account = account._replace(generation=shown)
        else:
            self._same("generation", account.generation, shown)
        if isinstance(answer, Setup | RecoveryCodes | Verification):
            self._same("generation of the answer", shown, answer.generation)
        elif isinstance(answer, str):
            self._same("generation returned", shown, answer)

    def _unreadable(self) -> bool:
        return self.model.account.sealed_with not in (None, *self._keys())

    def _compare_status(self, browser: Browser) -> None:
        """Compare `status`, for a stranger and for this browser."""
        for token in {None, browser.token}:
            try:
                shown = self.ask("status", browser=token)
            except UnknownKey:
                self._same("unreadable", self._unreadable(), True)
                return
            expected = self.model.status(self.now, self.policy, known=self.is_known(token))
            self._same("status", expected, {name: _plain(getattr(shown, name)) for name in expected})

    def _compare_events(self, where: str, expected: list[Event], got: Any, step: Step) -> None:
        self._same(where, expected, [(str(event.kind), dict(event.detail)) for event in got])
        frame = (self.now, USER, None if step.call == "reseal" else SOURCE)
        for event in got:
            self._same(f"frame of an event {where}", frame, (_plain(event.at), event.user_id, event.source))

    @staticmethod
    def _same(what: str, expected: Any, got: Any) -> None:
        if expected == got:
            return
        if isinstance(expected, dict) and isinstance(got, dict):
            names = [name for name in expected if expected[name] != got.get(name)]
            expected, got = ({name: values.get(name) for name in names} for values in (expected, got))
        raise Disagreement(f"{what}: the model says {expected!r}, the library {got!r}")


def _there(part: Any) -> Any:
    """Return a part of the account that is there if the model is right."""
    if part is None:
        raise Disagreement("the model has nothing there")
    return part


def _named(problem: Exception | None) -> tuple[str, int | None] | None:
    if problem is None:
        return None
    return getattr(problem, "code", type(problem).__name__), _plain(getattr(problem, "retry_at", None))


def _plain(value: Any) -> Any:
    return int(value.timestamp()) if isinstance(value, datetime) else value


def _keep(browser: Browser, answer: Any, step: Step) -> None:
    """Let a browser keep what it was given."""
    if isinstance(answer, Setup):
        browser.handle = answer.handle
    if isinstance(answer, Verification | RecoveryCodes):
        browser.verification, browser.generation = answer.token, answer.generation
    elif step.call in {"import_authenticator", "password_changed", "end_sessions"}:
        browser.generation = answer


def _from_elsewhere(step: Step) -> dict[str, Any]:
    """Return what comes along from another library: a long or a short secret, and perhaps two codes."""
    drawn = [hashlib.sha256(f"{step.at} {step.other} {number}".encode()) for number in range(3)]
    codes = tuple(each.hexdigest()[:32] for each in drawn[1:])
    return {
        "secret": drawn[0].digest()[: 20 - 8 * (step.at % 2)],
        "recovery_codes": codes if step.other != "own" else (),
    }
