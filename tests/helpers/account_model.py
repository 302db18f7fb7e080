"""What is promised, written a second time: an account as plain values, and what each call does to it.

Written from the documentation. It shares no line with the library, not even the arithmetic of a code, so that a mistake
has to be made twice to go unseen. It knows no store, no seal, no hash and no thread: `Model.play` says what a call
writes, what it answers and which events it leaves, and `sequences.py` holds the library to that.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twofa import Policy

DAY = 86_400
MONTH = 30 * DAY
FRESH = 600
"""Seconds that a verification proves something."""
SKEW = 60
"""Seconds by which two machines' clocks may differ. What was made later than that from now was made by a wrong clock."""
LONGEST_SETUP = 600
"""Seconds that a set-up lives at most, whatever the policy."""
TRIES = 10
"""Wrong codes that a set-up outlives, less one."""
MOST_DIGITS = 8
SYMBOLS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
UNSEEN = "?"
"""What the library drew and nobody was shown: equal to nothing that anybody can submit."""


class Lane(NamedTuple):
    """Wrong codes of known browsers, or of strangers."""

    waiting: int = 0
    """Those that make the next one wait longer."""
    last: int = 0
    month: tuple[int, ...] = ()


class Wrong(NamedTuple):
    """Wrong codes of one factor."""

    limit: int = 0
    """Of the policy that the last one was counted under."""
    in_a_row: int = 0
    known: Lane = Lane()
    strangers: Lane = Lane()
    suspected: int | None = None
    """When the owner was last told of an attack."""
    granted: tuple[int, ...] = ()
    """When changes of the password gave strangers more tries, in the last 30 days."""
    used: int = 0
    """How many wrong codes strangers have sent since the latest of them."""


class App(NamedTuple):
    """A confirmed authenticator."""

    secret: bytes
    algorithm: str
    digits: int
    period: int
    confirmed_at: int
    last_step: int
    last_used_at: int | None
    wrong: Wrong = Wrong()


class Codes(NamedTuple):
    """A set of recovery codes."""

    codes: tuple[str, ...]
    length: int
    issued_at: int
    wrong: Wrong = Wrong()
    spent: frozenset[int] = frozenset()
    saved: bool = False
    """Whether the owner is known to have them."""
    blocked: bool = False
    imported: bool = False
    """Whether another library made them: they have no slots."""


class Pending(NamedTuple):
    """A set-up."""

    expires_at: int
    algorithm: str
    digits: int
    period: int
    handle: str = UNSEEN
    secret: bytes | None = None
    tries: int = 0
    dead: bool = False


class Account(NamedTuple):
    """All that is remembered of a user."""

    sealed_with: str | None = None
    """The key of the record; `None` without one."""
    generation: str | None = None
    protected: bool = False
    app: App | None = None
    codes: Codes | None = None
    pending: Pending | None = None
    fresh: tuple[str, int] | None = None
    """The token of the last verification, and when it was."""


class Refusal(Exception):
    """The error that a call ends in."""

    def __init__(self, code: str, retry_at: int | None = None) -> None:
        super().__init__(code)
        self.code, self.retry_at = code, retry_at


@dataclass(slots=True)
class Play:
    """What a call comes to."""

    writes: list[tuple[Account, list[Event]]] = field(default_factory=list)
    """Each write: what is there after it, and the events that go into the audit trail with it."""
    heard: list[Event] = field(default_factory=list)
    """Events without a write."""
    refusal: Refusal | None = None
    answer: dict[str, Any] = field(default_factory=dict)
    """Fields of the value returned."""


Event = tuple[str, dict[str, Any]]


# --- codes ---------------------------------------------------------------------------------------------------------


def code_of(app: App | Pending, step: int) -> str:
    """Return the code of a time step (RFC 6238 §4, RFC 4226 §5.3)."""
    digest = hmac.digest(app.secret or b"", step.to_bytes(8, "big"), app.algorithm.lower())
    at = digest[-1] & 15
    number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFFFFFF
    return str(number % 10**app.digits).zfill(app.digits)


def _typed(code: str | None) -> str:
    return "".join(code.split()).replace("-", "").upper() if code else ""


def _as_digits(code: str | None, digits: int) -> str | None:
    typed = _typed(code)
    return "".join(str(int(c)) for c in typed) if len(typed) == digits and typed.isdecimal() else None


def _as_recovery_code(code: str | None, codes: Codes) -> str | None:
    if codes.imported:
        return _typed(code) if len(_typed(code)) == codes.length else None
    typed = _typed(code).translate({ord("O"): "0", ord("I"): "1", ord("L"): "1"})
    return typed if len(typed) == codes.length and set(typed) <= set(SYMBOLS) else None


# --- waits ---------------------------------------------------------------------------------------------------------


def _wait(lane: Lane, now: int, policy: Policy, longest: int) -> int | None:
    throttle = policy.throttle
    over = lane.waiting - throttle.free_failures
    if over <= 0:
        return None
    until = min(lane.last, now) + min(throttle.first_wait * 2 ** (over - 1), longest)
    return until if until > now else None


def _recent(lane: Lane, now: int) -> list[int]:
    """Return the wrong codes of the last 30 days; what a wrong clock has dated a day ahead is brought to the present."""
    month = lane.month
    if month and month[-1] > now + DAY:
        month = tuple(min(at, now - len(month) + 1 + place) for place, at in enumerate(month))
    return [at for at in month if at > now - MONTH]


def _counted(lane: Lane, now: int, limit: int) -> Lane:
    """Return a lane with one wrong code more. Each has a second of its own, by which it can be taken back."""
    month = _recent(lane, now)
    month.append(max([now, *(at + 1 for at in month)]))
    return Lane(lane.waiting + 1, now, tuple(month[-limit:]))


def closed_until(factor: str, wrong: Wrong, now: int, policy: Policy, *, known: bool) -> int | None:
    """Return until when no code of a factor is looked at; `None` if one is looked at now."""
    limit = policy.throttle.block_after
    lane = wrong.known if known else wrong.strangers
    longest = policy.throttle.longest_wait
    if not known and factor == "recovery_code":
        longest = policy.throttle.longest_recovery_wait
    times = [_wait(lane, now, policy, longest)]
    month, allowed = _recent(lane, now), limit if known else most_of_strangers(limit)
    full = min(now, month[-allowed]) + MONTH if len(month) >= allowed else None
    more = max(1, limit // 10)
    if known:
        times.append(full)
    elif wrong.in_a_row >= limit - 1 > 0:
        times.append(now + MONTH)
    elif not _this_month(wrong.granted, now) or wrong.used >= more:
        times.append(full)
        if wrong.in_a_row >= allowed:
            kept_for_the_owner = wrong.in_a_row + more >= limit - 1
            times.append(MONTH + (now if kept_for_the_owner else min(lane.last, now)))
    late = [at for at in times if at is not None and at > now]
    return max(late, default=None)


def most_of_strangers(limit: int) -> int:
    """Return how many wrong codes of strangers there may be before the password is changed."""
    return max(1, min(limit * 8 // 10, limit - 3))


def _this_month(times: tuple[int, ...], now: int) -> tuple[int, ...]:
    return tuple(min(at, now) for at in times if at > now - MONTH)


# --- the account ---------------------------------------------------------------------------------------------------


def aged(account: Account, now: int, policy: Policy) -> Account:
    """Return the account without what has expired, or was made by a clock that ran ahead."""
    pending, fresh = account.pending, account.fresh
    if pending and not pending.dead and not now < pending.expires_at <= now + LONGEST_SETUP + SKEW:
        pending = pending._replace(dead=True, secret=None)
    if fresh and not fresh[1] - SKEW <= now < fresh[1] + FRESH:
        fresh = None
    return account._replace(pending=pending, fresh=fresh)


def counted(factor: App | Codes, policy: Policy) -> Wrong:
    """Return the wrong codes that count: under a stricter limit they begin anew."""
    limit = policy.throttle.block_after
    return factor.wrong if factor.wrong.limit <= limit else Wrong(limit, suspected=factor.wrong.suspected)


def state_of(account: Account) -> str:
    """Return the state's name."""
    if account.protected:
        return "active" if account.app else "reenrol"
    return "pending" if account.pending and not account.pending.dead else "none"


def usable(codes: Codes | None, policy: Policy) -> int:
    """Return how many recovery codes still work."""
    if codes is None or codes.blocked or counted(codes, policy).in_a_row >= policy.throttle.block_after:
        return 0
    return len(codes.codes) - len(codes.spent)


class Model:
    """One account, and what calls do to it."""

    def __init__(self) -> None:
        self.account = Account()

    def play(self, name: str, given: Mapping[str, Any], now: int, policy: Policy, keys: tuple[str, ...]) -> Play:
        """Return what a call comes to; the account stays as it is until `self.account` is set."""
        return _Call(self.account, name, given, now, policy, keys).play()

    def status(self, now: int, policy: Policy, *, known: bool) -> dict[str, Any]:
        """Return what `status` shows."""
        written, account = self.account, aged(self.account, now, policy)
        app, codes, pending = account.app, account.codes, account.pending
        left = usable(codes, policy)
        live = pending if pending and not pending.dead else None
        return {
            "required": account.protected,
            "state": state_of(account),
            "setup_expires_at": live and live.expires_at,
            "confirmed_at": app and app.confirmed_at,
            "last_used_at": app and app.last_used_at,
            "recovery_codes_remaining": left,
            "recovery_codes_issued_at": codes and codes.issued_at,
            "recovery_codes_acknowledged": codes is None or codes.saved,
            "retry_at": app and closed_until("totp", counted(app, policy), now, policy, known=known),
            "recovery_retry_at": closed_until("recovery_code", counted(codes, policy), now, policy, known=known)
            if codes and left
            else None,
            "failures": sum(
                len(_recent(lane, now))
                for factor in (written.app, written.codes)
                if factor
                for lane in (factor.wrong.known, factor.wrong.strangers)
            ),
            "algorithm": app and app.algorithm,
            "digits": app and app.digits,
            "period": app and app.period,
        }


class _Call:
    """One call."""

    def __init__(
        self, account: Account, name: str, given: Mapping[str, Any], now: int, policy: Policy, keys: tuple[str, ...]
    ) -> None:
        self.before, self.name, self.given, self.now, self.policy, self.keys = account, name, given, now, policy, keys
        self.account = aged(account, now, policy)
        self.known = bool(given.get("known"))
        self.done = Play()
        self.events: list[Event] = []
        self.writes = False

    def play(self) -> Play:
        """Carry it out."""
        done = self.done
        try:
            if self.before.sealed_with not in (None, *self.keys):
                done.heard.append(("record_refused", {"operation": self.name, "reason": "unknown_key"}))
                raise Refusal("unknown_key")
            done.answer = getattr(self, self.name)()
        except Refusal as refusal:
            done.refusal = refusal
        if self.writes:
            self.write()
        return done

    def write(self) -> None:
        """Write down what has become of the account, with the events so far."""
        self.done.writes.append((self.account._replace(sealed_with=self.keys[0]), self.events))
        self.events, self.writes = [], False

    def change(self, **fields: Any) -> None:
        """Change the account, to be written."""
        self.account = self.account._replace(**fields)
        self.writes = True

    def tell(self, kind: str, **detail: Any) -> None:
        """Leave an event with the next write."""
        self.events.append((kind, detail))

    def refuse(self, code: str, retry_at: int | None = None, kind: str = "refused") -> NoReturn:
        """End the call without a write."""
        detail: dict[str, Any] = {"operation": self.name}
        detail |= {"retry_at": retry_at} if kind == "throttled" else {"reason": code}
        if kind in {"throttled", "setup_expired"} and (self.account.pending, self.account.fresh) != (
            self.before.pending,
            self.before.fresh,
        ):
            self.writes = True  # the first such call erases what has expired, and the next ones write nothing
        if self.writes:
            self.tell(kind, **detail)
        else:
            self.done.heard.append((kind, detail))
        raise Refusal(code, retry_at)

    def new_generation(self) -> None:
        """End sessions, known browsers, a set-up and a fresh verification."""
        self.change(generation=UNSEEN, pending=None, fresh=None)

    @property
    def app(self) -> App:
        """The authenticator that is known to be there."""
        assert self.account.app is not None
        return self.account.app

    @property
    def codes(self) -> Codes:
        """The recovery set that is known to be there."""
        assert self.account.codes is not None
        return self.account.codes

    # --- is this code right? --------------------------------------------------------------------------------------

    def wrong(self, factor: str) -> Wrong:
        return counted(self.app if factor == "totp" else self.codes, self.policy)

    def set_wrong(self, factor: str, wrong: Wrong) -> None:
        if factor == "totp":
            self.change(app=self.app._replace(wrong=wrong))
        else:
            self.change(codes=self.codes._replace(wrong=wrong))

    def check_wait(self, factor: str) -> None:
        """Refuse what comes during a wait."""
        wrong = self.wrong(factor)
        until = closed_until(factor, wrong, self.now, self.policy, known=self.known)
        if until is not None:
            lane = "known" if self.known else "strangers"
            if getattr(wrong, lane).last > self.now + SKEW:
                self.set_wrong(factor, wrong._replace(**{lane: getattr(wrong, lane)._replace(last=self.now)}))
            self.refuse("throttled", until, "throttled")

    def count(self, factor: str) -> None:
        """Count a wrong code, or one that may be wrong."""
        wrong = self.wrong(factor)
        lane = "known" if self.known else "strangers"
        new = _counted(getattr(wrong, lane), self.now, self.policy.throttle.block_after)
        changed: dict[str, Any] = {lane: new, "in_a_row": wrong.in_a_row + 1, "limit": self.policy.throttle.block_after}
        used = wrong.used if self.known else wrong.used + 1
        self.set_wrong(factor, wrong._replace(granted=_this_month(wrong.granted, self.now), used=used, **changed))

    def suspect(self, factor: str) -> None:
        """Tell of an attack, once a month."""
        wrong = self.wrong(factor)
        count = len(_recent(wrong.strangers, self.now))
        quiet = wrong.suspected is None or not wrong.suspected - SKEW <= self.now < wrong.suspected + MONTH
        if quiet and count >= max(3, self.policy.throttle.block_after // 5):
            self.set_wrong(factor, wrong._replace(suspected=self.now))
            self.tell("attack_suspected", method=factor, failures=count)

    def clear(self, factor: str, *, counted: bool) -> None:
        """Note a right code: it ends its lane's wait and the row, and keeps the month."""
        wrong = self.wrong(factor)
        lane = "known" if self.known else "strangers"
        kept = getattr(wrong, lane)._replace(waiting=0, last=0)
        used = wrong.used
        if counted:
            kept = kept._replace(month=kept.month[:-1])
            used -= not self.known
        self.set_wrong(factor, wrong._replace(in_a_row=0, used=used, **{lane: kept}))

    def wrong_code(self, factor: str, code: str = "invalid_code", *, counted: bool = False) -> None:
        """End the call with a wrong code."""
        if not counted:
            self.count(factor)
        wrong = self.wrong(factor)
        blocked = wrong.in_a_row >= self.policy.throttle.block_after
        until = None
        if not blocked:
            until = closed_until(factor, wrong, self.now, self.policy, known=self.known)
        kind = "code_reused" if code == "code_reused" else "code_rejected"
        self.tell(kind, operation=self.name, method=factor, reason=code, failures=wrong.in_a_row, retry_at=until)
        if not counted:
            self.suspect(factor)
        if blocked and factor == "totp":
            self.tell("authenticator_blocked")
            self.change(app=None)
        elif blocked:
            self.change(codes=self.codes._replace(blocked=True))
            if not counted:
                self.tell("recovery_codes_blocked")
        self.writes = True
        raise Refusal(code, until)

    def counted_first(self, factor: str) -> None:
        """Write the count down before slow work shows whether the code is right."""
        self.count(factor)
        wrong = self.wrong(factor)
        self.tell("attempt_counted", operation=self.name, method=factor, failures=wrong.in_a_row)
        self.suspect(factor)
        if factor == "recovery_code" and self.wrong(factor).in_a_row >= self.policy.throttle.block_after:
            self.tell("recovery_codes_blocked")
        self.write()

    def totp(self, code: str | None, *, slow: bool = False) -> int:
        """Judge and spend a code of the app; return the offset in time steps."""
        app = self.account.app
        if app is None:
            self.refuse("reenrolment_required")
        digits = _as_digits(code, app.digits)
        if digits is None:
            self.refuse("malformed_code", kind="code_malformed")
        self.check_wait("totp")
        present = self.now // app.period
        window = range(present - self.policy.window, present + self.policy.window + 1)
        fits = [step for step in window if step >= 0 and code_of(app, step) == digits]
        later = [step for step in fits if step > app.last_step]
        if not later and app.last_step in fits:
            self.refuse("code_reused", kind="code_reused")
        if not later:
            self.wrong_code("totp")
        if slow:
            self.counted_first("totp")
        self.clear("totp", counted=slow)
        offset = max(later) - present
        self.tell("code_accepted", operation=self.name, step_offset=offset)
        self.change(app=self.app._replace(last_step=max(later), last_used_at=self.now))
        return offset

    def recovery_code(self, code: str | None) -> None:
        """Judge and spend a recovery code."""
        codes = self.account.codes
        if codes is None or not usable(codes, self.policy):
            self.refuse("recovery_codes_exhausted")
        typed = _as_recovery_code(code, codes)
        if typed is None:
            self.refuse("malformed_code", kind="code_malformed")
        self.check_wait("recovery_code")
        if codes.imported:
            unspent = [slot for slot in range(len(codes.codes)) if slot not in codes.spent]
            slot = next((slot for slot in unspent if codes.codes[slot] == typed), unspent[0])
        else:
            slot = SYMBOLS.index(typed[0])
        if slot >= len(codes.codes):
            self.wrong_code("recovery_code")
        self.counted_first("recovery_code")
        if codes.codes[slot] != typed:
            self.wrong_code("recovery_code", counted=True)
        if slot in codes.spent:
            self.wrong_code("recovery_code", "code_reused", counted=True)
        self.clear("recovery_code", counted=True)
        self.change(codes=self.codes._replace(spent=codes.spent | {slot}, saved=True))
        left = usable(self.account.codes, self.policy)
        self.tell("recovery_code_used", operation=self.name, remaining=left)
        if left <= 3:
            self.tell("recovery_codes_low", remaining=left)

    # --- proofs -----------------------------------------------------------------------------------------------------

    def prove(self, *, slow: bool = False) -> dict[str, Any]:
        """Judge and spend the proof; return what is written down of it."""
        kind, word = self.given["proof"] or ("", "")
        if kind == "verification":
            if self.account.fresh is None or self.account.fresh[0] != word:
                self.refuse("proof_required")
            self.change(fresh=None)
        elif kind == "totp":
            self.totp(word, slow=slow)
        elif kind == "recovery_code":
            self.recovery_code(word)
        elif kind == "vouched":
            return {"proof": kind, "by": word[0], "reason": word[1]}
        else:
            self.refuse("proof_required")
        return {"proof": kind}

    def keeps_a_way_back(self) -> None:
        """Refuse what leaves the owner without an authenticator and without a recovery code that they surely hold."""
        kind = (self.given["proof"] or ("",))[0]
        codes = self.account.codes
        left = usable(codes, self.policy) - (kind == "recovery_code")
        saved = codes is not None and (codes.saved or kind == "recovery_code")
        if kind != "vouched" and not (left > 0 and saved):
            self.refuse("recovery_codes_exhausted")

    # --- the calls --------------------------------------------------------------------------------------------------

    def _new_pending(self) -> dict[str, Any]:
        policy = self.policy
        expires_at = self.now + policy.setup_lifetime
        self.change(pending=Pending(expires_at, policy.algorithm, policy.digits, policy.period))
        return {"expires_at": expires_at}

    def begin_setup(self) -> dict[str, Any]:
        word: dict[str, Any] = {}
        if self.account.protected:
            if not self.account.app:
                self.keeps_a_way_back()
            word = self.prove()
        self.tell("setup_begun", replaces=self.account.app is not None, **word)
        return self._new_pending()

    def _own_setup(self) -> Pending:
        pending = self.account.pending
        if pending is None or pending.handle != self.given["handle"]:
            self.refuse("no_setup")
        if pending.dead:
            self.refuse("setup_expired", kind="setup_expired")
        return pending

    def resume_setup(self) -> dict[str, Any]:
        return {"expires_at": self._own_setup().expires_at}

    def confirm_setup(self) -> dict[str, Any]:
        pending = self._own_setup()
        digits = _as_digits(self.given["code"], pending.digits)
        if digits is None:
            self.refuse("malformed_code", kind="code_malformed")
        present = self.now // pending.period
        window = range(present - self.policy.window, present + self.policy.window + 1)
        fits = [step for step in window if step >= 0 and code_of(pending, step) == digits]
        if not fits:
            tries = pending.tries + 1
            self.tell("setup_rejected", reason="invalid_code", failures=tries)
            self.change(pending=pending._replace(tries=tries))
            if tries >= TRIES:
                self.tell("setup_cancelled", reason="wrong_codes")
                self.change(pending=None)
            raise Refusal("invalid_code")
        self.tell("authenticator_confirmed", replaced=self.account.app is not None)
        assert pending.secret is not None
        app = App(
            pending.secret,
            pending.algorithm,
            pending.digits,
            pending.period,
            self.now,
            max(fits),
            self.now,
        )
        self.change(protected=True, app=app)
        return self._new_codes({})

    def _new_codes(self, word: dict[str, Any]) -> dict[str, Any]:
        policy = self.policy
        self.new_generation()
        codes = Codes((UNSEEN,) * policy.recovery_codes, policy.recovery_code_length, self.now)
        self.change(codes=codes, fresh=(UNSEEN, self.now))
        self.tell("recovery_codes_issued", count=policy.recovery_codes, **word)
        return {"count": policy.recovery_codes}

    def cancel_setup(self) -> dict[str, Any]:
        pending, handle = self.account.pending, self.given["handle"]
        if pending and handle in (None, pending.handle):
            self.tell("setup_cancelled", reason="asked")
            self.change(pending=None)
        return {}

    def _enrolled(self) -> None:
        if not self.account.protected:
            self.refuse("not_enrolled")

    def _verified(self, method: str, before: int, offset: int | None) -> dict[str, Any]:
        self.change(fresh=(UNSEEN, self.now))
        return {
            "method": method,
            "at": self.now,
            "recovery_codes_remaining": usable(self.account.codes, self.policy),
            "step_offset": offset,
            "failed_before": before,
        }

    def verify(self) -> dict[str, Any]:
        self._enrolled()
        before = self.wrong("totp").in_a_row if self.account.app else 0
        return self._verified("totp", before, self.totp(self.given["code"]))

    def redeem_recovery_code(self) -> dict[str, Any]:
        self._enrolled()
        before = self.wrong("recovery_code").in_a_row if self.account.codes else 0
        self.recovery_code(self.given["code"])
        return self._verified("recovery_code", before, None)

    def authenticate(self) -> dict[str, Any]:
        self._enrolled()
        code, app, codes = self.given["code"], self.account.app, self.account.codes
        of_the_app = app is not None and _as_digits(code, app.digits) is not None
        long = len(_typed(code)) > MOST_DIGITS
        if long or (codes and codes.imported and not of_the_app):
            return self.redeem_recovery_code()
        return self.verify()

    def reset_recovery_codes(self) -> dict[str, Any]:
        self._enrolled()
        kind = (self.given["proof"] or ("",))[0]
        codes = self.account.codes
        if not self.account.app and kind != "vouched" and codes and (codes.saved or kind == "recovery_code"):
            left = usable(codes, self.policy) - (kind == "recovery_code")
            if left > 0:
                self.refuse("reenrolment_required")
        return self._new_codes(self.prove(slow=True))

    def reset_authenticator(self) -> dict[str, Any]:
        self._enrolled()
        self.keeps_a_way_back()
        word = self.prove()
        self.new_generation()
        self.change(app=None)
        self.tell("authenticator_reset", **word)
        return self._new_pending()

    def disable(self) -> dict[str, Any]:
        if self.account.protected:
            word = self.prove()
            self.new_generation()
            self.change(protected=False, app=None, codes=None)
            self.tell("disabled", **word)
        elif self.account.pending:
            self.tell("setup_cancelled", reason="disabled")
            self.change(pending=None)
        return {}

    def forget(self) -> dict[str, Any]:
        word = self.prove() if self.account.protected else {}
        self.tell("forgotten", **word)
        if self.before.sealed_with is None:
            self.done.heard, self.events = self.events, []
        else:
            self.done.writes.append((Account(), self.events))
            self.events, self.writes = [], False
        return {}

    def acknowledge_recovery_codes(self) -> dict[str, Any]:
        self._enrolled()
        codes, generation = self.account.codes, self.given["generation"]
        if codes and not codes.saved and generation in (None, self.account.generation):
            self.tell("recovery_codes_acknowledged")
            self.change(codes=codes._replace(saved=True))
        return {}

    def password_changed(self) -> dict[str, Any]:
        self.new_generation()
        for factor in ("totp", "recovery_code"):
            if self.account.app if factor == "totp" else self.account.codes:
                wrong = self.wrong(factor)
                granted = _this_month(wrong.granted, self.now)
                if not wrong.used:
                    granted = granted[:-1]
                if len(granted) < 2:
                    lanes = {name: getattr(wrong, name)._replace(waiting=0) for name in ("known", "strangers")}
                    self.set_wrong(factor, wrong._replace(granted=(*granted, self.now), used=0, **lanes))
                else:
                    self.set_wrong(factor, wrong)
        self.tell("password_changed")
        return {}

    def import_authenticator(self) -> dict[str, Any]:
        if self.account.protected:
            self.refuse("already_enrolled")
        given = self.given
        codes = tuple(_typed(code) for code in given["recovery_codes"])
        length = len(codes[0]) if codes else 0
        word = {"proof": "vouched", "by": given["by"], "reason": given["reason"]}
        self.tell("authenticator_imported", recovery_codes=len(codes), short_secret=len(given["secret"]) < 16, **word)
        self.change(
            generation=UNSEEN,
            pending=None,
            fresh=None,
            protected=True,
            app=App(given["secret"], "SHA1", 6, 30, self.now, -1, None),
            codes=Codes(codes, length, self.now, saved=True, imported=True),
        )
        return {}

    def export_authenticator(self) -> dict[str, Any]:
        self._enrolled()
        app = self.account.app
        if app is None:
            self.refuse("reenrolment_required")
        self.tell("authenticator_exported", proof="vouched", by=self.given["by"], reason=self.given["reason"])
        self.writes = True
        return {"secret": app.secret, "last_step": app.last_step}

    def end_sessions(self) -> dict[str, Any]:
        self.new_generation()
        self.tell("sessions_ended")
        return {}

    def reseal(self) -> dict[str, Any]:
        stale = self.before.sealed_with not in (None, self.keys[0])
        self.writes = stale
        return {"resealed": stale}
